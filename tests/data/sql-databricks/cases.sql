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
