#!/usr/bin/env python3
"""Holds the audit log against what the server saw: evidence.py EXECUTIONS.jsonl JOURNAL.jsonl.

The first is from `tollhouse audit tail --format json`, the second what server.py wrote.
"""

import collections
import hashlib
import json
import sys

MODEL = "model.tollhouse_warehouses.customer_orders"


def digest(sql):
    return hashlib.sha256(sql.encode()).hexdigest()


def read(path):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def main(executions, journal):
    def those(**wanted):
        return [execution for execution in executions if all(execution[name] == value for name, value in wanted.items())]

    for name, found in {
        "logins are recorded": those(digest=digest("login"), status="completed"),
        "the model was built by its node": [e for e in those(dbt=MODEL, status="completed") if "SHOP.ANALYTICS.STG_ORDERS" in e["tables"]],
        "rows of an answer are counted": those(digest=digest("select name from customers order by id"), rows=3, status="completed"),
        "denials are recorded": [e for e in those(status="denied") if "SHOP.ANALYTICS.SALARIES" in e["tables"]],
        "the server's own errors have their name": those(digest=digest("select nothing_like_that from customers"), status="failed", error="002043"),
        "what was polled for has its end": those(digest=digest("select 'slow'"), status="completed", rows=1),
        "what was begun and left has its end": those(digest=digest("select 'slow, and not waited for'"), status="completed"),
        "the cancel by the client's name for it is recorded": those(digest=digest("select 'very slow'"), status="cancelled"),
        "the cancel by Snowflake's name for it is recorded": those(digest=digest("select 'very slow, and cancelled by its name'"), status="cancelled"),
        "results that pass by are recorded": those(digest=digest("select n from chunks"), out_of_band="result chunks"),
        "the schema of a session is followed": [e for e in those(status="denied") if "SHOP.OTHER.CUSTOMERS" in e["tables"]],
        "every statement that was answered has Snowflake's name for it": [e for e in those(status="completed") if e["query_id"]],
    }.items():
        assert found, name
        print(f"ok {name}: {len(found)}")
    unfinished = [e for e in executions if e["status"] in ("running", "abandoned")]
    assert not unfinished, unfinished

    # Only dbt's direct run went past the sidecar, and in another database.
    logins = [entry for entry in journal if entry["kind"] == "login" and entry["checked"]]
    assert logins and all("PASSWORD" not in login["keys"] and "TOKEN" in login["keys"] for login in logins), logins
    assert not [entry for entry in journal if entry["kind"] == "other"], "something else reached the server"
    seen = collections.Counter(entry["digest"] for entry in journal if entry["kind"] == "query" and entry["checked"])
    recorded = collections.Counter(e["digest"] for e in executions if e["status"] != "denied")
    assert seen and not seen - recorded, seen - recorded
    print(f"ok all {seen.total()} statements that the server saw have an attempt")


main(read(sys.argv[1]), read(sys.argv[2]))
