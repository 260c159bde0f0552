--- transaction control has no effects
begin isolation level serializable; savepoint a; rollback to a; release a; commit and chain; start transaction read only; rollback
--- two-phase commit is opaque
prepare transaction 'a'; commit prepared 'a'; rollback prepared 'a'
--- harmless parameters have no effects
set statement_timeout = '5s'; set local work_mem to '1GB'; set TimeZone = 'UTC'; set time zone interval '1' hour to minute; set application_name to 'dbt'; set DateStyle = iso; set xml option document
--- transaction modes have no effects
set transaction isolation level serializable, read only; set session characteristics as transaction read write
--- importing a snapshot is an effect
set transaction snapshot '1'
--- other parameters are effects
set session_replication_role = replica; set row_security = off; set my.thing = 1; reset session_replication_role; set default_tablespace = x
--- the role is an effect
set role loader; set role none; reset role; set local role 'Loader'; set session authorization joe; set session authorization default; set "ROLE" to x
--- the search path becomes unknown
set search_path to shop, public; set local search_path = ''; set schema 'x'; reset search_path; reset all
--- a search path with the catalog elsewhere than in front is an effect
set search_path to public, pg_catalog; set search_path to pg_catalog, public
--- utf-8 and standard strings are no effects and all else is
set client_encoding to 'UTF8'; set names 'utf-8'; set client_encoding = 'SJIS'; set standard_conforming_strings = on; set standard_conforming_strings = off; set backslash_quote = on; reset client_encoding
--- show and discard
show search_path; discard plans; discard temp; discard all
--- prepare has the effects of its statement
prepare p (int) as insert into a select * from b where x = $1
--- execute names the prepared statement and judges the arguments
execute p((select 1 from a), f())
--- deallocate has no effects
deallocate p; deallocate all
--- a cursor is judged when it is declared
declare c cursor with hold for select * from a; fetch 10 from c; move c; close c
--- explain is judged as if it ran
explain analyze delete from a; explain (costs off) select * from b; explain create table c as select * from d; explain analyze execute p
--- listen and notify are not supported
listen a; notify a; unlisten *
--- set constraints has no effects
set constraints all deferred
