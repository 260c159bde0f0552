To talk to somebody outside.
--- refused
create server s foreign data wrapper postgres_fdw
--- refused
create foreign table work.f (x text) server s
--- refused
import foreign schema vault from server s into work
--- refused
create user mapping for public server s
--- refused
create publication p for all tables
--- refused
create subscription s connection 'host=example.com' publication p
--- refused
notify x, 'secret'
--- refused
listen x
--- refused
prepare transaction 'x'
--- refused
create tablespace t location '/tmp'
--- refused
create database stolen template demo
