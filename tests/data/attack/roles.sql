To become somebody else.
--- refused
set role postgres
--- refused
set session authorization postgres
--- refused
reset role
--- refused
set local role none
--- refused
set session_replication_role = replica
--- refused
set row_security = off
--- refused
create role r login superuser
--- refused
drop owned by dbt_runner
