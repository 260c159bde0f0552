To exhaust the reader's stack, so that it gives up or breaks down.
--- refused
select <<100000 x (>>1<<100000 x )>>
--- refused
select <<100000 x not >>true
--- refused
select 1<<100000 x  + 1>>
--- refused
<<20000 x select * from (>>select secret from vault.secrets<<20000 x ) q>>
--- refused
select <<50000 x case when true then >>1<<50000 x  end>>
--- refused
select array<<50000 x [>>1<<50000 x ]>>
--- passes
select <<500 x (>>1<<500 x )>>
--- passes
select id from work.orders
