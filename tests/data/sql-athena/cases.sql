--- unload exports
unload (select * from fin.secret) to 's3://exports/x' with (format = 'PARQUET')
--- an external table has a location
create external table a (b int) stored as parquet location 's3://lake/a'
--- create table as with a location
create table a with (external_location = 's3://lake/a') as select * from b
--- repair
msck repair table a
--- partitions
alter table a add partition (d = 1) location 's3://lake/a/1'
--- names in three parts
select * from awsdatacatalog.raw.orders
--- drop
drop table `raw`.`orders`
--- insert
insert into a select * from b
--- prepared
prepare p from select * from a
