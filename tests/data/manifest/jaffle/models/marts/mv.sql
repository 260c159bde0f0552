{{ config(materialized='materialized_view') }}
select customer_id, n_orders from {{ ref('customers') }}
