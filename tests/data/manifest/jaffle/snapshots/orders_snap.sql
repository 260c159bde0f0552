{% snapshot orders_snap %}
{{ config(unique_key='id', strategy='check', check_cols=['status']) }}
select * from {{ source('src', 'raw_orders') }}
{% endsnapshot %}
