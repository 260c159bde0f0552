--- names are in lower case, quoted or not
select * from Main.Raw.Orders, `Main`.`Raw`.`Orders`
--- files are read by path
select * from parquet.`s3://landing/x`; select * from delta.`/mnt/x`
--- functions that read files are called
select * from read_files('s3://landing/x')
--- copy into
copy into raw.orders from 's3://landing/x' fileformat = csv
--- insert overwrite
insert overwrite table a select * from b; insert into a partition (d = 1) select * from b
--- create table with a location
create table a using delta location 's3://lake/a' as select * from b
--- create or replace table
create or replace table a using delta tblproperties ('x' = 'y') as select * from b
--- shallow clone
create table a shallow clone b
--- create table like
create table a like b
--- optimize
optimize a where b > 1 zorder by (c)
--- vacuum
vacuum a retain 168 hours
--- refresh
refresh table a
--- repair
msck repair table a
--- analyze
analyze table a compute statistics
--- lateral views
select * from a lateral view explode(b) c as d; select * from a lateral view leak(b) c as d
--- merge
merge into a using b on a.id = b.id when matched then update set c = b.c when not matched then insert (id) values (b.id)
--- use and set
use catalog main; use schema x; set spark.sql.ansi.enabled = true
--- execute immediate
execute immediate 'select * from fin.secret'
--- user functions
create function f(x int) returns int return x + 1
--- time travel
select * from a timestamp as of '2026-01-01'
--- show and describe
show tables in main.raw; describe table main.raw.orders
--- scripts of the operating system are no query
select transform(a) using 'cat' as (b) from c
--- grants
grant select on table a to `joe`
--- load data
load data inpath 's3://landing/x' overwrite into table a
--- copy into with options
copy into main.raw.orders from 's3://landing/x' fileformat = csv pattern = 'a*.csv' format_options ('header' = 'true') copy_options ('mergeSchema' = 'true')
--- copy into from a query
copy into raw.orders from (select a, leak(b) from 's3://landing/x') fileformat = json
--- copy into from a named location with a credential
copy into raw.orders from 'abfss://c@a.dfs.core.windows.net/x' with (credential (azure_sas_token = 'x')) fileformat = csv
--- deep clone
create or replace table main.x.a deep clone main.raw.b version as of 3
--- shallow clone of a time with a location
create table if not exists a shallow clone b timestamp as of '2026-01-01' location 's3://lake/a'
--- clone with properties
create table a deep clone b tblproperties ('x' = 'y')
--- a clone of more is opaque
create table a deep clone b as select * from c
--- time travel by version
select * from main.raw.a version as of 12 x join b timestamp as of date_sub(current_date(), 1) y on true
--- time travel by name
select * from a@v12
--- refresh and vacuum
refresh table main.raw.a; vacuum main.raw.a
--- tables with more about each
show table extended in analytics like '*'; show table extended in `main`.`raw` like 'a|b'; show table extended like 'a'
--- show of something else
show table extended in a.b.c like '*'; show table extended in a like '*' partition (b = 1)
--- text that Spark puts in before it parses
select * from ${hivevar:t}
--- text that Spark puts in within a string
select '${hivevar:t}' from a
--- a name that a parameter gives
select * from identifier(:t); drop table identifier(:t)
--- a name that a text gives
select * from identifier('fin.secret')
--- what dbt asks about a table
describe extended main.raw.orders
--- the same as JSON
describe table extended main.raw.orders as json
--- describe of a query
describe select * from a
--- show catalogs and schemas
show catalogs; show schemas in main; show databases; show views in main.raw; show columns in main.raw.orders
--- set catalog
set catalog dev
--- values
insert into raw.orders values (cast(1.0 as bigint), cast('Ada' as string))
--- comment on a column
alter table main.raw.orders change column id comment 'x'
--- comment on a column in other words
alter table a alter column b comment 'c'
--- properties
alter table a set tblproperties ('x' = 'y')
--- properties are shown
show tblproperties a
--- tags
alter view a set tags ('x' = 'y')
--- tags of a column
alter table a alter column b set tags ('x' = 'y')
--- put and get of volumes
put '/tmp/x' into '/Volumes/main/raw/v/x' overwrite
