To hide a statement behind a quote that one reader closes and the other does not.
--- refused
select 'a\'; select secret from vault.secrets; --'
--- refused
select E'a\'' , secret from vault.secrets --'
--- passes
select E'\'; select secret from vault.secrets; --' from work.orders
--- refused
select $a$ $b$ $a$, secret from vault.secrets -- $b$
--- passes
select $a$ ; select secret from vault.secrets; $a$ from work.orders
--- refused
select secret from "vault"."secrets"
--- refused
select secret from U&"\0076ault".U&"secr!0065ts" uescape '!'
--- refused
select 'a' -- x
'b', secret from vault.secrets
--- refused
select secret from "VAULT"."secrets"
--- refused
select * from "work.orders"
