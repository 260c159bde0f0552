select c.id as customer_id, c.name, count(o.order_id) as orders, sum(o.amount) as spent
from {{ ref('customers') }} c
left join {{ ref('stg_orders') }} o on o.customer_id = c.id
group by c.id, c.name
