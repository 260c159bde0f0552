--- built-in functions that only compute are no effects
select lower(a), count(*), row_number() over (), now(), pg_catalog.upper(b), extract(year from c), trim(both from d), substring(e from 1 for 2), gen_random_uuid(), coalesce(f, 1), greatest(1, 2), current_user, current_date from t
--- a function that nobody knows is a call
select my_function(1), shop.my_other(2)
--- a known name in another schema is a call
select public.lower('a')
--- functions that read files or other sessions are calls
select pg_read_file('/etc/passwd'), pg_ls_dir('/'), pg_terminate_backend(1), lo_import('/etc/passwd'), pg_stat_get_activity(null)
--- a process that is signalled is named where the text says its number outright
select pg_cancel_backend(7), pg_catalog.pg_terminate_backend(8, 5000)
--- a process that is not written out as a number, or is none, is not
select pg_terminate_backend(pid), pg_terminate_backend('9'), pg_terminate_backend(0), pg_terminate_backend(-1), pg_cancel_backend($1) from pg_stat_activity
--- nor is it where the number has another place or the function another schema
select pg_terminate_backend(timeout => 5, pid => 7), public.pg_cancel_backend(7), pg_sleep(7)
--- functions that run text are calls
select query_to_xml('select * from secret', true, true, ''), ts_stat('select v from secret'), table_to_xml('secret', true, true, '')
--- dblink is a call
select * from dblink('dbname=x', 'select 1') as t(a int)
--- functions in from are judged with their arguments
select * from generate_series(1, (select 1 from n)) g, unnest(array[1]) u, rows from (hidden(1), json_to_recordset('[]') as (a int)) r
--- sequences are moved by calls
select nextval('s'), setval('s', 1), currval('s')
--- set_config makes the search path unknown
select set_config('search_path', 'evil', false)
--- a field may be a function that reads a file
select ('/etc/passwd'::text).pg_read_file
--- a column may be a function that reads a file
select f.pg_read_file from unnest(array['/etc/passwd']) f
--- a column of an ordinary name is a column
select t.name, (t.address).street from t
--- an operator of another schema is a call
select 1 operator(evil.+) 2, 3 operator(pg_catalog.+) 4
--- an operator in any, in order by and in a subselect can be of another schema
select 1 operator(evil.=) any (array[1]), 2 operator(evil.<) all (select 1 from a) from t order by x using operator(evil.<<)
--- arguments by name and variadic arguments are read
select format('%s', variadic (select array['a'] from v)), make_interval(days => (select 1 from d))
--- a call is opaque
call shop.refresh((select 1 from a))
--- a do block is opaque
do $$ begin delete from a; end $$
--- casts to named types read nothing but their argument
select (select 1 from a)::shop.money, cast(b as numeric(10, 2)), interval '1 day', date '2024-01-01'
--- default values and checks call functions
create table t (a int default f(), b int check (g(b) > 0), c int generated always as (h(a)) stored)
--- index expressions call functions
create index on t (f(a)) where g(b)
