To call code that reads or writes what it likes.
--- refused
select vault.leak()
--- refused
select * from vault.leak()
--- refused
select id from work.orders where vault.leak() is not null
--- refused
select id from work.orders order by vault.leak()
--- refused
select count(*) filter (where vault.leak() = '') from work.orders
--- refused
insert into work.orders select 1 from (values (vault.leak())) v
--- refused
select query_to_xml('select secret from vault.secrets', true, true, '')
--- refused
select table_to_xml('vault.secrets', true, true, '')
--- refused
select database_to_xml(true, true, '')
--- refused
select ts_stat('select secret from vault.secrets')
--- refused
select pg_read_file('/etc/passwd')
--- refused
select ('/etc/passwd').pg_read_file
--- refused
select pg_ls_dir('/')
--- refused
select pg_terminate_backend(pid) from pg_stat_activity
--- refused
select lo_import('/etc/passwd'), lo_get(1), lo_export(1, '/tmp/x')
--- refused
select dblink('dbname=demo', 'select secret from vault.secrets')
--- refused
select * from work.dblink('dbname=demo', 'select secret from vault.secrets') as t (x text)
--- refused
select set_config('role', 'postgres', false)
--- refused
select nextval('work.s'), setval('work.s', 1)
--- refused
select pg_notify('x', 'y')
--- refused
select pg_advisory_lock(1)
--- refused
select current_setting('x') from pg_sleep(1)
