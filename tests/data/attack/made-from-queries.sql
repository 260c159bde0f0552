To copy what must not be read.
--- refused
select secret into work.stolen from vault.secrets
--- refused
create table work.stolen as select secret from vault.secrets
--- refused
create unlogged table if not exists work.stolen (s) as table vault.secrets with no data
--- refused
create temp table stolen on commit drop as values ((select secret from vault.secrets))
--- refused
insert into work.orders select id from vault.secrets
--- refused
insert into work.orders values (1) on conflict do nothing returning (select secret from vault.secrets)
--- refused
insert into work.orders (id) values ((select id from vault.secrets)) 
--- refused
update work.orders set id = s.id from vault.secrets s
--- refused
delete from work.orders using vault.secrets s where s.secret like 'a%'
--- refused
merge into work.orders o using vault.secrets s on o.id = s.id when not matched then insert values (s.id)
--- refused
merge into vault.secrets s using work.orders o on o.id = s.id when matched then delete
