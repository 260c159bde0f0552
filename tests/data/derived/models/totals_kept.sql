{{ config(materialized='materialized_view', indexes=[{'columns': ['amount']}], grants={'select': ['reporter']}) }}

select amount, count(*) as events from {{ ref('events') }} group by 1
