--- unload reads by its query and exports with a role
unload ('select * from finance.salaries join raw.orders using (id)') to 's3://exports/salaries_' iam_role 'arn:aws:iam::123456789012:role/unload' format parquet partition by (year, month) allowoverwrite
--- unload takes every way to quote its query
UNLOAD ('select ''x'', a from b where c = ''d''') TO 's3://x/y' IAM_ROLE default; unload ($$select 'it''s' from c$$) to 's3://x/y' iam_role default
--- unload of a query that only redshift reads
unload ('select top 10 a from b qualify row_number() over (order by c) = 1') to 's3://x/y' iam_role default
--- unload that cleans its path deletes there
unload ('select 1') to 's3://x/y' iam_role default cleanpath manifest verbose header csv delimiter as '|' maxfilesize 5 mb parallel off region 'eu-west-1'
--- a chain of roles is each of them
unload ('select 1') to 's3://x/y' iam_role 'arn:aws:iam::1:role/a,arn:aws:iam::2:role/b'
--- unload with credentials in it is opaque as to who acts
unload ('select 1') to 's3://x/y' credentials 'aws_iam_role=arn:aws:iam::1:role/a'; unload ('select 1') to 's3://x/y' access_key_id 'x' secret_access_key 'y'
--- unload of a query that is not beyond doubt is opaque
unload ('select \'a\' from b') to 's3://x/y' iam_role default
--- unload of what is not one query is opaque
unload ('delete from a') to 's3://x/y' iam_role default; unload ('select 1; drop table a') to 's3://x/y' iam_role default; unload ($a$unload ($b$select 1$b$) to 's3://x/z'$a$) to 's3://x/y'
--- unload with an unknown option is opaque
unload ('select 1') to 's3://x/y' iam_role default somewhere_else 's3://x/z'
--- unload without a literal query is opaque
unload (select 1) to 's3://x/y'; unload 'select 1' to 's3://x/y'; unload
--- copy writes and imports with a role
copy raw.orders (id, total) from 's3://landing/orders/2026' iam_role 'arn:aws:iam::123456789012:role/load' csv ignoreheader 1 delimiter ',' null as '\N' timeformat 'auto' gzip
--- copy reads also the files that describe the others
copy a from 's3://landing/a' iam_role default format as json 's3://landing/jsonpaths.json'; copy a from 's3://landing/a' iam_role default json 'auto ignorecase'
--- copy by a manifest reads files that it does not name
copy a from 's3://landing/files' iam_role default manifest
--- copy over ssh runs commands elsewhere
copy a from 's3://landing/hosts' iam_role default ssh
--- copy from other stores
copy a from 'dynamodb://orders' iam_role default readratio 50; copy a from 'emr://j-1/part-*' iam_role default
--- copy of any file is a location
copy a from '/etc/passwd'; copy a from 's3://x/y' csv
--- a copy job is code that runs later
copy a from 's3://x/y' iam_role default job create nightly auto on
--- copy with keys in it is opaque as to who acts
copy a from 's3://x/y' with credentials as 'aws_access_key_id=x;aws_secret_access_key=y' csv
--- copy through the session is copy as ever
copy a from stdin; copy a to stdout; copy (select 1 from b) to stdout; copy a to program 'x'
