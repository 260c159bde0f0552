{{ config(materialized='table', event_time='at', indexes=[{'columns': ['at']}, {'columns': ['id'], 'unique': true}]) }}

select n as id, timestamp '2024-02-28 22:00' + n * interval '20 minutes' as at, n % 7 as amount
from generate_series(0, 150) as n
