--- names are as written and paths may be in one pair of backticks
select * from `proj.raw.Orders`, proj.raw.orders, `proj`.raw.`orders`
--- a project with a dash
select * from my-proj.raw.orders
--- wildcard tables are opaque
select * from `proj.raw.events_*`
--- the information schema of a dataset
select * from `proj`.`raw`.INFORMATION_SCHEMA.TABLES
--- export data
export data options (uri = 'gs://exports/x-*.csv', format = 'CSV') as select * from fin.secret
--- export data over a connection is opaque
export data with connection c options (uri = 's3://exports/x-*.csv', format = 'CSV') as select * from fin.secret
--- load data
load data into raw.orders from files (format = 'CSV', uris = ['gs://landing/x.csv'])
--- create table as and clone
create or replace table analytics.orders partition by day cluster by id options (description = 'x') as select * from raw.orders
--- create table clone
create table analytics.c clone raw.orders
--- an external table
create external table raw.x options (format = 'CSV', uris = ['gs://landing/x.csv'])
--- merge and dml
merge analytics.a t using raw.b s on t.id = s.id when matched then update set v = s.v when not matched then insert (id) values (id)
--- delete and update
delete from a where true; update a set b = 1 where c in (select c from d)
--- scripts
begin select 1; end
--- declare
declare x int64 default 1
--- execute immediate
execute immediate 'select * from fin.secret'
--- execute immediate of an expression
execute immediate concat('select ', x)
--- functions
select safe_divide(a, b), date_trunc(c, month), leak(d), ml.leak(e) from f, unnest(g) as h
--- table functions
select * from leak(1); select * from external_query('c', 'select 1')
--- a model is opaque
select * from ml.predict(model m, table fin.secret)
--- time travel
select * from raw.orders for system_time as of timestamp '2026-01-01'
--- comments with a hash
select 1 # from a
from b
--- triple quotes
select """it's " from a""", r'raw' from b
--- pipes are opaque
from raw.orders |> where a > 1
--- user functions
create temp function f(x int64) as (x + 1)
--- grant
grant `roles/bigquery.dataViewer` on table a.b to 'user:x'
--- options of a table are set
alter table raw.orders set options (description = "it's", labels = [("a", "b")])
--- options of a table are set to nothing
alter table `proj`.`raw`.`orders` set OPTIONS()
--- options of a view
alter materialized view raw.v set options (description = leak('x'))
--- options of a column
alter table if exists raw.orders alter column c set options (description = 'x')
--- wildcard tables with a condition
select * from `proj.raw.events_*` where _table_suffix between '1' and '2'; select * from raw.`*`
--- wildcard tables under a name of its own
with q as (select * from `raw.events_2026*`) select * from q
--- wildcard tables of every dataset are opaque
select * from `raw_*.events`
--- time travel by a parameter
select * from raw.orders for system_time as of timestamp_sub(current_timestamp(), interval 1 hour) o
--- a snapshot of a table
create snapshot table a.b clone a.c for system_time as of timestamp '2026-01-01'
