To hide a statement behind a megabyte of something else.
--- refused
select '<<1000000 x a>>', secret from vault.secrets
--- refused
/*<<1000000 x *>>*/ select secret from vault.secrets
--- refused
<<20000 x select 1;>> select secret from vault.secrets
--- refused
select 1 where 1 in (<<50000 x 1,>> 1) union all select id from vault.secrets
--- passes
select length('<<1000000 x a>>') from work.orders
