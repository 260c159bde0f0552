#!/usr/bin/env python3
"""Holds the audit log against what dbt and the session did: evidence.py EXECUTIONS.jsonl, from `tollhouse audit tail --format json`."""

import hashlib
import json
import sys

MODEL = "model.tollhouse_warehouses.customer_orders"


def digest(sql):
    return hashlib.sha256(sql.encode()).hexdigest()


def main(path):
    with open(path, encoding="utf-8") as file:
        executions = [json.loads(line) for line in file]

    def those(**wanted):
        return [execution for execution in executions if all(execution[name] == value for name, value in wanted.items())]

    large = "select n, rpad('', 100, 'x') from unnest(sequence(1, 10000)) t(n) cross join unnest(sequence(1, 10)) u(m)"
    for name, found in {
        "the model was built by its node": [e for e in those(dbt=MODEL, status="completed") if "memory.analytics.stg_orders" in e["tables"]],
        "rows of all pages are counted": those(digest=digest(large), rows=100_000, status="completed"),
        "denials are recorded": those(status="denied", tables=["memory.analytics.salaries"]),
        "the server's own errors have their name": those(status="failed", error="COLUMN_NOT_FOUND"),
        "the cancel is recorded": those(status="cancelled"),
        "requests by HTTP rules are recorded": those(digest=digest("GET /v1/info"), status="completed"),
        "every statement that reached Trino has Trino's name for it": [e for e in executions if e["query_id"]],
    }.items():
        assert found, name
        print(f"ok {name}: {len(found)}")
    # The client asks for this once a connection, to see whether Trino knows the statement, and leaves the result where it is.
    probe = digest("EXECUTE IMMEDIATE 'SELECT 1'")
    unfinished = [e for e in executions if e["status"] in ("running", "abandoned") and e["digest"] != probe]
    assert not unfinished, unfinished
    unnamed = [e for e in executions if e["status"] != "denied" and not e["query_id"] and e["verbs"]]
    assert not unnamed, unnamed


main(sys.argv[1])
