--- create table names itself
create table if not exists shop.orders (id bigint primary key, total numeric(10, 2) not null)
--- a temporary table is in pg_temp
create temporary table t (a int)
--- a foreign key reads the other table
create table a (b int references shop.b (id), foreign key (b) references c)
--- like reads the other table and inherits alters it
create table a (like b including all) inherits (c, shop.d)
--- a partition alters its parent
create table p1 partition of shop.p for values from (1) to (2)
--- create table as reads
create table shop.a as select * from b with no data
--- create table as execute runs a prepared statement
create table a as execute prepared(1)
--- create view reads everything beneath
create or replace view shop.v as with q as (select * from a) select *, f(x) from q join b using (x)
--- create materialized view reads
create materialized view shop.m as select * from a
--- a recursive view does not read itself
create recursive view v (n) as select 1 union all select n + 1 from v
--- create index alters its table
create unique index concurrently i on shop.t (a, lower(b))
--- create and alter sequence
create sequence shop.s owned by shop.t.id; alter sequence s restart; alter sequence s owned by none
--- create and drop schema
create schema if not exists shop; drop schema shop cascade
--- create schema for another role or with objects is opaque
create schema authorization joe; create schema s create table t (a int)
--- create and drop database
create database a template b; drop database a; alter database a connection limit 1; create database c owner joe
--- types and domains
create type shop.t as (a int); create type e as enum ('a'); alter type e add value 'b'; create domain d as int check (f(value)); alter domain d add check (g(value)); drop type shop.t; drop domain d
--- a base type and a range type are code
create type r as range (subtype = float8); create type b (input = f, output = g)
--- drop of every kind of relation
drop table a, shop.b; drop view if exists v cascade; drop materialized view m; drop index i; drop sequence s; drop foreign table f
--- drop of code is opaque
drop function f(int); drop trigger x on t; drop cast (int as text); drop extension dblink; drop server s; drop policy p on t
--- alter table with harmless commands
alter table shop.t add column a int default 1, drop column b, alter c type text using c::text, add constraint u unique (a), set (fillfactor = 70)
--- alter table that calls functions
alter table t add column a int default f(), alter b type int using g(b), add check (h(a))
--- alter table that touches another table
alter table t inherit shop.p; alter table p attach partition shop.q for values in (1); alter table p detach partition q; alter table t add foreign key (a) references shop.r
--- alter table of triggers, rules, owners and row security is opaque
alter table t disable trigger all; alter table t enable rule r; alter table t owner to joe; alter table t enable row level security
--- rename is an alter of the old and a create of the new name
alter table shop.a rename to b; alter view v rename to w; alter index i rename to j
--- rename of a column or constraint alters the table
alter table shop.a rename column x to y; alter table a rename constraint c to d
--- rename of a schema, a database and a type
alter schema a rename to b; alter database a rename to b; alter type shop.t rename to u
--- rename of a role or a function is opaque
alter role a rename to b; alter function f(int) rename to g
--- set schema is an alter here and a create there
alter table shop.a set schema other; alter type t set schema other; alter function f() set schema other
--- owner changes are opaque
alter table a owner to joe; alter schema s owner to joe; reassign owned by a to b; drop owned by a
--- comment alters
comment on table shop.a is 'x'; comment on column shop.a.b is 'x'; comment on schema s is $d$x$d$; comment on constraint c on shop.a is 'x'; comment on function f(int) is 'x'; comment on database d is null
--- the definition of code is opaque
create function f() returns int language sql as 'select 1'; create trigger x before insert on shop.t for each row execute function f(); create rule r as on insert to shop.t do also delete from b; create procedure p() language sql as ''; create cast (int as text) without function; create aggregate a (int) (sfunc = f, stype = int); create operator + (function = f, leftarg = int)
--- system statements are opaque
create extension dblink; alter system set x = 1; load 'x'; checkpoint; create publication p for all tables; create subscription s connection '' publication p; alter database d set search_path = x; create tablespace t location '/x'
--- foreign data is opaque
create server s foreign data wrapper w; create user mapping for joe server s; create foreign table shop.f (a int) server s; import foreign schema x from server s into y
--- create statistics alters the table
create statistics s on (f(a)), b from shop.t
--- maintenance
analyze shop.a (x), b; vacuum (full) a; reindex table a; cluster a using i; refresh materialized view concurrently shop.m
--- maintenance of everything is opaque
vacuum; analyze; reindex database d; reindex schema s; cluster
