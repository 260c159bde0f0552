To have a name mean another schema's table.
--- refused
select secret from secrets
--- passes
set search_path = vault
--- refused
select secret from secrets
--- refused
set search_path = vault; select secret from secrets
--- refused
set local search_path to vault; insert into secrets select 1
--- refused
set search_path = work, pg_catalog
--- refused
select set_config('search_path', 'vault', true)
--- refused
set schema 'vault'; select secret from secrets
--- refused
discard all; select secret from secrets
--- refused
select id from orders
--- passes
select id from work.orders
