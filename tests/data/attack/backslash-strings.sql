To make a backslash mean something else than the policy's reader thinks.
--- refused
set standard_conforming_strings = off
--- refused
select set_config('standard_conforming_strings', 'off', false)
--- refused
update pg_settings set setting = 'off' where name = 'standard_conforming_strings'
--- refused
set backslash_quote = on
--- passes
select 'a\' from work.orders
