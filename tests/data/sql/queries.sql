--- a plain select names its table
select * from shop.orders
--- a text without a statement has none
 -- nothing /* at all */
--- an empty statement between semicolons is none
;;select 1;;
--- every statement of a text is judged
select 1 from a; drop table b; select 1 from c
--- a subselect in the target list is read
select (select max(x) from hidden) from t
--- a subselect in where, having, order by, limit and offset is read
select a from t where a in (select a from w) group by a having count(*) > (select 1 from h) order by (select 1 from o) limit (select 1 from l) offset (select 1 from f)
--- exists and not in are read
select 1 where exists (select 1 from e) and 1 not in (select x from n) or 2 = any (select y from s)
--- a subselect inside case, coalesce, array, row, cast and between is read
select case when (select true from c1) then (select 1 from c2) else (select 2 from c3) end, coalesce((select 1 from c4), 2), array(select x from c5), row((select 1 from c6)), (select '1' from c7)::int, 1 between (select 1 from c8) and 3, array[(select 1 from c9)]
--- a subselect as an index into an array is read
select a[(select 1 from i)], a[1:(select 2 from j)] from t
--- joins of every kind are read
select * from a join b on a.x = (select 1 from c) left join d using (x) natural full join e cross join lateral (select * from f where f.x = a.x) g
--- a values list can hide a select
values (1), ((select secret from vault))
--- unions are read on both sides
select 1 from a union all (select 2 from b except select 3 from c) intersect select 4 from d
--- the table command is a select
table shop.orders
--- only and star do not change the name
select * from only shop.orders, shop.customers *
--- tablesample is still a select
select * from t tablesample bernoulli (10) repeatable (1)
--- a tablesample method of another schema is code
select * from t tablesample evil.sampler (10)
--- windows and filters are read
select sum(x) filter (where exists (select 1 from f)) over (partition by (select 1 from p) order by (select 1 from o)) from t window w as (order by (select 1 from v))
--- distinct on and grouping sets are read
select distinct on ((select 1 from d)) a from t group by rollup (a, (select 1 from g)), grouping sets ((), (b))
--- an ordered-set aggregate is pure and its order is read
select percentile_cont(0.5) within group (order by (select 1 from o)), string_agg(a, ',' order by a) from t
--- catalog names without a schema are the catalog's
select * from pg_class, pg_stat_activity, pg_tables
--- a catalog name in another schema is another table
select * from public.pg_class
--- three-part names carry the database
select * from "Demo"."Sales"."Orders 2024"
--- selecting the whole row of a join still reads each table
select a, b.* from a, b
--- select for update locks what it reads
select * from a, b for update
--- select for update of one table locks that one
select * from a x, b, (select * from c) y for no key update of x, y nowait
--- locking does not reach common table expressions
with q as (select * from a) select * from q, b for share
--- select into creates
select a into new_table from t
--- select into a temporary table creates it in pg_temp
select a into temp new_table from t
--- xml and json expressions are read through
select xmlelement(name a, (select 1 from x)), json_object('k': (select 1 from y)), json_arrayagg((select 1 from z) order by (select 2 from w)), json_value((select j from v), '$.a'), (select 1 from u) is json
--- json_table and xmltable are read through
select * from json_table((select j from a), '$[*]' passing (select 1 from b) as p columns (x int path '$.x' default (1) on empty)) t, xmltable('/r' passing (select x from c) columns y int path 'y' default (select 1 from d)) u
--- a query in json_array is read
select json_array(select x from t)
--- collate, at time zone, is distinct from and operators are read through
select (select a from b) collate "C", (select now() from c) at time zone 'UTC', (select 1 from d) is distinct from 2, - (select 1 from e), (select x from f) || 'x'
