To log in with a search path that finds the vault.
-- startup: options=-c search_path=vault,work
--- refused
select secret from secrets
--- refused
select id from orders
--- passes
select id from work.orders
