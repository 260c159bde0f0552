To make a view that lends the right to read.
--- refused
create view work.v as select secret from vault.secrets
--- refused
create temporary view v as select secret from vault.secrets
--- refused
create materialized view work.v as table vault.secrets
--- refused
create recursive view work.v (n) as select secret from vault.secrets
--- refused
create view work.v as select vault.leak()
--- refused
create table work.p (id int) inherits (vault.secrets)
--- refused
create table work.p (like vault.secrets including all)
--- refused
alter table work.orders inherit vault.secrets
--- refused
create table work.p partition of vault.parts for values in (1)
