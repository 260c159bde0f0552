To run or to read by EXPLAIN.
--- refused
explain select secret from vault.secrets
--- refused
explain analyze delete from vault.secrets
--- refused
explain (analyze true, format json, verbose) update vault.secrets set secret = ''
--- refused
explain (generic_plan) select secret from vault.secrets where id = $1
--- refused
explain analyze create table work.stolen as table vault.secrets
--- passes
explain select id from work.orders
