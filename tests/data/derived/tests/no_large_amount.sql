{{ config(store_failures=true) }}

select * from {{ ref('totals_merged') }} where amount > 1000
