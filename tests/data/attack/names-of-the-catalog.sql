To make a table that is taken for the catalog's, or the other way round.
--- refused
create table public.pg_class (id int)
--- refused
select * from public.pg_class
--- refused
select passwd from pg_shadow
--- refused
select rolpassword from pg_authid
--- refused
select query from pg_stat_activity
--- refused
select * from pg_largeobject
--- refused
insert into pg_class select * from pg_class
--- refused
select * from information_schema.tables
--- passes
select count(*) from pg_class
