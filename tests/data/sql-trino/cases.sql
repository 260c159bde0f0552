--- names are in lower case, quoted or not
select * from Hive.Raw."Orders"
--- queries at every place
with q as (select * from a.b.c) select (select 1 from d) from q cross join unnest(e) as t (f) where exists (select 1 from g)
--- create table as with a location
create table a with (external_location = 's3://lake/a', format = 'PARQUET') as select * from b
--- inserts and deletes
insert into a select * from b; delete from a where b in (select b from c); update a set b = 1
--- merge
merge into a using b on a.id = b.id when matched then delete when not matched then insert (id) values (b.id)
--- call
call system.runtime.kill_query('x')
--- use names other tables
use hive.raw
--- the role is an effect
set role admin
--- session properties
set session query_max_run_time = '1h'
--- prepare
prepare p from select * from a
--- execute of a name is opaque
execute p
--- execute immediate
execute immediate 'select * from fin.secret'
--- execute immediate with values
execute immediate 'insert into hive.raw.a values (?, ?)' using 1, (select max(a) from fin.secret)
--- a quoted word is a name, also this one
execute "immediate" using 1
--- a name in a text cannot be followed
execute immediate 'execute p'
--- a view with the rights that it runs with
create or replace view hive.raw.v comment 'c' security definer as with x as (select a from hive.raw.t) select a, leak(a) from x join fin.secret on true
--- table functions
select * from table(system.query(query => 'select 1'))
--- functions
select approx_distinct(a), leak(b), hive.fin.leak(c) from d
--- time travel
select * from a for version as of 1
--- show
show tables from hive.raw; show create table a.b.c
--- dollar quotes are opaque
select $$ from a $$
--- alter
alter table a rename to b; drop table if exists c; create schema hive.x; drop schema hive.x; truncate table a
--- time travel of every kind
select * from hive.raw.a for timestamp as of timestamp '2026-01-01 00:00:00 UTC' x join b for version as of 'branch' y on true, c for version as of 8954
--- time travel by an expression is opaque
select * from a for timestamp as of (select max(b) from c)
--- prepare of a change
prepare p from delete from hive.raw.a where b = ?
--- execute with values
execute p using 1, (select max(a) from fin.secret)
--- a prepared statement goes
deallocate prepare p
--- inputs of a prepared statement are opaque
describe input p
--- what follows a known head is a script
grant select on a to role; grant b to; drop table c
