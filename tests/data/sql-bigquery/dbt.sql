--- dbt sends this (1)
select 1 as id
--- dbt sends this (2)
/* {"app": "dbt", "dbt_version": "1.12.6", "profile_name": "jaffle", "target_name": "bq", "connection_name": "create_jaffle-proj_analytics"} */
create schema if not exists `jaffle-proj`.`analytics`
--- dbt sends this (3)
/* {"app": "dbt", "dbt_version": "1.12.6", "profile_name": "jaffle", "target_name": "bq", "connection_name": "create_jaffle-proj_analytics_marts"} */
create schema if not exists `jaffle-proj`.`analytics_marts`
--- dbt sends this (4)
/* {"app": "dbt", "dbt_version": "1.12.6", "profile_name": "jaffle", "target_name": "bq", "connection_name": "create_jaffle-proj_analytics_snapshots"} */
create schema if not exists `jaffle-proj`.`analytics_snapshots`
--- dbt sends this (5)
/* {"app": "dbt", "dbt_version": "1.12.6", "profile_name": "jaffle", "target_name": "bq", "connection_name": "create_jaffle-proj_analytics_dbt_test__audit"} */
create schema if not exists `jaffle-proj`.`analytics_dbt_test__audit`
--- dbt sends this (6)
/* {"app": "dbt", "dbt_version": "1.12.6", "profile_name": "jaffle", "target_name": "bq", "connection_name": "master"} */
select 'on-run-start hook'
--- dbt sends this (7)
/* {"app": "dbt", "dbt_version": "1.12.6", "profile_name": "jaffle", "target_name": "bq", "node_id": "test.jaffle.source_not_null_src_raw_customers_id.8743dd8b75"} */

    
    select
      count(*) as failures,
      count(*) != 0 as should_warn,
      count(*) != 0 as should_error
    from (
      
    
  
    
    



select id
from `jaffle-proj`.`analytics`.`raw_customers`
where id is null



  
  
      
    ) dbt_internal_test
--- dbt sends this (8)
/* {"app": "dbt", "dbt_version": "1.12.6", "profile_name": "jaffle", "target_name": "bq", "node_id": "seed.jaffle.raw_customers"} */

    alter table `jaffle-proj`.`analytics`.`raw_customers` set OPTIONS()
--- dbt sends this (9)
/* {"app": "dbt", "dbt_version": "1.12.6", "profile_name": "jaffle", "target_name": "bq", "node_id": "seed.jaffle.raw_orders"} */

    alter table `jaffle-proj`.`analytics`.`raw_orders` set OPTIONS()
--- dbt sends this (10)
/* {"app": "dbt", "dbt_version": "1.12.6", "profile_name": "jaffle", "target_name": "bq", "node_id": "snapshot.jaffle.orders_snap"} */
select * from (
        
    

    select *,
        to_hex(md5(concat(coalesce(cast(id as string), ''), '|',coalesce(cast(
    current_timestamp()
 as string), '')))) as dbt_scd_id,
        
    current_timestamp()
 as dbt_updated_at,
        
    current_timestamp()
 as dbt_valid_from,
        
  
  coalesce(nullif(
    current_timestamp()
, 
    current_timestamp()
), null)
  as dbt_valid_to
from (
        select * from `jaffle-proj`.`analytics`.`raw_orders`
    ) sbq



    ) as __dbt_sbq
    where false and current_timestamp() = current_timestamp()
    limit 0
--- dbt sends this (11)
/* {"app": "dbt", "dbt_version": "1.12.6", "profile_name": "jaffle", "target_name": "bq", "node_id": "model.jaffle.stg_customers"} */


  create or replace view `jaffle-proj`.`analytics`.`stg_customers`
  OPTIONS(
      description=""""""
    )
  as select id as customer_id, first_name, last_name from `jaffle-proj`.`analytics`.`raw_customers`;
--- dbt sends this (12)
/* {"app": "dbt", "dbt_version": "1.12.6", "profile_name": "jaffle", "target_name": "bq", "node_id": "snapshot.jaffle.orders_snap"} */
select * from (
        select 
    current_timestamp()
 as dbt_snapshot_time
    ) as __dbt_sbq
    where false and current_timestamp() = current_timestamp()
    limit 0
--- dbt sends this (13)
/* {"app": "dbt", "dbt_version": "1.12.6", "profile_name": "jaffle", "target_name": "bq", "node_id": "model.jaffle.stg_orders"} */


  create or replace view `jaffle-proj`.`analytics`.`stg_orders`
  OPTIONS(
      description=""""""
    )
  as select id as order_id, user_id as customer_id, order_date, status from `jaffle-proj`.`analytics`.`raw_orders`;
--- dbt sends this (14)
/* {"app": "dbt", "dbt_version": "1.12.6", "profile_name": "jaffle", "target_name": "bq", "node_id": "snapshot.jaffle.orders_snap"} */

      
  
    

    create or replace table `jaffle-proj`.`analytics_snapshots`.`orders_snap`
      
    
    

    
    OPTIONS()
    as (
      
    

    select *,
        to_hex(md5(concat(coalesce(cast(id as string), ''), '|',coalesce(cast(
    current_timestamp()
 as string), '')))) as dbt_scd_id,
        
    current_timestamp()
 as dbt_updated_at,
        
    current_timestamp()
 as dbt_valid_from,
        
  
  coalesce(nullif(
    current_timestamp()
, 
    current_timestamp()
), null)
  as dbt_valid_to
from (
        select * from `jaffle-proj`.`analytics`.`raw_orders`
    ) sbq



    );
--- dbt sends this (15)
/* {"app": "dbt", "dbt_version": "1.12.6", "profile_name": "jaffle", "target_name": "bq", "node_id": "test.jaffle.accepted_values_stg_orders_status__returned__completed.cb63ef9e78"} */

    
    select
      count(*) as failures,
      count(*) != 0 as should_warn,
      count(*) != 0 as should_error
    from (
      
    
  
    
    

with all_values as (

    select
        status as value_field,
        count(*) as n_records

    from `jaffle-proj`.`analytics`.`stg_orders`
    group by status

)

select *
from all_values
where value_field not in (
    'returned','completed'
)



  
  
      
    ) dbt_internal_test
--- dbt sends this (16)
/* {"app": "dbt", "dbt_version": "1.12.6", "profile_name": "jaffle", "target_name": "bq", "node_id": "test.jaffle.relationships_stg_orders_customer_id__customer_id__ref_stg_customers_.430bf21500"} */

    
    select
      count(*) as failures,
      count(*) != 0 as should_warn,
      count(*) != 0 as should_error
    from (
      
    
  
    
    

with child as (
    select customer_id as from_field
    from `jaffle-proj`.`analytics`.`stg_orders`
    where customer_id is not null
),

parent as (
    select customer_id as to_field
    from `jaffle-proj`.`analytics`.`stg_customers`
)

select
    from_field

from child
left join parent
    on child.from_field = parent.to_field

where parent.to_field is null



  
  
      
    ) dbt_internal_test
--- dbt sends this (17)
/* {"app": "dbt", "dbt_version": "1.12.6", "profile_name": "jaffle", "target_name": "bq", "node_id": "model.jaffle.orders_merge"} */

  
    

    create or replace table `jaffle-proj`.`analytics_marts`.`orders_merge`
      
    
    

    
    OPTIONS(
      description=""""""
    )
    as (
      
select * from `jaffle-proj`.`analytics`.`stg_orders`
    );
--- dbt sends this (18)
/* {"app": "dbt", "dbt_version": "1.12.6", "profile_name": "jaffle", "target_name": "bq", "node_id": "model.jaffle.orders_inc"} */

  
    

    create or replace table `jaffle-proj`.`analytics_marts`.`orders_inc`
      
    
    

    
    OPTIONS(
      description=""""""
    )
    as (
      
select * from `jaffle-proj`.`analytics`.`stg_orders`

    );
--- dbt sends this (19)
/* {"app": "dbt", "dbt_version": "1.12.6", "profile_name": "jaffle", "target_name": "bq", "node_id": "model.jaffle.customers"} */

  
    

    create or replace table `jaffle-proj`.`analytics_marts`.`customers`
      
    
    

    
    OPTIONS(
      description="""customers table"""
    )
    as (
      
select c.customer_id, c.first_name, count(o.order_id) as n_orders
from `jaffle-proj`.`analytics`.`stg_customers` c left join `jaffle-proj`.`analytics`.`stg_orders` o using (customer_id)
group by 1,2
    );
--- dbt sends this (20)
/* {"app": "dbt", "dbt_version": "1.12.6", "profile_name": "jaffle", "target_name": "bq", "node_id": "model.jaffle.customers"} */

        
            grant `select` on table `jaffle-proj`.`analytics_marts`.`customers` to "reporter";
--- dbt sends this (21)
/* {"app": "dbt", "dbt_version": "1.12.6", "profile_name": "jaffle", "target_name": "bq", "node_id": "test.jaffle.orders_positive"} */

        
        
  
    

    create or replace table `jaffle-proj`.`analytics_dbt_test__audit`.`orders_positive`
      
    
    

    
    OPTIONS()
    as (
      
    
  
select * from `jaffle-proj`.`analytics_marts`.`orders_inc` where order_id < 0
  
  
    );
--- dbt sends this (22)
/* {"app": "dbt", "dbt_version": "1.12.6", "profile_name": "jaffle", "target_name": "bq", "node_id": "test.jaffle.orders_positive"} */

    
    select
      count(*) as failures,
      count(*) != 0 as should_warn,
      count(*) != 0 as should_error
    from (
      
        select *
        from `jaffle-proj`.`analytics_dbt_test__audit`.`orders_positive`
    
      
    ) dbt_internal_test
--- dbt sends this (23)
/* {"app": "dbt", "dbt_version": "1.12.6", "profile_name": "jaffle", "target_name": "bq", "connection_name": "master"} */
select 'on-run-end hook'
--- dbt sends this (24)
/* {"app": "dbt", "dbt_version": "1.12.6", "profile_name": "jaffle", "target_name": "bq", "node_id": "snapshot.jaffle.orders_snap"} */
select * from (
        select status from (
                select * from `jaffle-proj`.`analytics`.`raw_orders`
            ) subq
    ) as __dbt_sbq
    where false and current_timestamp() = current_timestamp()
    limit 0
--- dbt sends this (25)
/* {"app": "dbt", "dbt_version": "1.12.6", "profile_name": "jaffle", "target_name": "bq", "node_id": "snapshot.jaffle.orders_snap"} */

        
  
    

    create or replace table `jaffle-proj`.`analytics_snapshots`.`orders_snap__dbt_tmp003955294595`
      
    
    

    
    OPTIONS(
      expiration_timestamp=TIMESTAMP_ADD(CURRENT_TIMESTAMP(), INTERVAL 12 hour)
    )
    as (
      
    
    with snapshot_query as (

        select * from `jaffle-proj`.`analytics`.`raw_orders`

    ),

    snapshotted_data as (

        select *, 
    
        id as dbt_unique_key
    

        from `jaffle-proj`.`analytics_snapshots`.`orders_snap`
        where
            
                dbt_valid_to is null
            

    ),

    insertions_source_data as (

        select *, 
    
        id as dbt_unique_key
    
,
            
    current_timestamp()
 as dbt_updated_at,
            
    current_timestamp()
 as dbt_valid_from,
            
  
  coalesce(nullif(
    current_timestamp()
, 
    current_timestamp()
), null)
  as dbt_valid_to
,
            to_hex(md5(concat(coalesce(cast(id as string), ''), '|',coalesce(cast(
    current_timestamp()
 as string), '')))) as dbt_scd_id

        from snapshot_query
    ),

    updates_source_data as (

        select *, 
    
        id as dbt_unique_key
    
,
            
    current_timestamp()
 as dbt_updated_at,
            
    current_timestamp()
 as dbt_valid_from,
            
    current_timestamp()
 as dbt_valid_to

        from snapshot_query
    ),

    insertions as (

        select
            'insert' as dbt_change_type,
            source_data.*

        from insertions_source_data as source_data
        left outer join snapshotted_data
            on 
    
        snapshotted_data.dbt_unique_key = source_data.dbt_unique_key
    

            where 
    
        snapshotted_data.dbt_unique_key is null
    

            or (
    
        snapshotted_data.dbt_unique_key is not null
    
 and (
               (snapshotted_data.`status` != source_data.`status`
        or
        (
            ((snapshotted_data.`status` is null) and not (source_data.`status` is null))
            or
            ((not snapshotted_data.`status` is null) and (source_data.`status` is null))
        ))
            )

        )

    ),

    updates as (

        select
            'update' as dbt_change_type,
            source_data.*,
            snapshotted_data.dbt_scd_id

        from updates_source_data as source_data
        join snapshotted_data
            on 
    
        snapshotted_data.dbt_unique_key = source_data.dbt_unique_key
    

        where (
            (snapshotted_data.`status` != source_data.`status`
        or
        (
            ((snapshotted_data.`status` is null) and not (source_data.`status` is null))
            or
            ((not snapshotted_data.`status` is null) and (source_data.`status` is null))
        ))
        )
    )

    select * from insertions
    union all
    select * from updates

    );
--- dbt sends this (26)
/* {"app": "dbt", "dbt_version": "1.12.6", "profile_name": "jaffle", "target_name": "bq", "node_id": "snapshot.jaffle.orders_snap"} */
select * from (
        
    
    with snapshot_query as (

        select * from `jaffle-proj`.`analytics`.`raw_orders`

    ),

    snapshotted_data as (

        select *, 
    
        id as dbt_unique_key
    

        from `jaffle-proj`.`analytics_snapshots`.`orders_snap`
        where
            
                dbt_valid_to is null
            

    ),

    insertions_source_data as (

        select *, 
    
        id as dbt_unique_key
    
,
            
    current_timestamp()
 as dbt_updated_at,
            
    current_timestamp()
 as dbt_valid_from,
            
  
  coalesce(nullif(
    current_timestamp()
, 
    current_timestamp()
), null)
  as dbt_valid_to
,
            to_hex(md5(concat(coalesce(cast(id as string), ''), '|',coalesce(cast(
    current_timestamp()
 as string), '')))) as dbt_scd_id

        from snapshot_query
    ),

    updates_source_data as (

        select *, 
    
        id as dbt_unique_key
    
,
            
    current_timestamp()
 as dbt_updated_at,
            
    current_timestamp()
 as dbt_valid_from,
            
    current_timestamp()
 as dbt_valid_to

        from snapshot_query
    ),

    insertions as (

        select
            'insert' as dbt_change_type,
            source_data.*

        from insertions_source_data as source_data
        left outer join snapshotted_data
            on 
    
        snapshotted_data.dbt_unique_key = source_data.dbt_unique_key
    

            where 
    
        snapshotted_data.dbt_unique_key is null
    

            or (
    
        snapshotted_data.dbt_unique_key is not null
    
 and (
               (snapshotted_data.`status` != source_data.`status`
        or
        (
            ((snapshotted_data.`status` is null) and not (source_data.`status` is null))
            or
            ((not snapshotted_data.`status` is null) and (source_data.`status` is null))
        ))
            )

        )

    ),

    updates as (

        select
            'update' as dbt_change_type,
            source_data.*,
            snapshotted_data.dbt_scd_id

        from updates_source_data as source_data
        join snapshotted_data
            on 
    
        snapshotted_data.dbt_unique_key = source_data.dbt_unique_key
    

        where (
            (snapshotted_data.`status` != source_data.`status`
        or
        (
            ((snapshotted_data.`status` is null) and not (source_data.`status` is null))
            or
            ((not snapshotted_data.`status` is null) and (source_data.`status` is null))
        ))
        )
    )

    select * from insertions
    union all
    select * from updates

    ) as __dbt_sbq
    where false and current_timestamp() = current_timestamp()
    limit 0
--- dbt sends this (27)
/* {"app": "dbt", "dbt_version": "1.12.6", "profile_name": "jaffle", "target_name": "bq", "node_id": "snapshot.jaffle.orders_snap"} */

      merge into `jaffle-proj`.`analytics_snapshots`.`orders_snap` as DBT_INTERNAL_DEST
    using `jaffle-proj`.`analytics_snapshots`.`orders_snap__dbt_tmp003955294595` as DBT_INTERNAL_SOURCE
    on DBT_INTERNAL_SOURCE.dbt_scd_id = DBT_INTERNAL_DEST.dbt_scd_id

    when matched
     
       and DBT_INTERNAL_DEST.dbt_valid_to is null
     
     and DBT_INTERNAL_SOURCE.dbt_change_type in ('update', 'delete')
        then update
        set dbt_valid_to = DBT_INTERNAL_SOURCE.dbt_valid_to

    when not matched
     and DBT_INTERNAL_SOURCE.dbt_change_type = 'insert'
        then insert (`id`, `user_id`, `order_date`, `status`, `dbt_updated_at`, `dbt_valid_from`, `dbt_valid_to`, `dbt_scd_id`)
        values (`id`, `user_id`, `order_date`, `status`, `dbt_updated_at`, `dbt_valid_from`, `dbt_valid_to`, `dbt_scd_id`)
--- dbt sends this (28)
/* {"app": "dbt", "dbt_version": "1.12.6", "profile_name": "jaffle", "target_name": "bq", "node_id": "model.jaffle.orders_merge"} */

  
    

    create or replace table `jaffle-proj`.`analytics_marts`.`orders_merge__dbt_tmp003957893701`
      
    
    

    
    OPTIONS(
      description="""""",
    
      expiration_timestamp=TIMESTAMP_ADD(CURRENT_TIMESTAMP(), INTERVAL 12 hour)
    )
    as (
      
select * from `jaffle-proj`.`analytics`.`stg_orders`
    );
--- dbt sends this (29)
/* {"app": "dbt", "dbt_version": "1.12.6", "profile_name": "jaffle", "target_name": "bq", "node_id": "model.jaffle.orders_inc"} */
-- back compat for old kwarg name
  
  
        
            
            
            
            
        
    

    

    merge into `jaffle-proj`.`analytics_marts`.`orders_inc` as DBT_INTERNAL_DEST
        using (
select * from `jaffle-proj`.`analytics`.`stg_orders`
 where order_date >= (select max(order_date) from `jaffle-proj`.`analytics_marts`.`orders_inc`) 
        ) as DBT_INTERNAL_SOURCE
        on ((DBT_INTERNAL_SOURCE.order_id = DBT_INTERNAL_DEST.order_id))

    
    when matched then update set
        `order_id` = DBT_INTERNAL_SOURCE.`order_id`,`customer_id` = DBT_INTERNAL_SOURCE.`customer_id`,`order_date` = DBT_INTERNAL_SOURCE.`order_date`,`status` = DBT_INTERNAL_SOURCE.`status`
    

    when not matched then insert
        (`order_id`, `customer_id`, `order_date`, `status`)
    values
        (`order_id`, `customer_id`, `order_date`, `status`)
--- dbt sends this (30)
/* {"app": "dbt", "dbt_version": "1.12.6", "profile_name": "jaffle", "target_name": "bq", "node_id": "model.jaffle.orders_merge"} */
-- back compat for old kwarg name
  
  
        
            
            
            
            
        
    

    

    merge into `jaffle-proj`.`analytics_marts`.`orders_merge` as DBT_INTERNAL_DEST
        using (
        select
        * from `jaffle-proj`.`analytics_marts`.`orders_merge__dbt_tmp003957893701`
        ) as DBT_INTERNAL_SOURCE
        on ((DBT_INTERNAL_SOURCE.order_id = DBT_INTERNAL_DEST.order_id))

    
    when matched then update set
        `order_id` = DBT_INTERNAL_SOURCE.`order_id`,`customer_id` = DBT_INTERNAL_SOURCE.`customer_id`,`order_date` = DBT_INTERNAL_SOURCE.`order_date`,`status` = DBT_INTERNAL_SOURCE.`status`
    

    when not matched then insert
        (`order_id`, `customer_id`, `order_date`, `status`)
    values
        (`order_id`, `customer_id`, `order_date`, `status`)
--- dbt sends this (31)
/* {"app": "dbt", "dbt_version": "1.12.6", "profile_name": "jaffle", "target_name": "bq", "node_id": "model.jaffle.customers"} */

    
    
    

    select privilege_type, grantee
    from `jaffle-proj`.`region-US`.INFORMATION_SCHEMA.OBJECT_PRIVILEGES
    where object_schema = "analytics_marts"
      and object_name = "customers"
      -- filter out current user
      and split(grantee, ':')[offset(1)] != session_user()
--- dbt sends this (32)
/* {"app": "dbt", "dbt_version": "1.12.6", "profile_name": "jaffle", "target_name": "bq", "connection_name": "jaffle-proj.information_schema"} */

    with
                table_shards_stage as (
    select
        tables.project_id as table_catalog,
        tables.dataset_id as table_schema,
        coalesce(REGEXP_EXTRACT(tables.table_id, '^(.+)[0-9]{8}$'), tables.table_id) as table_name,
        tables.table_id as shard_name,
        REGEXP_EXTRACT(tables.table_id, '^.+([0-9]{8})$') as shard_index,
        REGEXP_CONTAINS(tables.table_id, '^.+[0-9]{8}$') and tables.type = 1 as is_date_shard,
        case
            when materialized_views.table_name is not null then 'materialized view'
            when tables.type = 1 then 'table'
            when tables.type = 2 then 'view'
            else 'external'
        end as table_type,
        tables.type = 1 as is_table,
        JSON_VALUE(table_description.option_value) as table_comment,
        tables.size_bytes,
        tables.row_count
    from `jaffle-proj`.`analytics_snapshots`.__TABLES__ tables
    left join `jaffle-proj`.`analytics_snapshots`.INFORMATION_SCHEMA.MATERIALIZED_VIEWS materialized_views
        on materialized_views.table_catalog = tables.project_id
        and materialized_views.table_schema = tables.dataset_id
        and materialized_views.table_name = tables.table_id
    left join `jaffle-proj`.`analytics_snapshots`.INFORMATION_SCHEMA.TABLE_OPTIONS table_description
        on table_description.table_catalog = tables.project_id
        and table_description.table_schema = tables.dataset_id
        and table_description.table_name = tables.table_id
        and table_description.option_name = 'description'
),
                table_shards as (
                    select * from table_shards_stage
                    where ((
                                upper(table_schema) = upper('analytics_snapshots')
                            and upper(table_name) = upper('orders_snap')
                            ))
                ),
                tables as (
    select distinct
        table_catalog,
        table_schema,
        table_name,
        is_date_shard,
        table_type,
        is_table,
        table_comment
    from table_shards
),
                table_stats as (
    select
        table_catalog,
        table_schema,
        table_name,
        max(shard_name) as latest_shard_name,
        min(shard_index) as shard_min,
        max(shard_index) as shard_max,
        count(shard_index) as shard_count,
        sum(size_bytes) as size_bytes,
        sum(row_count) as row_count
    from table_shards
    group by 1, 2, 3
),

                columns as (
    select
        columns.table_catalog,
        columns.table_schema,
        columns.table_name as shard_name,
        coalesce(paths.field_path, '<unknown>') as column_name,
        -- invent a row number to account for nested fields
        -- BQ does not treat these nested properties as independent fields
        row_number() over (
            partition by
                columns.table_catalog,
                columns.table_schema,
                columns.table_name
            order by
                columns.ordinal_position,
                paths.field_path
        ) as column_index,
        coalesce(paths.data_type, '<unknown>') as column_type,
        paths.description as column_comment,
        case when columns.is_partitioning_column = 'YES' then 1 else 0 end as is_partitioning_column,
        case when columns.is_partitioning_column = 'YES' then paths.field_path end as partition_column,
        case when columns.clustering_ordinal_position is not null then 1 else 0 end as is_clustering_column,
        case when columns.clustering_ordinal_position is not null then paths.field_path end as cluster_column,
        columns.clustering_ordinal_position
    from `jaffle-proj`.`analytics_snapshots`.INFORMATION_SCHEMA.COLUMNS columns
    join `jaffle-proj`.`analytics_snapshots`.INFORMATION_SCHEMA.COLUMN_FIELD_PATHS paths
        on paths.table_catalog = columns.table_catalog
        and paths.table_schema = columns.table_schema
        and paths.table_name = columns.table_name
        and paths.column_name = columns.column_name
    where columns.ordinal_position is not null
),
                column_stats as (
    select
        table_catalog,
        table_schema,
        shard_name,
        max(is_partitioning_column) = 1 as is_partitioned,
        max(partition_column) as partition_column,
        max(is_clustering_column) = 1 as is_clustered,
        array_to_string(
            array_agg(
                cluster_column ignore nulls
                order by clustering_ordinal_position
            ), ', '
        ) as clustering_columns
    from columns
    group by 1, 2, 3
)

            
    select
        tables.table_catalog as table_database,
        tables.table_schema,
        case
            when tables.is_date_shard then concat(tables.table_name, '*')
            else tables.table_name
        end as table_name,
        tables.table_type,
        tables.table_comment,
        -- coalesce column metadata fields to ensure they are non-null for catalog generation
        -- external table columns are not present in COLUMN_FIELD_PATHS
        coalesce(columns.column_name, '<unknown>') as column_name,
        coalesce(columns.column_index, 1) as column_index,
        coalesce(columns.column_type, '<unknown>') as column_type,
        coalesce(columns.column_comment, '') as column_comment,

        'Shard count' as `stats__date_shards__label`,
        table_stats.shard_count as `stats__date_shards__value`,
        'The number of date shards in this table' as `stats__date_shards__description`,
        tables.is_date_shard as `stats__date_shards__include`,

        'Shard (min)' as `stats__date_shard_min__label`,
        table_stats.shard_min as `stats__date_shard_min__value`,
        'The first date shard in this table' as `stats__date_shard_min__description`,
        tables.is_date_shard as `stats__date_shard_min__include`,

        'Shard (max)' as `stats__date_shard_max__label`,
        table_stats.shard_max as `stats__date_shard_max__value`,
        'The last date shard in this table' as `stats__date_shard_max__description`,
        tables.is_date_shard as `stats__date_shard_max__include`,

        '# Rows' as `stats__num_rows__label`,
        table_stats.row_count as `stats__num_rows__value`,
        'Approximate count of rows in this table' as `stats__num_rows__description`,
        tables.is_table as `stats__num_rows__include`,

        'Approximate Size' as `stats__num_bytes__label`,
        table_stats.size_bytes as `stats__num_bytes__value`,
        'Approximate size of table as reported by BigQuery' as `stats__num_bytes__description`,
        tables.is_table as `stats__num_bytes__include`,

        'Partitioned By' as `stats__partitioning_type__label`,
        column_stats.partition_column as `stats__partitioning_type__value`,
        'The partitioning column for this table' as `stats__partitioning_type__description`,
        column_stats.is_partitioned as `stats__partitioning_type__include`,

        'Clustered By' as `stats__clustering_fields__label`,
        column_stats.clustering_columns as `stats__clustering_fields__value`,
        'The clustering columns for this table' as `stats__clustering_fields__description`,
        column_stats.is_clustered as `stats__clustering_fields__include`

    from tables
    join table_stats
        on table_stats.table_catalog = tables.table_catalog
        and table_stats.table_schema = tables.table_schema
        and table_stats.table_name = tables.table_name
    left join column_stats
        on column_stats.table_catalog = tables.table_catalog
        and column_stats.table_schema = tables.table_schema
        and column_stats.shard_name = table_stats.latest_shard_name
    left join columns
        on columns.table_catalog = tables.table_catalog
        and columns.table_schema = tables.table_schema
        and columns.shard_name = table_stats.latest_shard_name
--- dbt sends this (33)
/* {"app": "dbt", "dbt_version": "1.12.6", "profile_name": "jaffle", "target_name": "bq", "connection_name": "jaffle-proj.information_schema"} */

    with
                table_shards_stage as (
    select
        tables.project_id as table_catalog,
        tables.dataset_id as table_schema,
        coalesce(REGEXP_EXTRACT(tables.table_id, '^(.+)[0-9]{8}$'), tables.table_id) as table_name,
        tables.table_id as shard_name,
        REGEXP_EXTRACT(tables.table_id, '^.+([0-9]{8})$') as shard_index,
        REGEXP_CONTAINS(tables.table_id, '^.+[0-9]{8}$') and tables.type = 1 as is_date_shard,
        case
            when materialized_views.table_name is not null then 'materialized view'
            when tables.type = 1 then 'table'
            when tables.type = 2 then 'view'
            else 'external'
        end as table_type,
        tables.type = 1 as is_table,
        JSON_VALUE(table_description.option_value) as table_comment,
        tables.size_bytes,
        tables.row_count
    from `jaffle-proj`.`analytics_marts`.__TABLES__ tables
    left join `jaffle-proj`.`analytics_marts`.INFORMATION_SCHEMA.MATERIALIZED_VIEWS materialized_views
        on materialized_views.table_catalog = tables.project_id
        and materialized_views.table_schema = tables.dataset_id
        and materialized_views.table_name = tables.table_id
    left join `jaffle-proj`.`analytics_marts`.INFORMATION_SCHEMA.TABLE_OPTIONS table_description
        on table_description.table_catalog = tables.project_id
        and table_description.table_schema = tables.dataset_id
        and table_description.table_name = tables.table_id
        and table_description.option_name = 'description'
),
                table_shards as (
                    select * from table_shards_stage
                    where ((
                                upper(table_schema) = upper('analytics_marts')
                            and upper(table_name) = upper('orders_inc')
                            ) or (
                                upper(table_schema) = upper('analytics_marts')
                            and upper(table_name) = upper('customers')
                            ) or (
                                upper(table_schema) = upper('analytics_marts')
                            and upper(table_name) = upper('orders_merge')
                            ))
                ),
                tables as (
    select distinct
        table_catalog,
        table_schema,
        table_name,
        is_date_shard,
        table_type,
        is_table,
        table_comment
    from table_shards
),
                table_stats as (
    select
        table_catalog,
        table_schema,
        table_name,
        max(shard_name) as latest_shard_name,
        min(shard_index) as shard_min,
        max(shard_index) as shard_max,
        count(shard_index) as shard_count,
        sum(size_bytes) as size_bytes,
        sum(row_count) as row_count
    from table_shards
    group by 1, 2, 3
),

                columns as (
    select
        columns.table_catalog,
        columns.table_schema,
        columns.table_name as shard_name,
        coalesce(paths.field_path, '<unknown>') as column_name,
        -- invent a row number to account for nested fields
        -- BQ does not treat these nested properties as independent fields
        row_number() over (
            partition by
                columns.table_catalog,
                columns.table_schema,
                columns.table_name
            order by
                columns.ordinal_position,
                paths.field_path
        ) as column_index,
        coalesce(paths.data_type, '<unknown>') as column_type,
        paths.description as column_comment,
        case when columns.is_partitioning_column = 'YES' then 1 else 0 end as is_partitioning_column,
        case when columns.is_partitioning_column = 'YES' then paths.field_path end as partition_column,
        case when columns.clustering_ordinal_position is not null then 1 else 0 end as is_clustering_column,
        case when columns.clustering_ordinal_position is not null then paths.field_path end as cluster_column,
        columns.clustering_ordinal_position
    from `jaffle-proj`.`analytics_marts`.INFORMATION_SCHEMA.COLUMNS columns
    join `jaffle-proj`.`analytics_marts`.INFORMATION_SCHEMA.COLUMN_FIELD_PATHS paths
        on paths.table_catalog = columns.table_catalog
        and paths.table_schema = columns.table_schema
        and paths.table_name = columns.table_name
        and paths.column_name = columns.column_name
    where columns.ordinal_position is not null
),
                column_stats as (
    select
        table_catalog,
        table_schema,
        shard_name,
        max(is_partitioning_column) = 1 as is_partitioned,
        max(partition_column) as partition_column,
        max(is_clustering_column) = 1 as is_clustered,
        array_to_string(
            array_agg(
                cluster_column ignore nulls
                order by clustering_ordinal_position
            ), ', '
        ) as clustering_columns
    from columns
    group by 1, 2, 3
)

            
    select
        tables.table_catalog as table_database,
        tables.table_schema,
        case
            when tables.is_date_shard then concat(tables.table_name, '*')
            else tables.table_name
        end as table_name,
        tables.table_type,
        tables.table_comment,
        -- coalesce column metadata fields to ensure they are non-null for catalog generation
        -- external table columns are not present in COLUMN_FIELD_PATHS
        coalesce(columns.column_name, '<unknown>') as column_name,
        coalesce(columns.column_index, 1) as column_index,
        coalesce(columns.column_type, '<unknown>') as column_type,
        coalesce(columns.column_comment, '') as column_comment,

        'Shard count' as `stats__date_shards__label`,
        table_stats.shard_count as `stats__date_shards__value`,
        'The number of date shards in this table' as `stats__date_shards__description`,
        tables.is_date_shard as `stats__date_shards__include`,

        'Shard (min)' as `stats__date_shard_min__label`,
        table_stats.shard_min as `stats__date_shard_min__value`,
        'The first date shard in this table' as `stats__date_shard_min__description`,
        tables.is_date_shard as `stats__date_shard_min__include`,

        'Shard (max)' as `stats__date_shard_max__label`,
        table_stats.shard_max as `stats__date_shard_max__value`,
        'The last date shard in this table' as `stats__date_shard_max__description`,
        tables.is_date_shard as `stats__date_shard_max__include`,

        '# Rows' as `stats__num_rows__label`,
        table_stats.row_count as `stats__num_rows__value`,
        'Approximate count of rows in this table' as `stats__num_rows__description`,
        tables.is_table as `stats__num_rows__include`,

        'Approximate Size' as `stats__num_bytes__label`,
        table_stats.size_bytes as `stats__num_bytes__value`,
        'Approximate size of table as reported by BigQuery' as `stats__num_bytes__description`,
        tables.is_table as `stats__num_bytes__include`,

        'Partitioned By' as `stats__partitioning_type__label`,
        column_stats.partition_column as `stats__partitioning_type__value`,
        'The partitioning column for this table' as `stats__partitioning_type__description`,
        column_stats.is_partitioned as `stats__partitioning_type__include`,

        'Clustered By' as `stats__clustering_fields__label`,
        column_stats.clustering_columns as `stats__clustering_fields__value`,
        'The clustering columns for this table' as `stats__clustering_fields__description`,
        column_stats.is_clustered as `stats__clustering_fields__include`

    from tables
    join table_stats
        on table_stats.table_catalog = tables.table_catalog
        and table_stats.table_schema = tables.table_schema
        and table_stats.table_name = tables.table_name
    left join column_stats
        on column_stats.table_catalog = tables.table_catalog
        and column_stats.table_schema = tables.table_schema
        and column_stats.shard_name = table_stats.latest_shard_name
    left join columns
        on columns.table_catalog = tables.table_catalog
        and columns.table_schema = tables.table_schema
        and columns.shard_name = table_stats.latest_shard_name
--- dbt sends this (34)
/* {"app": "dbt", "dbt_version": "1.12.6", "profile_name": "jaffle", "target_name": "bq", "connection_name": "jaffle-proj.information_schema"} */

    with
                table_shards_stage as (
    select
        tables.project_id as table_catalog,
        tables.dataset_id as table_schema,
        coalesce(REGEXP_EXTRACT(tables.table_id, '^(.+)[0-9]{8}$'), tables.table_id) as table_name,
        tables.table_id as shard_name,
        REGEXP_EXTRACT(tables.table_id, '^.+([0-9]{8})$') as shard_index,
        REGEXP_CONTAINS(tables.table_id, '^.+[0-9]{8}$') and tables.type = 1 as is_date_shard,
        case
            when materialized_views.table_name is not null then 'materialized view'
            when tables.type = 1 then 'table'
            when tables.type = 2 then 'view'
            else 'external'
        end as table_type,
        tables.type = 1 as is_table,
        JSON_VALUE(table_description.option_value) as table_comment,
        tables.size_bytes,
        tables.row_count
    from `jaffle-proj`.`analytics`.__TABLES__ tables
    left join `jaffle-proj`.`analytics`.INFORMATION_SCHEMA.MATERIALIZED_VIEWS materialized_views
        on materialized_views.table_catalog = tables.project_id
        and materialized_views.table_schema = tables.dataset_id
        and materialized_views.table_name = tables.table_id
    left join `jaffle-proj`.`analytics`.INFORMATION_SCHEMA.TABLE_OPTIONS table_description
        on table_description.table_catalog = tables.project_id
        and table_description.table_schema = tables.dataset_id
        and table_description.table_name = tables.table_id
        and table_description.option_name = 'description'
),
                table_shards as (
                    select * from table_shards_stage
                    where ((
                                upper(table_schema) = upper('analytics')
                            and upper(table_name) = upper('stg_customers')
                            ) or (
                                upper(table_schema) = upper('analytics')
                            and upper(table_name) = upper('stg_orders')
                            ) or (
                                upper(table_schema) = upper('analytics')
                            and upper(table_name) = upper('raw_orders')
                            ) or (
                                upper(table_schema) = upper('analytics')
                            and upper(table_name) = upper('raw_customers')
                            ))
                ),
                tables as (
    select distinct
        table_catalog,
        table_schema,
        table_name,
        is_date_shard,
        table_type,
        is_table,
        table_comment
    from table_shards
),
                table_stats as (
    select
        table_catalog,
        table_schema,
        table_name,
        max(shard_name) as latest_shard_name,
        min(shard_index) as shard_min,
        max(shard_index) as shard_max,
        count(shard_index) as shard_count,
        sum(size_bytes) as size_bytes,
        sum(row_count) as row_count
    from table_shards
    group by 1, 2, 3
),

                columns as (
    select
        columns.table_catalog,
        columns.table_schema,
        columns.table_name as shard_name,
        coalesce(paths.field_path, '<unknown>') as column_name,
        -- invent a row number to account for nested fields
        -- BQ does not treat these nested properties as independent fields
        row_number() over (
            partition by
                columns.table_catalog,
                columns.table_schema,
                columns.table_name
            order by
                columns.ordinal_position,
                paths.field_path
        ) as column_index,
        coalesce(paths.data_type, '<unknown>') as column_type,
        paths.description as column_comment,
        case when columns.is_partitioning_column = 'YES' then 1 else 0 end as is_partitioning_column,
        case when columns.is_partitioning_column = 'YES' then paths.field_path end as partition_column,
        case when columns.clustering_ordinal_position is not null then 1 else 0 end as is_clustering_column,
        case when columns.clustering_ordinal_position is not null then paths.field_path end as cluster_column,
        columns.clustering_ordinal_position
    from `jaffle-proj`.`analytics`.INFORMATION_SCHEMA.COLUMNS columns
    join `jaffle-proj`.`analytics`.INFORMATION_SCHEMA.COLUMN_FIELD_PATHS paths
        on paths.table_catalog = columns.table_catalog
        and paths.table_schema = columns.table_schema
        and paths.table_name = columns.table_name
        and paths.column_name = columns.column_name
    where columns.ordinal_position is not null
),
                column_stats as (
    select
        table_catalog,
        table_schema,
        shard_name,
        max(is_partitioning_column) = 1 as is_partitioned,
        max(partition_column) as partition_column,
        max(is_clustering_column) = 1 as is_clustered,
        array_to_string(
            array_agg(
                cluster_column ignore nulls
                order by clustering_ordinal_position
            ), ', '
        ) as clustering_columns
    from columns
    group by 1, 2, 3
)

            
    select
        tables.table_catalog as table_database,
        tables.table_schema,
        case
            when tables.is_date_shard then concat(tables.table_name, '*')
            else tables.table_name
        end as table_name,
        tables.table_type,
        tables.table_comment,
        -- coalesce column metadata fields to ensure they are non-null for catalog generation
        -- external table columns are not present in COLUMN_FIELD_PATHS
        coalesce(columns.column_name, '<unknown>') as column_name,
        coalesce(columns.column_index, 1) as column_index,
        coalesce(columns.column_type, '<unknown>') as column_type,
        coalesce(columns.column_comment, '') as column_comment,

        'Shard count' as `stats__date_shards__label`,
        table_stats.shard_count as `stats__date_shards__value`,
        'The number of date shards in this table' as `stats__date_shards__description`,
        tables.is_date_shard as `stats__date_shards__include`,

        'Shard (min)' as `stats__date_shard_min__label`,
        table_stats.shard_min as `stats__date_shard_min__value`,
        'The first date shard in this table' as `stats__date_shard_min__description`,
        tables.is_date_shard as `stats__date_shard_min__include`,

        'Shard (max)' as `stats__date_shard_max__label`,
        table_stats.shard_max as `stats__date_shard_max__value`,
        'The last date shard in this table' as `stats__date_shard_max__description`,
        tables.is_date_shard as `stats__date_shard_max__include`,

        '# Rows' as `stats__num_rows__label`,
        table_stats.row_count as `stats__num_rows__value`,
        'Approximate count of rows in this table' as `stats__num_rows__description`,
        tables.is_table as `stats__num_rows__include`,

        'Approximate Size' as `stats__num_bytes__label`,
        table_stats.size_bytes as `stats__num_bytes__value`,
        'Approximate size of table as reported by BigQuery' as `stats__num_bytes__description`,
        tables.is_table as `stats__num_bytes__include`,

        'Partitioned By' as `stats__partitioning_type__label`,
        column_stats.partition_column as `stats__partitioning_type__value`,
        'The partitioning column for this table' as `stats__partitioning_type__description`,
        column_stats.is_partitioned as `stats__partitioning_type__include`,

        'Clustered By' as `stats__clustering_fields__label`,
        column_stats.clustering_columns as `stats__clustering_fields__value`,
        'The clustering columns for this table' as `stats__clustering_fields__description`,
        column_stats.is_clustered as `stats__clustering_fields__include`

    from tables
    join table_stats
        on table_stats.table_catalog = tables.table_catalog
        and table_stats.table_schema = tables.table_schema
        and table_stats.table_name = tables.table_name
    left join column_stats
        on column_stats.table_catalog = tables.table_catalog
        and column_stats.table_schema = tables.table_schema
        and column_stats.shard_name = table_stats.latest_shard_name
    left join columns
        on columns.table_catalog = tables.table_catalog
        and columns.table_schema = tables.table_schema
        and columns.shard_name = table_stats.latest_shard_name
--- dbt sends this (35)
/* {"app": "dbt", "dbt_version": "1.12.6", "profile_name": "jaffle", "target_name": "bq", "connection_name": "jaffle-proj.information_schema"} */

    with
                table_shards_stage as (
    select
        tables.project_id as table_catalog,
        tables.dataset_id as table_schema,
        coalesce(REGEXP_EXTRACT(tables.table_id, '^(.+)[0-9]{8}$'), tables.table_id) as table_name,
        tables.table_id as shard_name,
        REGEXP_EXTRACT(tables.table_id, '^.+([0-9]{8})$') as shard_index,
        REGEXP_CONTAINS(tables.table_id, '^.+[0-9]{8}$') and tables.type = 1 as is_date_shard,
        case
            when materialized_views.table_name is not null then 'materialized view'
            when tables.type = 1 then 'table'
            when tables.type = 2 then 'view'
            else 'external'
        end as table_type,
        tables.type = 1 as is_table,
        JSON_VALUE(table_description.option_value) as table_comment,
        tables.size_bytes,
        tables.row_count
    from `jaffle-proj`.`analytics_dbt_test__audit`.__TABLES__ tables
    left join `jaffle-proj`.`analytics_dbt_test__audit`.INFORMATION_SCHEMA.MATERIALIZED_VIEWS materialized_views
        on materialized_views.table_catalog = tables.project_id
        and materialized_views.table_schema = tables.dataset_id
        and materialized_views.table_name = tables.table_id
    left join `jaffle-proj`.`analytics_dbt_test__audit`.INFORMATION_SCHEMA.TABLE_OPTIONS table_description
        on table_description.table_catalog = tables.project_id
        and table_description.table_schema = tables.dataset_id
        and table_description.table_name = tables.table_id
        and table_description.option_name = 'description'
),
                table_shards as (
                    select * from table_shards_stage
                    where ((
                                upper(table_schema) = upper('analytics_dbt_test__audit')
                            and upper(table_name) = upper('orders_positive')
                            ))
                ),
                tables as (
    select distinct
        table_catalog,
        table_schema,
        table_name,
        is_date_shard,
        table_type,
        is_table,
        table_comment
    from table_shards
),
                table_stats as (
    select
        table_catalog,
        table_schema,
        table_name,
        max(shard_name) as latest_shard_name,
        min(shard_index) as shard_min,
        max(shard_index) as shard_max,
        count(shard_index) as shard_count,
        sum(size_bytes) as size_bytes,
        sum(row_count) as row_count
    from table_shards
    group by 1, 2, 3
),

                columns as (
    select
        columns.table_catalog,
        columns.table_schema,
        columns.table_name as shard_name,
        coalesce(paths.field_path, '<unknown>') as column_name,
        -- invent a row number to account for nested fields
        -- BQ does not treat these nested properties as independent fields
        row_number() over (
            partition by
                columns.table_catalog,
                columns.table_schema,
                columns.table_name
            order by
                columns.ordinal_position,
                paths.field_path
        ) as column_index,
        coalesce(paths.data_type, '<unknown>') as column_type,
        paths.description as column_comment,
        case when columns.is_partitioning_column = 'YES' then 1 else 0 end as is_partitioning_column,
        case when columns.is_partitioning_column = 'YES' then paths.field_path end as partition_column,
        case when columns.clustering_ordinal_position is not null then 1 else 0 end as is_clustering_column,
        case when columns.clustering_ordinal_position is not null then paths.field_path end as cluster_column,
        columns.clustering_ordinal_position
    from `jaffle-proj`.`analytics_dbt_test__audit`.INFORMATION_SCHEMA.COLUMNS columns
    join `jaffle-proj`.`analytics_dbt_test__audit`.INFORMATION_SCHEMA.COLUMN_FIELD_PATHS paths
        on paths.table_catalog = columns.table_catalog
        and paths.table_schema = columns.table_schema
        and paths.table_name = columns.table_name
        and paths.column_name = columns.column_name
    where columns.ordinal_position is not null
),
                column_stats as (
    select
        table_catalog,
        table_schema,
        shard_name,
        max(is_partitioning_column) = 1 as is_partitioned,
        max(partition_column) as partition_column,
        max(is_clustering_column) = 1 as is_clustered,
        array_to_string(
            array_agg(
                cluster_column ignore nulls
                order by clustering_ordinal_position
            ), ', '
        ) as clustering_columns
    from columns
    group by 1, 2, 3
)

            
    select
        tables.table_catalog as table_database,
        tables.table_schema,
        case
            when tables.is_date_shard then concat(tables.table_name, '*')
            else tables.table_name
        end as table_name,
        tables.table_type,
        tables.table_comment,
        -- coalesce column metadata fields to ensure they are non-null for catalog generation
        -- external table columns are not present in COLUMN_FIELD_PATHS
        coalesce(columns.column_name, '<unknown>') as column_name,
        coalesce(columns.column_index, 1) as column_index,
        coalesce(columns.column_type, '<unknown>') as column_type,
        coalesce(columns.column_comment, '') as column_comment,

        'Shard count' as `stats__date_shards__label`,
        table_stats.shard_count as `stats__date_shards__value`,
        'The number of date shards in this table' as `stats__date_shards__description`,
        tables.is_date_shard as `stats__date_shards__include`,

        'Shard (min)' as `stats__date_shard_min__label`,
        table_stats.shard_min as `stats__date_shard_min__value`,
        'The first date shard in this table' as `stats__date_shard_min__description`,
        tables.is_date_shard as `stats__date_shard_min__include`,

        'Shard (max)' as `stats__date_shard_max__label`,
        table_stats.shard_max as `stats__date_shard_max__value`,
        'The last date shard in this table' as `stats__date_shard_max__description`,
        tables.is_date_shard as `stats__date_shard_max__include`,

        '# Rows' as `stats__num_rows__label`,
        table_stats.row_count as `stats__num_rows__value`,
        'Approximate count of rows in this table' as `stats__num_rows__description`,
        tables.is_table as `stats__num_rows__include`,

        'Approximate Size' as `stats__num_bytes__label`,
        table_stats.size_bytes as `stats__num_bytes__value`,
        'Approximate size of table as reported by BigQuery' as `stats__num_bytes__description`,
        tables.is_table as `stats__num_bytes__include`,

        'Partitioned By' as `stats__partitioning_type__label`,
        column_stats.partition_column as `stats__partitioning_type__value`,
        'The partitioning column for this table' as `stats__partitioning_type__description`,
        column_stats.is_partitioned as `stats__partitioning_type__include`,

        'Clustered By' as `stats__clustering_fields__label`,
        column_stats.clustering_columns as `stats__clustering_fields__value`,
        'The clustering columns for this table' as `stats__clustering_fields__description`,
        column_stats.is_clustered as `stats__clustering_fields__include`

    from tables
    join table_stats
        on table_stats.table_catalog = tables.table_catalog
        and table_stats.table_schema = tables.table_schema
        and table_stats.table_name = tables.table_name
    left join column_stats
        on column_stats.table_catalog = tables.table_catalog
        and column_stats.table_schema = tables.table_schema
        and column_stats.shard_name = table_stats.latest_shard_name
    left join columns
        on columns.table_catalog = tables.table_catalog
        and columns.table_schema = tables.table_schema
        and columns.shard_name = table_stats.latest_shard_name
