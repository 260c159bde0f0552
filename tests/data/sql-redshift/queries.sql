--- top is a limit
select top 10 a from b; select distinct top 5 a from b; select top a from b
--- qualify is a condition
select a from b where c qualify row_number() over (partition by d order by e desc) = 1; select a from b group by a having f(a) > 1 qualify rank() over (order by a) <= (select max(n) from limits) order by a
--- qualify in queries within queries
with q as (select a from b qualify leak() = 1) select * from (select * from q qualify rank() over (order by a) = 1) r having true
--- pivot and unpivot read what they stand behind
select * from (select part, price from sales) pivot (avg(price) for part in ('P1' as p1, 'P2' as p2)) as p where p1 > 1; select * from counts unpivot include nulls (n for color in (red, green as g, blue)) u; select * from a pivot (leak(b) for c in (1))
--- minus is except
select a from b minus select a from c
--- other words of redshift
select approximate count(distinct a), lag(b) ignore nulls over (order by c), listagg(d, ',') within group (order by d), * exclude (e, f), cast(g as varchar(max)) from h
--- functions that redshift has
select getdate(), nvl(a, b), dateadd(day, 1, c), datediff('day', c, d), json_extract_path_text(e, 'f'), st_astext(g), strtol(h, 16), sysdate from i
--- functions that users have are called
select f_sensitive(a), public.nvl(a), predict(b) from c
--- catalogs are the catalog's without a schema
select * from svv_table_info; select * from stv_inflight join pg_table_def using (x); select * from svl_qlog where userid = pg_backend_pid()
--- names like those of catalogs are anybody's
select * from svv_salaries, shop.svv_table_info; create table svv_table_info (a int)
--- a column like a word of redshift
select qualify, minus, distkey as top from encode pivot
--- a name that may mean another object is opaque
select * from finance."Salaries"
--- a backslash that may end a string is opaque
select 'a\'' from b where c = ' or d = ''; --'
--- a backslash that ends no string is read
select regexp_replace(a, '\\d+', '') from b
--- comments within comments are opaque
select 1 /* /* */ from a -- */ from b
--- another database
select * from sales.public.orders; insert into sales.public.orders select * from local.orders
--- nested data is read as if it were a table
select o.a from customers c, c.orders o
--- statements are judged one by one
select top 1 a from b; frobnicate; unload ('select c from d') to 's3://x' iam_role default
--- brackets that do not match hide no statement
select (1; drop table a
