#!/usr/bin/env python3
"""Holds the audit log against what the server saw: evidence.py EXECUTIONS.jsonl SEEN.jsonl.

The one is from `tollhouse audit tail --format json`, the other from server.py.
"""

import hashlib
import json
import sys
from collections import Counter

MODEL = "model.tollhouse_warehouses.customer_orders"


def digest(sql):
    return hashlib.sha256(sql.encode()).hexdigest()


def main(executions_path, seen_path):
    with open(executions_path, encoding="utf-8") as file:
        executions = [json.loads(line) for line in file]
    with open(seen_path, encoding="utf-8") as file:
        seen = [each for each in map(json.loads, file) if each["by"] != "direct"]

    def those(**wanted):
        return [execution for execution in executions if all(execution[name] == value for name, value in wanted.items())]

    large = "select x, rpad('', 100, 'x') as pad from unnest(generate_array(1, 100000)) as x"
    for name, found in {
        "the model was built by its node": [e for e in those(dbt=MODEL, status="completed") if "jaffle.analytics.stg_orders" in e["tables"]],
        "rows of all pages are counted": those(digest=digest(large), rows=100_000, status="completed"),
        "denials are recorded": [e for e in those(status="denied") if "jaffle.analytics.salaries" in e["tables"]],
        "seeds are loads with their rows": those(digest=digest("jobs.insert load"), rows=5, status="completed"),
        "tables are deleted by request": those(digest=digest("tables.delete jaffle.analytics.copied"), status="completed"),
        "the server's own errors have their name": those(status="failed", error="invalidQuery"),
        "requests by HTTP rules are recorded": those(digest=digest("GET /bigquery/v2/projects")),
    }.items():
        assert found, name
        print(f"ok {name}: {len(found)}")

    assert {each["by"] for each in seen} == {"system:serviceaccount:demo:dbt-runner"}, "a request went without the workload's own token"
    sent = Counter(digest(each["sql"]) for each in seen if each.get("sql"))
    attempts = Counter(e["digest"] for e in executions if e["status"] != "denied")
    missing = sent - attempts
    assert sent and not missing, f"the server saw statements without an attempt: {missing}"
    print(f"ok every statement that the server saw has its attempt: {sum(sent.values())}")
    named = [e for e in executions if e["digest"] in sent and e["status"] == "completed" and not e["query_id"]]
    assert len(named) <= 1, f"only the dry run has no job: {named}"
    unfinished = [e for e in executions if e["status"] in ("running", "abandoned")]
    assert not unfinished, unfinished


main(sys.argv[1], sys.argv[2])
