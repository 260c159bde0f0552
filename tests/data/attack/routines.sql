To define code that runs later, for anybody.
--- refused
create function work.f() returns text language sql as 'select secret from vault.secrets'
--- refused
create or replace function pg_temp.f() returns text language sql as 'select 1'
--- refused
create function work.f() returns bigint language sql begin atomic; select count(*) from vault.secrets; end
--- refused
create procedure work.p() language sql as 'delete from vault.secrets'
--- refused
create trigger t before insert on work.orders execute function vault.leak()
--- refused
create rule r as on insert to work.orders do also delete from vault.secrets
--- refused
create event trigger e on ddl_command_start execute function vault.leak()
--- refused
alter function vault.leak() owner to dbt_runner
--- refused
alter table work.orders enable always trigger all
--- refused
drop function vault.leak()
--- refused
create extension dblink
--- refused
load 'auto_explain'
