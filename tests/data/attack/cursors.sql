To read through a cursor.
--- passes
begin
--- refused
declare c cursor for select secret from vault.secrets
--- fails
select 1
--- passes
rollback
--- refused
declare c cursor with hold for with q as (select secret from vault.secrets) select * from q
--- refused
begin; declare c binary cursor for select secret from vault.secrets; fetch all from c; commit
