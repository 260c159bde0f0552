{{ config(materialized='incremental', incremental_strategy='append', on_schema_change='sync_all_columns') }}

select amount, count(*) as events {% if var('wider', false) %}, max(at) as last_at {% endif %} from {{ ref('totals_text') }} group by 1
