#!/usr/bin/env python3
"""Holds the audit log against what dbt and the session did, and against what Spark says that it ran.

evidence.py EXECUTIONS.jsonl SERVER.log; the first is from `tollhouse audit tail --format json`.
"""

import hashlib
import json
import re
import sys

MODEL = "model.tollhouse_warehouses.customer_orders"


def digest(sql):
    return hashlib.sha256(sql.encode()).hexdigest()


def main(path, log):
    with open(path, encoding="utf-8") as file:
        executions = [json.loads(line) for line in file]

    def those(**wanted):
        return [execution for execution in executions if all(execution[name] == value for name, value in wanted.items())]

    large = "select id, rpad('', 100, 'x') from range(50000)"
    for name, found in {
        "the model was built by its node": [e for e in those(dbt=MODEL, status="completed") if "spark_catalog.analytics.stg_orders" in e["tables"]],
        "rows of all replies are counted": those(digest=digest(large), rows=50_000, status="completed"),
        "denials are recorded": those(status="denied", tables=["spark_catalog.analytics.salaries"]),
        "the server's own errors have their SQLSTATE": those(status="failed", error="42703"),
        "the cancel is recorded": those(status="cancelled"),
        "listings by calls are recorded": those(digest=digest("GetTables"), status="completed"),
    }.items():
        assert found, name
        print(f"ok {name}: {len(found)}")
    unfinished = [e for e in executions if e["status"] == "running"]
    assert not unfinished, unfinished
    unnamed = [e for e in executions if e["status"] in ("completed", "cancelled") and not e["query_id"]]
    assert not unnamed, unnamed
    known = {e["digest"] for e in executions if e["status"] != "denied"}
    with open(log, encoding="utf-8", errors="replace") as file:
        ran = re.findall(r"Submitting query '(.*?)' with [0-9a-f-]{36}", file.read(), re.S)
    is_direct = re.compile(r'"target_name": "spark_direct"|\binsert into direct\.').search
    unseen = [sql for sql in ran if digest(sql) not in known and not is_direct(sql)]
    assert len(ran) > 50 and not unseen, (len(ran), unseen[:3])
    print(f"ok every statement that Spark ran but for those of the direct run is recorded: {len(ran)}")


main(*sys.argv[1:])
