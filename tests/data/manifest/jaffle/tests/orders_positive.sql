{{ config(store_failures=true) }}
select * from {{ ref('orders_inc') }} where order_id < 0
