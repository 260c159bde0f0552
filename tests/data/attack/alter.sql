To bring a table out of the vault, or to own it.
--- refused
alter table vault.secrets set schema work
--- refused
alter table work.orders set schema vault
--- refused
alter table vault.secrets rename to orders
--- refused
alter table work.orders owner to postgres
--- refused
alter schema vault rename to work2
--- refused
alter table vault.secrets rename column secret to id
--- refused
alter view vault.secrets rename to orders
--- refused
alter index vault.secrets rename to orders
--- refused
alter sequence vault.secrets owned by work.orders.id
--- refused
reassign owned by postgres to dbt_runner
--- refused
alter default privileges grant select on tables to public
--- refused
grant select on vault.secrets to public
--- refused
grant postgres to dbt_runner
--- refused
alter role dbt_runner superuser
--- refused
alter role dbt_runner set search_path = vault
--- refused
alter database demo set search_path = vault
--- refused
alter system set log_statement = 'none'
--- refused
security label on table vault.secrets is 'x'
--- refused
comment on table vault.secrets is 'x'
--- refused
alter table work.orders add constraint f foreign key (id) references vault.secrets (id)
--- refused
alter table work.orders alter column id type int using (select count(*) from vault.secrets)
--- refused
create table work.d (id int default vault.leak()::int)
--- refused
create table work.d (id int check (vault.leak() is null))
--- refused
create table work.d (id int generated always as (length(vault.leak())) stored)
--- refused
create index on work.orders (vault.leak())
--- refused
create policy p on work.orders using (exists (select from vault.secrets))
--- refused
alter table work.orders disable row level security
