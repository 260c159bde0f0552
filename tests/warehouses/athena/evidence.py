#!/usr/bin/env python3
"""Holds the audit log against what Athena was asked: evidence.py EXECUTIONS.jsonl SEEN.jsonl (see server.py)."""

import hashlib
import json
import sys

MODEL = "model.tollhouse_warehouses.customer_orders"


def lines(path):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def digest(sql):
    return hashlib.sha256(sql.encode()).hexdigest()


def main(executions_path, seen_path):
    executions = lines(executions_path)
    # The others ran without the sidecar.
    seen = [asked for asked in lines(seen_path) if (asked["role"] or "").endswith("role/dbt")]

    def those(**wanted):
        return [execution for execution in executions if all(execution[name] == value for name, value in wanted.items())]

    for name, found in {
        "the model was built by its node": [e for e in those(dbt=MODEL, status="completed") if "stg_orders" in str(e["tables"])],
        "denials are recorded": [e for e in those(status="denied") if "salaries" in str(e["tables"])],
        "the stop is recorded": those(digest=digest("select 'stopped'"), status="cancelled"),
        "requests by HTTP rules are recorded": those(digest=digest("POST /"), status="completed"),
        "looks at the catalog are recorded": those(digest=digest("ListDatabases AwsDataCatalog"), status="completed"),
    }.items():
        assert found, name
        print(f"ok {name}: {len(found)}")

    attempts = {execution["digest"] for execution in executions}
    unknown = [asked for asked in seen if digest(asked["sql"]) not in attempts]
    assert seen and not unknown, unknown
    names = {execution["query_id"] for execution in executions}
    # What a session began and never asked about again is recorded with the name as well.
    unnamed = [asked for asked in seen if asked["query_id"] not in names]
    assert not unnamed, unnamed
    print(f"ok every statement that Athena was asked has its attempt, under Athena's name, and was signed as the role: {len(seen)}")


main(sys.argv[1], sys.argv[2])
