--- names are as written
select * from Raw.Orders, raw.`orders`
--- table functions are called
select * from url('https://example.com/x', CSV); select * from s3('https://b/x', 'CSV'); select * from remote('h', fin.secret); select * from numbers(10)
--- inserts
insert into raw.orders (a, b) select * from b; insert into raw.orders values (1)
--- insert into a function is opaque
insert into function s3('https://b/x', 'CSV') select * from fin.secret
--- create table with an engine
create table a (b Int32) engine = MergeTree order by b
--- an engine that reaches out is opaque
create table a (b Int32) engine = MySQL('h', 'd', 't', 'u', 'p')
--- create table as
create table a engine = MergeTree order by b as select * from c
--- a materialized view writes elsewhere
create materialized view v to fin.target as select * from a
--- optimize and truncate
optimize table a final; truncate table a
--- mutations
alter table a delete where b = 1
--- settings are parameters
select * from a settings max_threads = 1
--- final and prewhere
select * from a final prewhere b in (select b from c)
--- exchange
exchange tables a and b
--- rename
rename table a to b
--- system
system shutdown
--- array joins
select * from a array join b as c
--- functions
select toDate(a), dictGet('fin.secret', 'v', b), leak(c) from d
--- use
use fin
--- show
show tables from fin
