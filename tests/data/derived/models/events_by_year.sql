{{ config(materialized='incremental', incremental_strategy='microbatch', event_time='at', batch_size='year', begin='2024-01-01', unique_key='id', lookback=1) }}

select id, at, amount from {{ ref('events') }}
