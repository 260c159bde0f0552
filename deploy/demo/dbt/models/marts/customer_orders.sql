with order_totals as (

    select
        orders.order_id,
        orders.customer_id,
        orders.ordered_on,
        coalesce(sum(payments.amount_cents), 0) as amount_cents
    from {{ ref('stg_orders') }} as orders
    left join {{ ref('stg_payments') }} as payments using (order_id)
    where orders.status <> 'returned'
    group by 1, 2, 3

)

select
    customers.customer_id,
    customers.name,
    min(order_totals.ordered_on) as first_ordered_on,
    count(order_totals.order_id) as orders,
    coalesce(sum(order_totals.amount_cents), 0)::bigint as amount_cents
from {{ ref('stg_customers') }} as customers
left join order_totals using (customer_id)
group by 1, 2
