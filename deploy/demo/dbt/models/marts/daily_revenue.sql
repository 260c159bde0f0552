{{ config(materialized='incremental', unique_key='ordered_on', incremental_strategy='delete+insert', on_schema_change='fail') }}

select
    orders.ordered_on,
    count(distinct orders.order_id) as orders,
    sum(payments.amount_cents)::bigint as amount_cents
from {{ ref('stg_orders') }} as orders
inner join {{ ref('stg_payments') }} as payments using (order_id)
{% if is_incremental() %}
-- The last day may still have been open when it was loaded, so it is loaded once more.
where orders.ordered_on >= (select max(ordered_on) from {{ this }})
{% endif %}
group by 1
