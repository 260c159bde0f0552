{{ config(
    materialized='incremental', incremental_strategy='merge', unique_key='amount', merge_exclude_columns=['first_at'],
    on_schema_change='append_new_columns', indexes=[{'columns': ['amount']}],
    pre_hook="select count(*) from {{ ref('events') }}",
    post_hook=["analyze {{ this }}", "comment on table {{ this }} is 'merged'"],
    grants={'select': ['reporter']}
) }}

select amount, min(at) as first_at, count(*) as events {% if var('wider', false) %}, max(at) as last_at {% endif %}
from {{ ref('events') }} group by 1
