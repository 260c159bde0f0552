{# dbt's own query comment, and the invocation's id: it ties every audit record to one run of dbt. #}
{% macro query_comment(connection_name, node) %}
    {%- set comment = {
        "app": "dbt",
        "dbt_version": dbt_version,
        "profile_name": target.get("profile_name"),
        "target_name": target.get("target_name"),
    } -%}
    {%- if node is not none -%}
        {%- do comment.update(node_id=node.unique_id) -%}
    {%- else -%}
        {%- do comment.update(connection_name=connection_name) -%}
    {%- endif -%}
    {%- do comment.update(invocation_id=invocation_id) -%}
    {{ return(tojson(comment)) }}
{% endmacro %}
