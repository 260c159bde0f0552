{{ config(materialized='incremental', incremental_strategy='microbatch', event_time='at', batch_size='hour', begin='2024-02-28T22:00:00', unique_key='id', lookback=1) }}

select id, at, amount from {{ ref('events') }}
