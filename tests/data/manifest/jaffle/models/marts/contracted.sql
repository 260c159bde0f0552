{{ config(materialized='table', contract={'enforced': true}) }}
select customer_id, 'x'::text as label from {{ ref('eph') }}
