To keep data where no table is.
--- refused
select lo_from_bytea(0, 'x')
--- refused
select lo_create(1), lowrite(lo_open(1, 131072), 'x')
--- refused
select convert_from(loread(lo_open(1, 262144), 100), 'UTF8')
--- refused
select data from pg_catalog.pg_largeobject
--- refused
grant select on large object 1 to public
