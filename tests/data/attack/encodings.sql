To have the second byte of a character be a quote or a backslash.
--- refused
set client_encoding to 'SJIS'
--- refused
set names 'gbk'
--- refused bytes
select '\x95\x5c'; select secret from vault.secrets; --'
--- refused bytes
select '\xbf\x27', secret from vault.secrets --'
--- refused bytes
select id from work.orders where 'a' = '\xc0\xa7'
--- passes bytes
select '\xc3\xa9' from work.orders
--- harmless bytes
select secret from vault\xc2\xa0.secrets
--- harmless bytes
select secret from \xef\xbb\xbfvault.secrets
--- harmless bytes
select secret from v\xd0\xb0ult.secrets
