To hide a table from a reader that does not know comments.
--- refused
select secret from/**/vault/* . work */./*x*/secrets
--- refused
select secret from /* /* */ work.orders -- */ vault.secrets
--- refused
select id from work.orders --
union all select id from vault.secrets
--- passes
select id from work.orders -- union all select id from vault.secrets
--- passes
/* from vault.secrets; */ select id /* /* vault.secrets */ */ from work.orders
--- refused
select secret from vault . secrets
--- refused
--
select secret
from
vault.secrets
