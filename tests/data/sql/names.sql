--- unquoted names are folded and quoted ones are not
select * from Shop.Orders, "Shop"."Orders"
--- unicode escapes are decoded
select * from U&"\0073ecret", U&"!0073ecret2" uescape '!'
--- letters beyond ascii are not folded
select * from ÄRGER, "Straße"
--- a doubled quote is one quote
select * from "a""b", "a.b"."c;d"
--- a name longer than 63 bytes is cut as the server cuts it
select * from aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffggggggggggg, "äääääääääääääääääääääääääääääääääääää"
--- keywords can be names
select * from "select", "table"."user"
--- dollar quotes and nested comments hide nothing and invent nothing
select $q$ ; drop table a; $q$, $$ from b $$ /* from c /* nested */ from d */ from e -- from f
--- a semicolon in a string does not end a statement
select 'it''s; drop table a', E'\'; drop table b' from c
--- a string goes on over a line break
select 'a'
' from b' from c
--- comments separate words
select/**/1/**/from/**/shop/**/./**/orders
--- a backslash is a letter in a plain string
select '\' from a -- ' from b
--- a literal cast to regclass names, and reads nothing
select 'shop.orders'::regclass, to_regclass('shop.orders')
--- a parameter is not a name
select * from t where a = $1
--- a text that does not parse is opaque as a whole
select 1; selekt 2
--- an unterminated string is opaque
select 'a
