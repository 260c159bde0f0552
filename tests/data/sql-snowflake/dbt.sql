--- dbt sends this (1)
comment on table JAFFLE.ANALYTICS_marts.customers IS $$customers; with 'quotes' and "double"$$
/* {"app": "dbt", "dbt_version": "1.12.6", "profile_name": "jaffle", "target_name": "sf", "node_id": "model.jaffle.customers"} */;
--- dbt sends this (2)
select 'on-run-end hook'
/* {"app": "dbt", "dbt_version": "1.12.6", "profile_name": "jaffle", "target_name": "sf", "connection_name": "master"} */
--- dbt sends this (3)
show terse schemas in database JAFFLE
    limit 10000
/* {"app": "dbt", "dbt_version": "1.12.6", "profile_name": "jaffle", "target_name": "sf", "connection_name": "list_JAFFLE"} */
--- dbt sends this (4)
create schema if not exists JAFFLE.ANALYTICS_dbt_test__audit
/* {"app": "dbt", "dbt_version": "1.12.6", "profile_name": "jaffle", "target_name": "sf", "connection_name": "create_JAFFLE_ANALYTICS_dbt_test__audit"} */
--- dbt sends this (5)
create schema if not exists JAFFLE.ANALYTICS_snapshots
/* {"app": "dbt", "dbt_version": "1.12.6", "profile_name": "jaffle", "target_name": "sf", "connection_name": "create_JAFFLE_ANALYTICS_snapshots"} */
--- dbt sends this (6)
create schema if not exists JAFFLE.ANALYTICS_marts
/* {"app": "dbt", "dbt_version": "1.12.6", "profile_name": "jaffle", "target_name": "sf", "connection_name": "create_JAFFLE_ANALYTICS_marts"} */
--- dbt sends this (7)
show objects in JAFFLE.ANALYTICS_marts
    limit 10000
    

/* {"app": "dbt", "dbt_version": "1.12.6", "profile_name": "jaffle", "target_name": "sf", "connection_name": "list_JAFFLE_ANALYTICS_marts"} */;
--- dbt sends this (8)
show objects in JAFFLE.ANALYTICS
    limit 10000
    

/* {"app": "dbt", "dbt_version": "1.12.6", "profile_name": "jaffle", "target_name": "sf", "connection_name": "list_JAFFLE_ANALYTICS"} */;
--- dbt sends this (9)
show objects in JAFFLE.ANALYTICS_snapshots
    limit 10000
    

/* {"app": "dbt", "dbt_version": "1.12.6", "profile_name": "jaffle", "target_name": "sf", "connection_name": "list_JAFFLE_ANALYTICS_snapshots"} */;
--- dbt sends this (10)
show objects in JAFFLE.ANALYTICS_dbt_test__audit
    limit 10000
    

/* {"app": "dbt", "dbt_version": "1.12.6", "profile_name": "jaffle", "target_name": "sf", "connection_name": "list_JAFFLE_ANALYTICS_dbt_test__audit"} */;
--- dbt sends this (11)
show user functions in JAFFLE.ANALYTICS_dbt_test__audit
/* {"app": "dbt", "dbt_version": "1.12.6", "profile_name": "jaffle", "target_name": "sf", "connection_name": "list_JAFFLE_ANALYTICS_dbt_test__audit"} */
--- dbt sends this (12)
show user functions in JAFFLE.ANALYTICS_marts
/* {"app": "dbt", "dbt_version": "1.12.6", "profile_name": "jaffle", "target_name": "sf", "connection_name": "list_JAFFLE_ANALYTICS_marts"} */
--- dbt sends this (13)
show user functions in JAFFLE.ANALYTICS
/* {"app": "dbt", "dbt_version": "1.12.6", "profile_name": "jaffle", "target_name": "sf", "connection_name": "list_JAFFLE_ANALYTICS"} */
--- dbt sends this (14)
show user functions in JAFFLE.ANALYTICS_snapshots
/* {"app": "dbt", "dbt_version": "1.12.6", "profile_name": "jaffle", "target_name": "sf", "connection_name": "list_JAFFLE_ANALYTICS_snapshots"} */
--- dbt sends this (15)
select 'on-run-start hook'
/* {"app": "dbt", "dbt_version": "1.12.6", "profile_name": "jaffle", "target_name": "sf", "connection_name": "master"} */
--- dbt sends this (16)
create transient table JAFFLE.ANALYTICS.raw_orders (id integer,user_id integer,order_date date,status text)
/* {"app": "dbt", "dbt_version": "1.12.6", "profile_name": "jaffle", "target_name": "sf", "node_id": "seed.jaffle.raw_orders"} */
--- dbt sends this (17)
create transient table JAFFLE.ANALYTICS.raw_customers (id integer,first_name text,last_name text)
/* {"app": "dbt", "dbt_version": "1.12.6", "profile_name": "jaffle", "target_name": "sf", "node_id": "seed.jaffle.raw_customers"} */
--- dbt sends this (18)
BEGIN
/* {"app": "dbt", "dbt_version": "1.12.6", "profile_name": "jaffle", "target_name": "sf", "node_id": "seed.jaffle.raw_customers"} */
--- dbt sends this (19)
BEGIN
/* {"app": "dbt", "dbt_version": "1.12.6", "profile_name": "jaffle", "target_name": "sf", "node_id": "seed.jaffle.raw_orders"} */
--- dbt sends this (20)
select
      count(*) as failures,
      count(*) != 0 as should_warn,
      count(*) != 0 as should_error
    from (
      
    
  
    
    



select id
from JAFFLE.analytics.raw_customers
where id is null



  
  
      
    ) dbt_internal_test
/* {"app": "dbt", "dbt_version": "1.12.6", "profile_name": "jaffle", "target_name": "sf", "node_id": "test.jaffle.source_not_null_src_raw_customers_id.8743dd8b75"} */
--- dbt sends this (21)
insert overwrite into JAFFLE.ANALYTICS.raw_customers (id, first_name, last_name) values
            ('1','Michael','P.'),('2','Shawn','M.'),('3','Kathleen','P.')
/* {"app": "dbt", "dbt_version": "1.12.6", "profile_name": "jaffle", "target_name": "sf", "node_id": "seed.jaffle.raw_customers"} */
--- dbt sends this (22)
select * from (
        
    

    select *,
        md5(coalesce(cast(id as varchar ), '')
         || '|' || coalesce(cast(to_timestamp_ntz(convert_timezone('UTC', current_timestamp())) as varchar ), '')
        ) as dbt_scd_id,
        to_timestamp_ntz(convert_timezone('UTC', current_timestamp())) as dbt_updated_at,
        to_timestamp_ntz(convert_timezone('UTC', current_timestamp())) as dbt_valid_from,
        
  
  coalesce(nullif(to_timestamp_ntz(convert_timezone('UTC', current_timestamp())), to_timestamp_ntz(convert_timezone('UTC', current_timestamp()))), null)
  as dbt_valid_to
from (
        select * from JAFFLE.analytics.raw_orders
    ) sbq



    ) as __dbt_sbq
    where false
    limit 0
/* {"app": "dbt", "dbt_version": "1.12.6", "profile_name": "jaffle", "target_name": "sf", "node_id": "snapshot.jaffle.orders_snap"} */
/* {"app": "dbt", "dbt_version": "1.12.6", "profile_name": "jaffle", "target_name": "sf", "node_id": "snapshot.jaffle.orders_snap"} */
--- dbt sends this (23)
insert overwrite into JAFFLE.ANALYTICS.raw_orders (id, user_id, order_date, status) values
            ('1','1','2018-01-01','returned'),('2','3','2018-01-02','completed'),('3','2','2018-01-04','completed')
/* {"app": "dbt", "dbt_version": "1.12.6", "profile_name": "jaffle", "target_name": "sf", "node_id": "seed.jaffle.raw_orders"} */
--- dbt sends this (24)
COMMIT
/* {"app": "dbt", "dbt_version": "1.12.6", "profile_name": "jaffle", "target_name": "sf", "node_id": "seed.jaffle.raw_customers"} */
--- dbt sends this (25)
COMMIT
/* {"app": "dbt", "dbt_version": "1.12.6", "profile_name": "jaffle", "target_name": "sf", "node_id": "seed.jaffle.raw_orders"} */
--- dbt sends this (26)
select * from (
        select to_timestamp_ntz(convert_timezone('UTC', current_timestamp())) as dbt_snapshot_time
    ) as __dbt_sbq
    where false
    limit 0
/* {"app": "dbt", "dbt_version": "1.12.6", "profile_name": "jaffle", "target_name": "sf", "node_id": "snapshot.jaffle.orders_snap"} */
/* {"app": "dbt", "dbt_version": "1.12.6", "profile_name": "jaffle", "target_name": "sf", "node_id": "snapshot.jaffle.orders_snap"} */
--- dbt sends this (27)
create or replace transient table JAFFLE.ANALYTICS_snapshots.orders_snap
    
    
    
    
    

    as (
    

    select *,
        md5(coalesce(cast(id as varchar ), '')
         || '|' || coalesce(cast(to_timestamp_ntz(convert_timezone('UTC', current_timestamp())) as varchar ), '')
        ) as dbt_scd_id,
        to_timestamp_ntz(convert_timezone('UTC', current_timestamp())) as dbt_updated_at,
        to_timestamp_ntz(convert_timezone('UTC', current_timestamp())) as dbt_valid_from,
        
  
  coalesce(nullif(to_timestamp_ntz(convert_timezone('UTC', current_timestamp())), to_timestamp_ntz(convert_timezone('UTC', current_timestamp()))), null)
  as dbt_valid_to
from (
        select * from JAFFLE.analytics.raw_orders
    ) sbq



    )

/* {"app": "dbt", "dbt_version": "1.12.6", "profile_name": "jaffle", "target_name": "sf", "node_id": "snapshot.jaffle.orders_snap"} */;
--- dbt sends this (28)
select * from (
        select id as customer_id, first_name, last_name from JAFFLE.ANALYTICS.raw_customers
    ) as __dbt_sbq
    where false
    limit 0
/* {"app": "dbt", "dbt_version": "1.12.6", "profile_name": "jaffle", "target_name": "sf", "node_id": "model.jaffle.stg_customers"} */
--- dbt sends this (29)
select * from (
        select id as order_id, user_id as customer_id, order_date, status from JAFFLE.ANALYTICS.raw_orders
    ) as __dbt_sbq
    where false
    limit 0
/* {"app": "dbt", "dbt_version": "1.12.6", "profile_name": "jaffle", "target_name": "sf", "node_id": "model.jaffle.stg_orders"} */
--- dbt sends this (30)
create or replace   view JAFFLE.ANALYTICS.stg_customers
  
    
    
(
  
    "CUSTOMER_ID" COMMENT $$$$, 
  
    "FIRST_NAME" COMMENT $$$$, 
  
    "LAST_NAME" COMMENT $$$$
  
)

  
  
  
  as (
    select id as customer_id, first_name, last_name from JAFFLE.ANALYTICS.raw_customers
  )
/* {"app": "dbt", "dbt_version": "1.12.6", "profile_name": "jaffle", "target_name": "sf", "node_id": "model.jaffle.stg_customers"} */;
--- dbt sends this (31)
create or replace   view JAFFLE.ANALYTICS.stg_orders
  
    
    
(
  
    "ORDER_ID" COMMENT $$$$, 
  
    "CUSTOMER_ID" COMMENT $$$$, 
  
    "ORDER_DATE" COMMENT $$$$, 
  
    "STATUS" COMMENT $$$$
  
)

  
  
  
  as (
    select id as order_id, user_id as customer_id, order_date, status from JAFFLE.ANALYTICS.raw_orders
  )
/* {"app": "dbt", "dbt_version": "1.12.6", "profile_name": "jaffle", "target_name": "sf", "node_id": "model.jaffle.stg_orders"} */;
--- dbt sends this (32)
select
      count(*) as failures,
      count(*) != 0 as should_warn,
      count(*) != 0 as should_error
    from (
      
    
  
    
    

with all_values as (

    select
        status as value_field,
        count(*) as n_records

    from JAFFLE.ANALYTICS.stg_orders
    group by status

)

select *
from all_values
where value_field not in (
    'returned','completed'
)



  
  
      
    ) dbt_internal_test
/* {"app": "dbt", "dbt_version": "1.12.6", "profile_name": "jaffle", "target_name": "sf", "node_id": "test.jaffle.accepted_values_stg_orders_status__returned__completed.cb63ef9e78"} */
--- dbt sends this (33)
select
      count(*) as failures,
      count(*) != 0 as should_warn,
      count(*) != 0 as should_error
    from (
      
    
  
    
    

with child as (
    select customer_id as from_field
    from JAFFLE.ANALYTICS.stg_orders
    where customer_id is not null
),

parent as (
    select customer_id as to_field
    from JAFFLE.ANALYTICS.stg_customers
)

select
    from_field

from child
left join parent
    on child.from_field = parent.to_field

where parent.to_field is null



  
  
      
    ) dbt_internal_test
/* {"app": "dbt", "dbt_version": "1.12.6", "profile_name": "jaffle", "target_name": "sf", "node_id": "test.jaffle.relationships_stg_orders_customer_id__customer_id__ref_stg_customers_.430bf21500"} */
--- dbt sends this (34)
create or replace transient table JAFFLE.ANALYTICS_marts.customers
    
    
    
    
    

    as (
select c.customer_id, c.first_name, count(o.order_id) as n_orders
from JAFFLE.ANALYTICS.stg_customers c left join JAFFLE.ANALYTICS.stg_orders o using (customer_id)
group by 1,2
    )

/* {"app": "dbt", "dbt_version": "1.12.6", "profile_name": "jaffle", "target_name": "sf", "node_id": "model.jaffle.customers"} */;
--- dbt sends this (35)
create or replace transient table JAFFLE.ANALYTICS_marts.orders_merge
    
    
    
    
    

    as (
select * from JAFFLE.ANALYTICS.stg_orders
    )

/* {"app": "dbt", "dbt_version": "1.12.6", "profile_name": "jaffle", "target_name": "sf", "node_id": "model.jaffle.orders_merge"} */;
--- dbt sends this (36)
create or replace transient table JAFFLE.ANALYTICS_marts.orders_inc
    
    
    
    
    

    as (
select * from JAFFLE.ANALYTICS.stg_orders

    )

/* {"app": "dbt", "dbt_version": "1.12.6", "profile_name": "jaffle", "target_name": "sf", "node_id": "model.jaffle.orders_inc"} */;
--- dbt sends this (37)
drop view if exists JAFFLE.ANALYTICS_marts.orders_inc__dbt_tmp cascade
/* {"app": "dbt", "dbt_version": "1.12.6", "profile_name": "jaffle", "target_name": "sf", "node_id": "model.jaffle.orders_inc"} */
--- dbt sends this (38)
drop view if exists JAFFLE.ANALYTICS_marts.orders_merge__dbt_tmp cascade
/* {"app": "dbt", "dbt_version": "1.12.6", "profile_name": "jaffle", "target_name": "sf", "node_id": "model.jaffle.orders_merge"} */
--- dbt sends this (39)
grant select on JAFFLE.ANALYTICS_marts.customers to reporter
/* {"app": "dbt", "dbt_version": "1.12.6", "profile_name": "jaffle", "target_name": "sf", "node_id": "model.jaffle.customers"} */;
--- dbt sends this (40)
comment on table JAFFLE.ANALYTICS_marts.customers IS $$customers table$$
/* {"app": "dbt", "dbt_version": "1.12.6", "profile_name": "jaffle", "target_name": "sf", "node_id": "model.jaffle.customers"} */;
--- dbt sends this (41)
create or replace transient table JAFFLE.ANALYTICS_dbt_test__audit.orders_positive
    
    
    
    
    

    as (
    
  
select * from JAFFLE.ANALYTICS_marts.orders_inc where order_id < 0
  
  
    )

/* {"app": "dbt", "dbt_version": "1.12.6", "profile_name": "jaffle", "target_name": "sf", "node_id": "test.jaffle.orders_positive"} */;
--- dbt sends this (42)
describe table JAFFLE.ANALYTICS_marts.customers
/* {"app": "dbt", "dbt_version": "1.12.6", "profile_name": "jaffle", "target_name": "sf", "node_id": "model.jaffle.customers"} */
--- dbt sends this (43)
select
      count(*) as failures,
      count(*) != 0 as should_warn,
      count(*) != 0 as should_error
    from (
      
        select *
        from JAFFLE.ANALYTICS_dbt_test__audit.orders_positive
    
      
    ) dbt_internal_test
/* {"app": "dbt", "dbt_version": "1.12.6", "profile_name": "jaffle", "target_name": "sf", "node_id": "test.jaffle.orders_positive"} */
--- dbt sends this (44)
alter  table JAFFLE.ANALYTICS_marts.customers alter
    
        "CUSTOMER_ID" COMMENT $$pk$$,
    
        "FIRST_NAME" COMMENT $$$$,
    
        "N_ORDERS" COMMENT $$$$
/* {"app": "dbt", "dbt_version": "1.12.6", "profile_name": "jaffle", "target_name": "sf", "node_id": "model.jaffle.customers"} */;
--- dbt sends this (45)
select * from (
        select status from (
                select * from JAFFLE.analytics.raw_orders
            ) subq
    ) as __dbt_sbq
    where false
    limit 0
/* {"app": "dbt", "dbt_version": "1.12.6", "profile_name": "jaffle", "target_name": "sf", "node_id": "snapshot.jaffle.orders_snap"} */
--- dbt sends this (46)
describe table "JAFFLE"."ANALYTICS_SNAPSHOTS"."ORDERS_SNAP"
/* {"app": "dbt", "dbt_version": "1.12.6", "profile_name": "jaffle", "target_name": "sf", "node_id": "snapshot.jaffle.orders_snap"} */
--- dbt sends this (47)
create or replace temporary table "JAFFLE"."ANALYTICS_SNAPSHOTS"."ORDERS_SNAP__dbt_tmp"
as (
    
    
    with snapshot_query as (

        select * from JAFFLE.analytics.raw_orders

    ),

    snapshotted_data as (

        select *, 
    
        id as dbt_unique_key
    

        from "JAFFLE"."ANALYTICS_SNAPSHOTS"."ORDERS_SNAP"
        where
            
                dbt_valid_to is null
            

    ),

    insertions_source_data as (

        select *, 
    
        id as dbt_unique_key
    
,
            to_timestamp_ntz(convert_timezone('UTC', current_timestamp())) as dbt_updated_at,
            to_timestamp_ntz(convert_timezone('UTC', current_timestamp())) as dbt_valid_from,
            
  
  coalesce(nullif(to_timestamp_ntz(convert_timezone('UTC', current_timestamp())), to_timestamp_ntz(convert_timezone('UTC', current_timestamp()))), null)
  as dbt_valid_to
,
            md5(coalesce(cast(id as varchar ), '')
         || '|' || coalesce(cast(to_timestamp_ntz(convert_timezone('UTC', current_timestamp())) as varchar ), '')
        ) as dbt_scd_id

        from snapshot_query
    ),

    updates_source_data as (

        select *, 
    
        id as dbt_unique_key
    
,
            to_timestamp_ntz(convert_timezone('UTC', current_timestamp())) as dbt_updated_at,
            to_timestamp_ntz(convert_timezone('UTC', current_timestamp())) as dbt_valid_from,
            to_timestamp_ntz(convert_timezone('UTC', current_timestamp())) as dbt_valid_to

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
               (snapshotted_data."STATUS" != source_data."STATUS"
        or
        (
            ((snapshotted_data."STATUS" is null) and not (source_data."STATUS" is null))
            or
            ((not snapshotted_data."STATUS" is null) and (source_data."STATUS" is null))
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
            (snapshotted_data."STATUS" != source_data."STATUS"
        or
        (
            ((snapshotted_data."STATUS" is null) and not (source_data."STATUS" is null))
            or
            ((not snapshotted_data."STATUS" is null) and (source_data."STATUS" is null))
        ))
        )
    )

    select * from insertions
    union all
    select * from updates

    )

/* {"app": "dbt", "dbt_version": "1.12.6", "profile_name": "jaffle", "target_name": "sf", "node_id": "snapshot.jaffle.orders_snap"} */;
--- dbt sends this (48)
describe table "JAFFLE"."ANALYTICS_SNAPSHOTS"."ORDERS_SNAP__dbt_tmp"
/* {"app": "dbt", "dbt_version": "1.12.6", "profile_name": "jaffle", "target_name": "sf", "node_id": "snapshot.jaffle.orders_snap"} */
--- dbt sends this (49)
select * from (
        
select * from JAFFLE.ANALYTICS.stg_orders
    ) as __dbt_sbq
    where false
    limit 0
/* {"app": "dbt", "dbt_version": "1.12.6", "profile_name": "jaffle", "target_name": "sf", "node_id": "model.jaffle.orders_merge"} */
--- dbt sends this (50)
select * from (
        
select * from JAFFLE.ANALYTICS.stg_orders
 where order_date >= (select max(order_date) from JAFFLE.ANALYTICS_marts.orders_inc) 
    ) as __dbt_sbq
    where false
    limit 0
/* {"app": "dbt", "dbt_version": "1.12.6", "profile_name": "jaffle", "target_name": "sf", "node_id": "model.jaffle.orders_inc"} */
--- dbt sends this (51)
create or replace  temporary view JAFFLE.ANALYTICS_marts.orders_merge__dbt_tmp
  
    
    
(
  
    "ORDER_ID" COMMENT $$$$, 
  
    "CUSTOMER_ID" COMMENT $$$$, 
  
    "ORDER_DATE" COMMENT $$$$, 
  
    "STATUS" COMMENT $$$$
  
)

  
  
  
  as (
    
select * from JAFFLE.ANALYTICS.stg_orders
  )
/* {"app": "dbt", "dbt_version": "1.12.6", "profile_name": "jaffle", "target_name": "sf", "node_id": "model.jaffle.orders_merge"} */;
--- dbt sends this (52)
create or replace  temporary view JAFFLE.ANALYTICS_marts.orders_inc__dbt_tmp
  
    
    
(
  
    "ORDER_ID" COMMENT $$$$, 
  
    "CUSTOMER_ID" COMMENT $$$$, 
  
    "ORDER_DATE" COMMENT $$$$, 
  
    "STATUS" COMMENT $$$$
  
)

  
  
  
  as (
    
select * from JAFFLE.ANALYTICS.stg_orders
 where order_date >= (select max(order_date) from JAFFLE.ANALYTICS_marts.orders_inc) 
  )
/* {"app": "dbt", "dbt_version": "1.12.6", "profile_name": "jaffle", "target_name": "sf", "node_id": "model.jaffle.orders_inc"} */;
--- dbt sends this (53)
describe table JAFFLE.ANALYTICS_marts.orders_merge__dbt_tmp
/* {"app": "dbt", "dbt_version": "1.12.6", "profile_name": "jaffle", "target_name": "sf", "node_id": "model.jaffle.orders_merge"} */
--- dbt sends this (54)
describe table JAFFLE.ANALYTICS_marts.orders_inc__dbt_tmp
/* {"app": "dbt", "dbt_version": "1.12.6", "profile_name": "jaffle", "target_name": "sf", "node_id": "model.jaffle.orders_inc"} */
--- dbt sends this (55)
describe table JAFFLE.ANALYTICS_marts.orders_inc
/* {"app": "dbt", "dbt_version": "1.12.6", "profile_name": "jaffle", "target_name": "sf", "node_id": "model.jaffle.orders_inc"} */
--- dbt sends this (56)
describe table JAFFLE.ANALYTICS_marts.orders_merge
/* {"app": "dbt", "dbt_version": "1.12.6", "profile_name": "jaffle", "target_name": "sf", "node_id": "model.jaffle.orders_merge"} */
--- dbt sends this (57)
describe table "JAFFLE"."ANALYTICS_MARTS"."ORDERS_INC"
/* {"app": "dbt", "dbt_version": "1.12.6", "profile_name": "jaffle", "target_name": "sf", "node_id": "model.jaffle.orders_inc"} */
--- dbt sends this (58)
select * from (
        
    
    with snapshot_query as (

        select * from JAFFLE.analytics.raw_orders

    ),

    snapshotted_data as (

        select *, 
    
        id as dbt_unique_key
    

        from "JAFFLE"."ANALYTICS_SNAPSHOTS"."ORDERS_SNAP"
        where
            
                dbt_valid_to is null
            

    ),

    insertions_source_data as (

        select *, 
    
        id as dbt_unique_key
    
,
            to_timestamp_ntz(convert_timezone('UTC', current_timestamp())) as dbt_updated_at,
            to_timestamp_ntz(convert_timezone('UTC', current_timestamp())) as dbt_valid_from,
            
  
  coalesce(nullif(to_timestamp_ntz(convert_timezone('UTC', current_timestamp())), to_timestamp_ntz(convert_timezone('UTC', current_timestamp()))), null)
  as dbt_valid_to
,
            md5(coalesce(cast(id as varchar ), '')
         || '|' || coalesce(cast(to_timestamp_ntz(convert_timezone('UTC', current_timestamp())) as varchar ), '')
        ) as dbt_scd_id

        from snapshot_query
    ),

    updates_source_data as (

        select *, 
    
        id as dbt_unique_key
    
,
            to_timestamp_ntz(convert_timezone('UTC', current_timestamp())) as dbt_updated_at,
            to_timestamp_ntz(convert_timezone('UTC', current_timestamp())) as dbt_valid_from,
            to_timestamp_ntz(convert_timezone('UTC', current_timestamp())) as dbt_valid_to

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
               (snapshotted_data."STATUS" != source_data."STATUS"
        or
        (
            ((snapshotted_data."STATUS" is null) and not (source_data."STATUS" is null))
            or
            ((not snapshotted_data."STATUS" is null) and (source_data."STATUS" is null))
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
            (snapshotted_data."STATUS" != source_data."STATUS"
        or
        (
            ((snapshotted_data."STATUS" is null) and not (source_data."STATUS" is null))
            or
            ((not snapshotted_data."STATUS" is null) and (source_data."STATUS" is null))
        ))
        )
    )

    select * from insertions
    union all
    select * from updates

    ) as __dbt_sbq
    where false
    limit 0
/* {"app": "dbt", "dbt_version": "1.12.6", "profile_name": "jaffle", "target_name": "sf", "node_id": "snapshot.jaffle.orders_snap"} */
/* {"app": "dbt", "dbt_version": "1.12.6", "profile_name": "jaffle", "target_name": "sf", "node_id": "snapshot.jaffle.orders_snap"} */
--- dbt sends this (59)
-- back compat for old kwarg name
  
  begin
/* {"app": "dbt", "dbt_version": "1.12.6", "profile_name": "jaffle", "target_name": "sf", "node_id": "model.jaffle.orders_inc"} */;
--- dbt sends this (60)
describe table "JAFFLE"."ANALYTICS_MARTS"."ORDERS_MERGE"
/* {"app": "dbt", "dbt_version": "1.12.6", "profile_name": "jaffle", "target_name": "sf", "node_id": "model.jaffle.orders_merge"} */
--- dbt sends this (61)
merge into JAFFLE.ANALYTICS_marts.orders_inc as DBT_INTERNAL_DEST
        using JAFFLE.ANALYTICS_marts.orders_inc__dbt_tmp as DBT_INTERNAL_SOURCE
        on ((DBT_INTERNAL_SOURCE.order_id = DBT_INTERNAL_DEST.order_id))

    
    when matched then update set
        "ORDER_ID" = DBT_INTERNAL_SOURCE."ORDER_ID","CUSTOMER_ID" = DBT_INTERNAL_SOURCE."CUSTOMER_ID","ORDER_DATE" = DBT_INTERNAL_SOURCE."ORDER_DATE","STATUS" = DBT_INTERNAL_SOURCE."STATUS"
    

    when not matched then insert
        ("ORDER_ID", "CUSTOMER_ID", "ORDER_DATE", "STATUS")
    values
        ("ORDER_ID", "CUSTOMER_ID", "ORDER_DATE", "STATUS")


/* {"app": "dbt", "dbt_version": "1.12.6", "profile_name": "jaffle", "target_name": "sf", "node_id": "model.jaffle.orders_inc"} */;
--- dbt sends this (62)
BEGIN
/* {"app": "dbt", "dbt_version": "1.12.6", "profile_name": "jaffle", "target_name": "sf", "node_id": "snapshot.jaffle.orders_snap"} */
--- dbt sends this (63)
-- back compat for old kwarg name
  
  begin
/* {"app": "dbt", "dbt_version": "1.12.6", "profile_name": "jaffle", "target_name": "sf", "node_id": "model.jaffle.orders_merge"} */;
--- dbt sends this (64)
merge into "JAFFLE"."ANALYTICS_SNAPSHOTS"."ORDERS_SNAP" as DBT_INTERNAL_DEST
    using "JAFFLE"."ANALYTICS_SNAPSHOTS"."ORDERS_SNAP__dbt_tmp" as DBT_INTERNAL_SOURCE
    on DBT_INTERNAL_SOURCE.dbt_scd_id = DBT_INTERNAL_DEST.dbt_scd_id

    when matched
     
       and DBT_INTERNAL_DEST.dbt_valid_to is null
     
     and DBT_INTERNAL_SOURCE.dbt_change_type in ('update', 'delete')
        then update
        set dbt_valid_to = DBT_INTERNAL_SOURCE.dbt_valid_to

    when not matched
     and DBT_INTERNAL_SOURCE.dbt_change_type = 'insert'
        then insert ("ID", "USER_ID", "ORDER_DATE", "STATUS", "DBT_UPDATED_AT", "DBT_VALID_FROM", "DBT_VALID_TO", "DBT_SCD_ID")
        values ("ID", "USER_ID", "ORDER_DATE", "STATUS", "DBT_UPDATED_AT", "DBT_VALID_FROM", "DBT_VALID_TO", "DBT_SCD_ID")


/* {"app": "dbt", "dbt_version": "1.12.6", "profile_name": "jaffle", "target_name": "sf", "node_id": "snapshot.jaffle.orders_snap"} */;
--- dbt sends this (65)
merge into JAFFLE.ANALYTICS_marts.orders_merge as DBT_INTERNAL_DEST
        using JAFFLE.ANALYTICS_marts.orders_merge__dbt_tmp as DBT_INTERNAL_SOURCE
        on ((DBT_INTERNAL_SOURCE.order_id = DBT_INTERNAL_DEST.order_id))

    
    when matched then update set
        "ORDER_ID" = DBT_INTERNAL_SOURCE."ORDER_ID","CUSTOMER_ID" = DBT_INTERNAL_SOURCE."CUSTOMER_ID","ORDER_DATE" = DBT_INTERNAL_SOURCE."ORDER_DATE","STATUS" = DBT_INTERNAL_SOURCE."STATUS"
    

    when not matched then insert
        ("ORDER_ID", "CUSTOMER_ID", "ORDER_DATE", "STATUS")
    values
        ("ORDER_ID", "CUSTOMER_ID", "ORDER_DATE", "STATUS")


/* {"app": "dbt", "dbt_version": "1.12.6", "profile_name": "jaffle", "target_name": "sf", "node_id": "model.jaffle.orders_merge"} */;
--- dbt sends this (66)
with tables as (
            select
        table_catalog as "table_database",
        table_schema as "table_schema",
        table_name as "table_name",
        case
            when is_dynamic = 'YES' and table_type = 'BASE TABLE' THEN 'DYNAMIC TABLE'
            else table_type
        end as "table_type",
        comment as "table_comment",

        -- note: this is the _role_ that owns the table
        table_owner as "table_owner",

        'Clustering Key' as "stats:clustering_key:label",
        clustering_key as "stats:clustering_key:value",
        'The key used to cluster this table' as "stats:clustering_key:description",
        (clustering_key is not null) as "stats:clustering_key:include",

        'Row Count' as "stats:row_count:label",
        row_count as "stats:row_count:value",
        'An approximate count of rows in this table' as "stats:row_count:description",
        (row_count is not null) as "stats:row_count:include",

        'Approximate Size' as "stats:bytes:label",
        bytes as "stats:bytes:value",
        'Approximate size of the table as reported by Snowflake' as "stats:bytes:description",
        (bytes is not null) as "stats:bytes:include",

        'Last Modified' as "stats:last_modified:label",
        to_varchar(convert_timezone('UTC', last_altered), 'yyyy-mm-dd HH24:MI'||'UTC') as "stats:last_modified:value",
        'The timestamp for last update/change' as "stats:last_modified:description",
        (last_altered is not null and table_type in ('BASE TABLE', 'INTERACTIVE TABLE')) as "stats:last_modified:include"
    from JAFFLE.INFORMATION_SCHEMA.tables
            where (
                (
                    
    "table_schema" ilike 'analytics' and upper("table_schema") = upper('analytics')

                    and 
    "table_name" ilike 'raw_orders' and upper("table_name") = upper('raw_orders')

                )
             or 
                (
                    
    "table_schema" ilike 'ANALYTICS_dbt_test__audit' and upper("table_schema") = upper('ANALYTICS_dbt_test__audit')

                    and 
    "table_name" ilike 'orders_positive' and upper("table_name") = upper('orders_positive')

                )
             or 
                (
                    
    "table_schema" ilike 'ANALYTICS_snapshots' and upper("table_schema") = upper('ANALYTICS_snapshots')

                    and 
    "table_name" ilike 'orders_snap' and upper("table_name") = upper('orders_snap')

                )
             or 
                (
                    
    "table_schema" ilike 'ANALYTICS_marts' and upper("table_schema") = upper('ANALYTICS_marts')

                    and 
    "table_name" ilike 'customers' and upper("table_name") = upper('customers')

                )
             or 
                (
                    
    "table_schema" ilike 'ANALYTICS' and upper("table_schema") = upper('ANALYTICS')

                    and 
    "table_name" ilike 'raw_customers' and upper("table_name") = upper('raw_customers')

                )
             or 
                (
                    
    "table_schema" ilike 'ANALYTICS_marts' and upper("table_schema") = upper('ANALYTICS_marts')

                    and 
    "table_name" ilike 'orders_merge' and upper("table_name") = upper('orders_merge')

                )
             or 
                (
                    
    "table_schema" ilike 'ANALYTICS' and upper("table_schema") = upper('ANALYTICS')

                    and 
    "table_name" ilike 'stg_customers' and upper("table_name") = upper('stg_customers')

                )
             or 
                (
                    
    "table_schema" ilike 'ANALYTICS' and upper("table_schema") = upper('ANALYTICS')

                    and 
    "table_name" ilike 'raw_orders' and upper("table_name") = upper('raw_orders')

                )
             or 
                (
                    
    "table_schema" ilike 'ANALYTICS' and upper("table_schema") = upper('ANALYTICS')

                    and 
    "table_name" ilike 'stg_orders' and upper("table_name") = upper('stg_orders')

                )
             or 
                (
                    
    "table_schema" ilike 'analytics' and upper("table_schema") = upper('analytics')

                    and 
    "table_name" ilike 'raw_customers' and upper("table_name") = upper('raw_customers')

                )
             or 
                (
                    
    "table_schema" ilike 'ANALYTICS_marts' and upper("table_schema") = upper('ANALYTICS_marts')

                    and 
    "table_name" ilike 'orders_inc' and upper("table_name") = upper('orders_inc')

                )
            )
        ),
        columns as (
            select
        table_catalog as "table_database",
        table_schema as "table_schema",
        table_name as "table_name",

        column_name as "column_name",
        ordinal_position as "column_index",
        data_type as "column_type",
        comment as "column_comment"
    from JAFFLE.INFORMATION_SCHEMA.columns
            where (
                (
                    
    "table_schema" ilike 'analytics' and upper("table_schema") = upper('analytics')

                    and 
    "table_name" ilike 'raw_orders' and upper("table_name") = upper('raw_orders')

                )
             or 
                (
                    
    "table_schema" ilike 'ANALYTICS_dbt_test__audit' and upper("table_schema") = upper('ANALYTICS_dbt_test__audit')

                    and 
    "table_name" ilike 'orders_positive' and upper("table_name") = upper('orders_positive')

                )
             or 
                (
                    
    "table_schema" ilike 'ANALYTICS_snapshots' and upper("table_schema") = upper('ANALYTICS_snapshots')

                    and 
    "table_name" ilike 'orders_snap' and upper("table_name") = upper('orders_snap')

                )
             or 
                (
                    
    "table_schema" ilike 'ANALYTICS_marts' and upper("table_schema") = upper('ANALYTICS_marts')

                    and 
    "table_name" ilike 'customers' and upper("table_name") = upper('customers')

                )
             or 
                (
                    
    "table_schema" ilike 'ANALYTICS' and upper("table_schema") = upper('ANALYTICS')

                    and 
    "table_name" ilike 'raw_customers' and upper("table_name") = upper('raw_customers')

                )
             or 
                (
                    
    "table_schema" ilike 'ANALYTICS_marts' and upper("table_schema") = upper('ANALYTICS_marts')

                    and 
    "table_name" ilike 'orders_merge' and upper("table_name") = upper('orders_merge')

                )
             or 
                (
                    
    "table_schema" ilike 'ANALYTICS' and upper("table_schema") = upper('ANALYTICS')

                    and 
    "table_name" ilike 'stg_customers' and upper("table_name") = upper('stg_customers')

                )
             or 
                (
                    
    "table_schema" ilike 'ANALYTICS' and upper("table_schema") = upper('ANALYTICS')

                    and 
    "table_name" ilike 'raw_orders' and upper("table_name") = upper('raw_orders')

                )
             or 
                (
                    
    "table_schema" ilike 'ANALYTICS' and upper("table_schema") = upper('ANALYTICS')

                    and 
    "table_name" ilike 'stg_orders' and upper("table_name") = upper('stg_orders')

                )
             or 
                (
                    
    "table_schema" ilike 'analytics' and upper("table_schema") = upper('analytics')

                    and 
    "table_name" ilike 'raw_customers' and upper("table_name") = upper('raw_customers')

                )
             or 
                (
                    
    "table_schema" ilike 'ANALYTICS_marts' and upper("table_schema") = upper('ANALYTICS_marts')

                    and 
    "table_name" ilike 'orders_inc' and upper("table_name") = upper('orders_inc')

                )
            )
        )
        select *
    from tables
    join columns using ("table_database", "table_schema", "table_name")
    order by "column_index"
/* {"app": "dbt", "dbt_version": "1.12.6", "profile_name": "jaffle", "target_name": "sf", "connection_name": "JAFFLE.information_schema"} */
