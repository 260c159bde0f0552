--- unquoted names are in capitals and quoted ones as written
select * from raw.Orders, "raw"."Orders", DEMO.raw.orders
--- a common table expression hides a table only where it is seen
with orders as (select * from raw.orders), q as (select * from later), later as (select 1 as a) select * from orders, q, later
--- an expression may read a table of its own name
with t as (select * from t) select * from t
--- a recursive expression sees itself
with recursive q as (select 1 as n union all select n + 1 from q) select * from q
--- queries at every place
select (select max(v) from fin.secret), case when exists (select 1 from a) then 1 end from b where c in (select c from d) qualify row_number() over (order by (select 1 from e)) = 1 order by (select 1 from f)
--- copy into a table imports from its stage
copy into raw.orders from @landing.stage/2026/ file_format = (type = csv) pattern = '.*csv'
--- copy into a table from a url with credentials
copy into raw.orders from 's3://landing/orders' credentials = (aws_key_id = 'x' aws_secret_key = 'y')
--- copy into a table from a query of a stage
copy into raw.orders from (select $1, $2 from @stage/x) file_format = (type = json)
--- copy into a stage exports
copy into @exports/salaries from fin.salaries
--- copy into a location exports
copy into 's3://exports/a/' from (select * from fin.salaries) storage_integration = i
--- put moves files
put file:///tmp/x @stage
--- get moves files
get @stage file:///tmp/x
--- stages are read in queries
select $1 from @stage/x (file_format => f)
--- a stage is listed
list @stage
--- files of a stage are removed
remove @stage/x
--- clone copies
create or replace table analytics.c clone raw.orders; create schema s clone raw; create database d clone prod
--- time travel reads the same table
select * from raw.orders at (timestamp => '2026-01-01'::timestamp) a, raw.orders before (statement => 'x') b
--- create table as
create or replace transient table analytics.orders as (select * from raw.orders)
--- create table like
create table a like b
--- views read what their query reads
create or replace secure view v as select * from fin.secret
--- alterations
alter table a rename to analytics.b; alter table a swap with b; alter table a add column c int; alter table a cluster by (c)
--- an unknown alteration is opaque
alter table a set masking policy p on column c
--- undrop
undrop table a
--- insert overwrite empties
insert overwrite into a select * from b; insert into a (x, "Y") values (1, 2)
--- insert into several tables is opaque
insert all into a into b select * from c
--- update and delete
update a set b = c.d from c where a.id = c.id; delete from a using b where a.id = b.id; truncate table a
--- merge
merge into a using (select * from b) s on a.id = s.id when matched and s.x then delete when matched then update set v = s.v when not matched then insert (id) values (s.id)
--- use means other names from now on
use role loader; use warehouse w; use database d; use schema s
--- secondary roles
use secondary roles all
--- session parameters
alter session set query_tag = 'x'; alter session unset timezone
--- session variables
set x = (select max(a) from fin.secret); set (a, b) = (1, 2)
--- a text in the statement is judged
execute immediate 'select * from fin.secret'
--- a text that does not stand in the statement is opaque
execute immediate $x
--- a text in dollar quotes is a text
execute immediate $$ begin return 1; end $$
--- a text in a text in a text is opaque
execute immediate 'execute immediate ''select 1'''
--- scripting blocks are a class of their own
begin let x := 1; return x; end
--- declare begins a script
declare x int; begin return 1; end
--- transactions
begin; commit; rollback
--- call is opaque
call p(1)
--- code of users
create function f (a int) returns int as 'a + 1'
--- a procedure is code of users
create procedure p() returns int language sql as $$ begin return 1; end $$
--- grants and roles
grant role a to user b; grant select on table a to role r
--- a stage
create stage s url = 's3://x/'
--- functions of users are called and built-in ones are not
select coalesce(a, 1), iff(a > 1, 2, 3), leak(a), fin.leak(a), system$cancel_all_queries(1) from b
--- table functions
select * from table(flatten(input => a)), lateral flatten(input => b), table(leak(1)), table(result_scan(last_query_id()))
--- a name in a string is opaque
select * from identifier('fin.secret')
--- a table named by a variable is opaque
select * from identifier($x)
--- a table in a string is opaque
select * from table('fin.secret')
--- a sequence advances
select s.nextval from a
--- functions are shown and anything else is opaque
show user functions in DEMO.raw; show masking policies
--- show and describe
show tables in schema d.s; show terse schemas in database d; show columns in table d.s.t; describe table d.s.t; show objects in d.s
--- comments with slashes
select 1 // from a
from b
--- a backslash before a quote is opaque
select 'it\'s' from a
--- comments within comments are opaque
select 1 /* /* */ from a -- */
--- several statements
select 1 from a; delete from b
--- pivot
select * from a pivot (sum(x) for y in ('1', '2')) p
--- a text that is not sql
frobnicate the table
--- explain is judged as if it ran
explain select * from fin.secret
--- a view with comments of its columns
create or replace view analytics.v ("ID" comment $$it's a key$$, name comment 'x', plain) comment = 'y' as (select * from raw.orders)
--- comments of columns
alter table a alter "ID" comment $$it's a key$$, column "B" comment $$$$;
--- comments of columns and more is opaque
alter table a alter "ID" comment $$x$$, "B" set masking policy p
--- time travel of every kind
select * from a at (offset => -60 * 5) x, b before (statement => '8e5d'), c at (stream => 's'), d at (timestamp => to_timestamp('1'))
--- time travel of a clone
create table a clone b at (timestamp => to_timestamp(leak('2026-01-01')))
--- time travel of a schema's clone
create or replace schema s clone raw before (statement => 'x')
--- changes of a table
select * from a changes (information => default) at (timestamp => leak(1)) end (timestamp => '2')
--- an undrop of a schema
undrop schema s
--- external tables
create external table x (a int as (value:c1::int)) location = @stage/x file_format = (type = csv)
--- a dynamic table
create or replace dynamic table a target_lag = '1 minute' warehouse = w as select * from b
