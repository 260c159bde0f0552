-- Every cent that was paid is in the revenue of some day.
with totals as (
    select
        (select sum(amount_cents) from {{ ref('stg_payments') }}) as paid,
        (select sum(amount_cents) from {{ ref('daily_revenue') }}) as earned
)

select *
from totals
where paid is distinct from earned
