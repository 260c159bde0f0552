--- grant on tables
grant select, insert (a) on shop.a, b to joe, public with grant option
--- revoke on tables
revoke all on table shop.a from joe cascade
--- grant on a schema, a database, a sequence, a function and a type
grant usage on schema shop to joe; grant connect on database d to joe; grant usage on sequence shop.s to joe; grant execute on function shop.f(int) to joe; grant usage on type shop.t to joe
--- grant on all tables of a schema is opaque
grant select on all tables in schema shop to joe
--- grant on a language, a server, a parameter and a large object is opaque
grant usage on language plpgsql to joe; grant usage on foreign server s to joe; grant set on parameter x to joe; grant select on large object 1 to joe
--- role membership and roles are opaque
grant admin to joe; revoke admin from joe; create role r; alter role r superuser; alter role r set search_path = x; drop role r; create user u
--- default privileges and policies are opaque
alter default privileges in schema shop grant select on tables to joe; create policy p on shop.t using (true); alter policy p on shop.t using (f()); security label on table shop.t is 'x'
