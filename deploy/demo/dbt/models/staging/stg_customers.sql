select
    id as customer_id,
    name,
    lower(email) as email,
    joined_on
from {{ ref('customers') }}
