To have the server cut a long name to a forbidden one.
--- fails
select * from work.aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffggggggggggg
--- refused
select * from vault.secrets_aaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffggggggggggg
--- refused
select * from demo.vault.secrets
--- refused
select * from other.work.orders
