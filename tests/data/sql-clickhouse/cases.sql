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
--- what dbt asks first
SELECT version(), timezone(); SELECT name, value, readonly FROM system.settings LIMIT 10000
 FORMAT Native
--- whether a database is there
EXISTS DATABASE `analytics`
--- whether a table is there
EXISTS TABLE fin.secret
--- whether something is there
exists b
--- a database is created
CREATE DATABASE IF NOT EXISTS `analytics`
--- a setting
SET allow_nondeterministic_mutations = 1
--- dbt's exchange of two tables
EXCHANGE TABLES __dbt_exchange_test_0_0 AND fin.b
--- a table with an empty key
create table `analytics`.`customers`
   ("id" Int32,"name" String)
  engine = MergeTree()
      order by (tuple())
--- data in a format
insert into `analytics`.`customers` ("id", "name")
      format CSV
--- a view, and a comment behind it
create or replace view `analytics`.`stg_orders`
  as (
    select id as order_id, customer_id, amount from `analytics`.`orders`
  )
                    -- end_of_sql
--- an empty table like a query
create table `analytics`.`customer_orders`
  engine = MergeTree()
      order by (tuple())
                    -- end_of_sql
                    SETTINGS replicated_deduplication_window='0'
          empty
          as (
            select c.id as customer_id, c.name, count(o.order_id) as orders, sum(o.amount) as spent
from `analytics`.`customers` c
left join `analytics`.`stg_orders` o on o.customer_id = c.id
group by c.id, c.name
          )
--- dbt's relations
with mv_sources as (
      select
        name as mv_name,
        any(as_select) as mv_sql,any(replaceRegexpOne(create_table_query, '.*TO\\s+`\x3F([^`\\s(]+)`', '\\1.\\2')) as target_fqn
      from system.tables
      where engine = 'MaterializedView'
      group by mv_name
    )
    select
      t.name as name,
      multiIf(t.engine = 'View', 'view', 'table') as type,
      groupArrayIf(map('schema', mv_sources.mv_name), mv_sources.mv_name != '') as mvs_pointing_to_it,
      -- a comment, e.g. CREATE MATERIALIZED VIEW db.mv REFRESH EVERY 2 MINUTE [APPEND] TO db.target ...
      max(position(substring(t.create_table_query, 1, position(t.create_table_query, ' TO ')), ' REFRESH ')) > 0 as is_refreshable
        from system.tables as t
        left join mv_sources on mv_sources.target_fqn = concat(t.database, '.', t.name)
      where schema = 'analytics'
      group by name, type
 FORMAT Native
--- a query with a format
select count(*) as failures, count(*) != 0 as should_warn from (select customer_id from `analytics`.`customer_orders` group by customer_id having count(*) > 1) dbt_internal_test
 FORMAT Native
--- a rename of dbt
RENAME TABLE analytics.a to analytics.b
--- parameters of the request
select {a:UInt8}, {b:String}; select * from fin.secret where id = {a:UInt8}
--- a parameter that is a name
select * from {t:Identifier}
--- another parameter that is a name
select * from fin.{t:Identifier}
--- a column by a parameter
select {c:Identifier} from a
--- a table of settings that reaches out
create table a (b Int32) engine = MergeTree order by b settings disk = disk(type = 's3', endpoint = 'https://b/x')
--- a table like a query, kept empty
create table a engine = Log empty as select * from fin.b
--- a mutation that changes
alter table a update b = (select max(x) from fin.c) where d in (select e from fin.f)
--- a table behind in
select * from a where b in fin.secret
--- a table behind in, in brackets
select * from a where b in (fin.secret)
--- a table behind in, in many brackets, and what follows
select * from a where b not in ((fin.secret)) and c = 1; select 1 in fin.secret and 2 = 2; select 1 in fin.secret is null, 3
--- in with values and with a query of the statement
with n as (select 1 as i) select * from a where b in (1, 2) and c in (1) and d in n and e in (select i from n)
--- a table by a parameter behind in
select * from a where b in {t:Identifier}
--- in as a function
select in(1, fin.secret), globalIn(1, fin.secret)
--- values that ask
insert into a values (1), ((select max(x) from fin.secret))
--- values in a format that ask
insert into a format Values ((select max(x) from fin.secret))
--- what clickhouse-connect asks before an insert
DESCRIBE TABLE `analytics`.`customers`
 FORMAT Native
--- formats of other statements
SHOW TABLES FROM fin FORMAT Native
--- a format and more
SHOW TABLES FROM fin FORMAT Native drop table a
--- existence in a format
exists table fin.secret format CSV
--- a query without FROM in a format
select 1 in (fin.secret)
 FORMAT Native
