To read or write by COPY.
--- refused
copy vault.secrets to stdout
--- refused
copy (select secret from vault.secrets) to stdout
--- refused
copy (delete from vault.secrets returning secret) to stdout
--- refused
copy vault.secrets from stdin
--- refused
copy work.orders from '/etc/passwd'
--- refused
copy work.orders to '/tmp/stolen'
--- refused
copy work.orders to program 'curl https://example.com'
--- refused
copy (select 1) to program 'id'
--- refused
copy work.orders from stdin where id in (select id from vault.secrets)
--- passes
copy (select id from work.orders) to stdout
