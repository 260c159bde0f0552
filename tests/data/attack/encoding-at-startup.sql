To log in with an encoding in which a quote hides in a character.
-- startup: client_encoding=SJIS
--- refused bytes
select '\x95\x5c'; select secret from vault.secrets; --'
--- refused
select 'é' from work.orders
--- passes
select id from work.orders
