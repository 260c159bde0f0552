--- a common table expression hides a table only where it is seen
with t1 as (select * from public.t1) select * from t1, app.t1 x, (with t2 as (select 1) select * from t2) y, t2
--- a name of a later expression is a table
with q as (select * from u), u as (select 1) select * from q, u
--- a recursive expression sees itself and its successors
with recursive q as (select 1 as n union all select n + 1 from q where n < 3), t1 as (select * from q) select * from t1
--- rows move through returning
with gone as (delete from fin.secret returning *) insert into "Mixed" select id, v from gone returning (select count(*) from only_public)
--- on conflict reads and updates
insert into t1 values (1, 2, 'y') on conflict (id) do update set b = (select p from only_public limit 1) where t1.a > 0
--- merge with all arms
merge into t1 using (select * from fin.secret) s on t1.id = s.id + 1 when matched and s.v = 's' then delete when matched then update set b = s.v when not matched then insert values (s.id + 10, 1, s.v)
--- update from and a subquery as value
update t1 set (a, b) = (select id, v from fin.secret limit 1) from t2 where t1.id = t2.t1_id
--- delete using
delete from t1 using fin.secret s where t1.id = s.id + 100
--- every kind of subquery
select array(select id from t1), exists (select from t2), (select max(v) from fin.secret), row (1, 'a') = (select id, p from only_public) from "Mixed" where id in (select id from u) order by (select count(*) from part) limit (select 1 from public.t1)
--- lateral and functions in from
select * from t1, lateral (select * from fin.secret s where s.id = t1.id) l, generate_series(1, (select max(id) from t2)) g
--- grouping, windows and filters
select a, count(*) filter (where exists (select from fin.secret)), sum(a) over (order by (select 1 from u limit 1)) from t1 group by grouping sets ((a), ()) having count(*) > (select count(*) from only_public where false)
--- explain analyze runs
explain (analyze, format json) delete from fin.secret where id = 1
--- explain alone locks
explain select * from fin.secret
--- a cursor reads
declare c cursor for select * from fin.secret; fetch all from c
--- prepared in the same text
prepare p as select * from fin.secret; execute p; deallocate p
--- created and filled
create table app.copy as select * from fin.secret; select * from copy; drop table copy
--- select into
select * into temporary copy from fin.secret
--- create table as execute
prepare p as select * from fin.secret; create table app.copy as execute p
--- a view over a table
select * from secret_view
--- a view is made, and read
create view v as select * from fin.secret; select * from v
--- a materialized view
refresh materialized view mv; select * from mv
--- a temporary table hides a table
create temporary table t1 (x int); insert into t1 values (1); select * from t1
--- a function of somebody
select app.leak()
--- a function by field
select t1.leak from (select 1) q (x), lateral (select app.leak() as leak) t1
--- a partitioned table
insert into part values (3, 1); update part set k = 2 where id = 1; delete from part; select * from part_1
--- moved and renamed
alter table t1 rename to t9; alter table t9 set schema fin; select * from fin.t9
--- columns, constraints and defaults
alter table u add column x int default 3, add constraint k check (n > 0); alter table u alter column n type bigint using (n + 1); alter table u drop column x
--- a foreign key that is added
alter table only_public add primary key (id); alter table fin.secret add foreign key (id) references only_public (id) not valid
--- indexes
create index i on fin.secret (id) where v is not null; alter index fin.i rename to j; drop index fin.j
--- statistics and comments
create statistics st on a, b from t1; comment on table fin.secret is 'x'; comment on column t2.c is 'y'
--- sequences
select nextval('s'), setval('app.s', 5); alter sequence s owned by u.n; create sequence fin.s2
--- schemas and types
create schema extra; create type extra.e as enum ('a'); alter type extra.e add value 'b'; create domain extra.d as int check (value > 0); alter schema extra rename to other; drop schema other cascade
--- inheritance
create table heir () inherits (only_public); insert into heir values (1); select * from only_public; select * from only only_public
--- attach and detach
create table part_3 (id int, k int); alter table part attach partition part_3 for values in (3); alter table part detach partition part_1
--- locks
lock table fin.secret in exclusive mode; select * from t1, t2 for update of t2; select * from (select * from fin.secret) q for share
--- truncate
truncate u, only_public restart identity
--- truncate of what others refer to
truncate t1 cascade
--- grants
grant select on fin.secret to oracle_other; revoke select on fin.secret from oracle_other; grant usage on schema fin to oracle_other
--- the role changes
set role oracle_other
--- the search path changes
set search_path to fin; select * from secret
--- the search path changes by a function
select set_config('search_path', 'fin', false)
--- the search path changes by an update
update pg_settings set setting = 'fin' where name = 'search_path'
--- parameters that change what a text means
set standard_conforming_strings to off; set session_replication_role to replica; set row_security = off
--- an analysis of a table
analyze fin.secret (v)
--- code that nobody sees into
do $$ begin delete from fin.secret; end $$
--- a function is made and called
create function f() returns bigint language sql as 'select count(*) from fin.secret'; select f()
--- a rule and a trigger
create rule r as on insert to u do also delete from fin.secret; insert into u values (1)
--- quoting of every kind
select U&"\0041 b", 'it''s', E'\'; select * from fin.secret; --', $q$; delete from t1; $q$, $$ $q$ $$ from "app"."Mixed" /* from fin.secret /* nested */ from u */ -- from t2
--- unicode escapes in names
select * from U&"fin".U&"\0073ecret", U&"!0074!0031" uescape '!'
--- strings that go on
select 'a' -- from u
' from fin.secret ' from t1
--- parenthesised joins
select * from ((t1 join (t2 cross join fin.secret s) on true) left join "Mixed" m on true)
--- set operations in brackets
(select id from t1 union (select id from t2 intersect select id from fin.secret)) except all (values (1), ((select n from u)))
--- table and values as queries
table fin.secret; values ((select count(*) from t1))
--- sampled
select * from fin.secret tablesample bernoulli (100) repeatable ((select 1 from t1 limit 1))
--- rows from
select * from rows from (generate_series(1, 2), unnest(array(select id from fin.secret))) with ordinality
--- search and cycle
with recursive q (n) as (select id from fin.secret union all select n from q) search depth first by n set o cycle n set c using p select * from q
--- a whole row and a row type
select s from fin.secret s; select (t1).* from t1; select app.t1.a from app.t1
--- create table like
create table app.alike (like fin.secret including all)
--- large objects
select lo_creat(-1) is not null
--- data goes to the client
copy (with q as (select * from fin.secret) select * from q) to stdout
--- a table goes to the client
copy fin.secret (v) to stdout
--- two statements as one text
select 1; delete from fin.secret where id = 1; select 2
--- default values and overriding
insert into u default values; insert into u (id) overriding user value select id from fin.secret
--- a writable expression in a view's query is refused, one within explain is not
explain (analyze) with q as (update fin.secret set v = 'x' returning id) select * from q
--- json and xml
select json_agg(s), xmlelement(name a, (select v from fin.secret limit 1)) from fin.secret s
--- row security
alter table fin.secret enable row level security; create policy p on fin.secret using (exists (select from t1))
--- a temporary relation hides one of the catalog
create temporary table pg_class (id int); select * from pg_class; select * from pg_catalog.pg_class
--- a temporary view hides one of the catalog
create temp view pg_roles as select * from fin.secret; select * from pg_roles
--- a temporary relation is renamed to one of the catalog
create temp table innocent (id int); alter table innocent rename to pg_namespace; select * from pg_namespace
--- the search path makes relations temporary
set search_path = pg_temp; create table innocent (id int); insert into innocent values (1); select * from pg_temp.innocent
--- a merge that changes nothing locks
merge into fin.secret using t1 on secret.id = t1.id when matched then do nothing
--- a merge within scopes
with secret as (select * from public.t1) merge into fin.secret using secret s on secret.id = s.id when not matched then insert (id) values ((select max(id) from secret))
--- rules and triggers do what they were made for
insert into ruled values (3); insert into triggered values (1); update triggered set id = 2
--- a view that rows go through
insert into plain_view values (9); update plain_view set id = 10 where id = 9; delete from plain_view
--- only parents, and those who inherit
update only parent set p = 'q'; delete from parent; select * from only (child)
--- names of every shape
select * from app."o.d""d; --", tä, aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffggg_and_what_is_cut
--- letters beyond ascii are not folded
create table "tÄ" (x int); select x from Tä as q (x) join TÄ using (x)
