To read in a place where a reader might not look.
--- refused
select id from work.orders where id in (select id from vault.secrets)
--- refused
select (select secret from vault.secrets limit 1)
--- refused
select array(select secret from vault.secrets)
--- refused
select 1 limit (select count(*) from vault.secrets)
--- refused
select 1 offset (select count(*) from vault.secrets)
--- refused
select id from work.orders order by (select secret from vault.secrets)
--- refused
select id from work.orders group by grouping sets ((id), ((select 1 from vault.secrets)))
--- refused
select id from work.orders having exists (select from vault.secrets)
--- refused
select count(*) over w from work.orders window w as (partition by (select secret from vault.secrets))
--- refused
select id from work.orders tablesample bernoulli ((select count(*) from vault.secrets))
--- refused
select * from work.orders o, lateral (select secret from vault.secrets) l
--- refused
select * from work.orders o left join (vault.secrets s cross join work.orders) on true
--- refused
select * from rows from (unnest(array(select secret from vault.secrets))) r
--- refused
select case when exists (table vault.secrets) then 1 end
--- refused
select row(vault.secrets.*) from vault.secrets
--- refused
select 1 union select 2 except (values ((select id from vault.secrets)))
--- refused
with recursive q (n) as (select 1 union all select n + (select id from vault.secrets) from q) select * from q
--- refused
with q as (delete from vault.secrets returning secret) select * from q
--- refused
select xmlelement(name a, xmlattributes((select secret from vault.secrets) as b))
--- refused
select distinct on ((select secret from vault.secrets)) id from work.orders
--- refused
select 1 where 'a' = any (select secret from vault.secrets)
--- refused
select (array[1, 2])[(select id from vault.secrets)]
--- refused
select id from work.orders for update of orders; select id from vault.secrets for share
--- refused
values (1), ((select id from vault.secrets))
--- refused
table vault.secrets
--- refused
lock table vault.secrets
--- refused
truncate work.orders, vault.secrets
--- refused
truncate work.orders cascade
--- refused
drop table work.orders, vault.secrets
--- refused
analyze vault.secrets
--- refused
vacuum
--- refused
cluster vault.secrets
--- refused
reindex table vault.secrets
--- refused
refresh materialized view vault.secrets
