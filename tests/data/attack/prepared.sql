To prepare under one name and execute under another reading.
--- refused
prepare p as select secret from vault.secrets
--- refused
prepare p (int) as select id from work.orders where id = $1; execute p ((select count(*)::int from vault.secrets))
--- passes
prepare p as select id from work.orders
--- passes
execute p
--- refused
execute never_prepared
--- refused
deallocate p; prepare p as select secret from vault.secrets; execute p
--- passes
execute p
--- refused
create table work.stolen as execute never_prepared
--- refused
explain analyze execute never_prepared
--- refused extended
execute never_prepared
