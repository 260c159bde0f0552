--- the name of a common table expression is not a table
with q as (select * from a) select * from q
--- a qualified name is never a common table expression
with orders as (select 1) select * from shop.orders
--- without recursive a body does not see its own name
with orders as (select * from orders) select * from orders
--- without recursive a body does not see later names
with a as (select * from b), b as (select 1) select * from a, b
--- an earlier name is seen
with a as (select 1), b as (select * from a) select * from b
--- with recursive a body sees its own and later names
with recursive a as (select 1 union all select * from a), b as (select * from c), c as (select * from d) select * from b
--- the scope ends with the statement's parentheses
select * from (with q as (select * from a) select * from q) x, q
--- an inner name shadows only inside
with q as (select * from a) select (with r as (select * from q) select 1 from r), (select 1 from r)
--- a name of a union's with is seen on both sides
with q as (select * from a) select * from q union select * from q
--- a with inside one side of a union is not seen on the other
(with q as (select * from a) select * from q) union select * from q
--- a data-modifying expression is an effect
with gone as (delete from a where x = 1 returning *) insert into b select * from gone
--- an update and an insert can hide in a with that nobody reads
with u as (update a set x = 1 where y = 2), i as (insert into b values (1)) select 1
--- a merge can hide in a with
with m as (merge into t using s on t.a = s.a when matched then delete returning *) select * from m
--- the target of an insert is a table even under a shadowing name
with t as (select 1 as x) insert into t select * from t
--- the target of an update and a delete is a table even under a shadowing name
with t as (select 1 as x) update t set x = 2; with t as (select 1 as x) delete from t
--- search and cycle clauses change nothing
with recursive q as (select * from a) search depth first by x set o cycle x set c using p select * from q
--- a name shadows catalog relations as well
with pg_class as (select 1) select * from pg_class
