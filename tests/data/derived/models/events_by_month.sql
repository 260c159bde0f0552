{{ config(materialized='incremental', incremental_strategy='microbatch', event_time='at', batch_size='month', begin='2024-02-01', unique_key='id', lookback=1) }}

select id, at, amount from {{ ref('events') }}
