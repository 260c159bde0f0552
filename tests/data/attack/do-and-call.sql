To run code that is a string.
--- refused
do $$ begin execute 'select secret from vault.secrets'; end $$
--- refused
do language plpgsql 'begin delete from vault.secrets; end'
--- refused
call vault.empty()
--- refused
select 1; do $$ begin end $$
