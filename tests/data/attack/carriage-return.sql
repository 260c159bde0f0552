To end a line comment with a lone carriage return.
--- refused
select 1 --from work.orders, vault.secrets
