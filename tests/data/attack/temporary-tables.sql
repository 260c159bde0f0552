To shadow a table by a temporary one, or by an expression of its name.
--- refused
create temporary table orders as select secret as id from vault.secrets
--- passes
create temporary table secrets (id int)
--- passes
select id from pg_temp.secrets
--- refused
with secrets as (select 1) select secret from vault.secrets
--- refused
with q as (select * from secrets), secrets as (select 1) select * from q
--- refused
with secrets as (select 1) insert into vault.secrets select 1
--- refused
with secrets as (select 1) select * from secrets, (with q as (select 1) select * from vault.secrets) x
--- passes
with secrets as (select id from work.orders) select * from secrets
--- refused
create table pg_catalog.orders (id int)
--- refused
create temporary table pg_class (relname text)
--- refused
create temp view pg_roles as select id from work.orders
--- refused
create table pg_temp.pg_namespace (id int)
--- refused
set search_path = pg_temp; create table pg_class (relname text)
--- passes
create temporary table innocent (id int)
--- refused
alter table innocent rename to pg_class
--- refused
alter table pg_temp.innocent rename to pg_class
