To hide a statement behind an allowed one in the same text.
--- refused
select 1; select secret from vault.secrets
--- refused
select id from work.orders; ; ;delete from vault.secrets;
--- refused
begin; select 1; commit; drop table vault.secrets
--- fails extended
select 1; select secret from work.orders
--- refused extended
select 1; select secret from vault.secrets
--- passes
select 1; select id from work.orders;
