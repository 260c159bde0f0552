--- harmless parameters
set query_group to 'dbt'; set enable_case_sensitive_identifier to true; set statement_timeout to 1000; set wlm_query_slot_count to 3
--- other parameters
set search_path to shop; set session authorization 'joe'; set spectrum_oauth_token to 'x'; reset query_group
--- use means other names from now on
use sales; use "sales"
--- show reads the catalog
show table shop.orders; show view v; show columns from table dev.shop.orders; show tables from schema dev.shop like '%x'; show schemas from database dev; show databases; show grants on table a; show datashares; show external table lake.a; show procedure p(int); show search_path
--- an unknown show is opaque
show me everything
--- call is opaque and names its procedure
call shop.load(1)
--- merge in the short form of redshift
merge into shop.orders using raw.orders on shop.orders.id = raw.orders.id remove duplicates; merge into a using b on a.x = b.x when matched then update set y = b.y when not matched then insert values (b.x, b.y)
--- vacuum and analyze
vacuum; vacuum full shop.orders to 100 percent boost; vacuum sort only a; vacuum delete only a to 75 percent; vacuum reindex a; analyze shop.orders predicate columns; analyze compression shop.orders (a, b) comprows 1000000; analyze compression; vacuum a, b boost
--- what dbt sends beside queries
begin; select pg_backend_pid(); select pg_terminate_backend(1234); cancel 1234 'stop'; drop table if exists "dev"."analytics"."orders__dbt_backup" cascade; alter table "dev"."analytics"."orders__dbt_tmp" rename to "orders"; commit; truncate table a
--- delete by another table
delete from a using b where a.id = b.id; delete from a where id in (select id from b)
--- grants by name
grant select on table shop.orders to group analysts; grant usage on schema shop to joe; grant select on all tables in schema shop to joe; grant execute on function f(int) to joe
--- what dbt asks of the catalog
/* {"app": "dbt", "node_id": "x"} */ with bound_views as (select ordinal_position, table_schema, column_name from information_schema."columns" where table_name = 'orders'), unbound_views as (select ordinal_position, view_schema, col_name from pg_get_late_binding_view_cols() cols(view_schema name, view_name name, col_name name, col_type varchar, ordinal_position int)), external_views as (select columnnum from svv_external_columns) select * from bound_views union all select * from unbound_views
