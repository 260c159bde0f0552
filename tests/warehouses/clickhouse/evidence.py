#!/usr/bin/env python3
"""Holds the audit log against what the servers saw: evidence.py EXECUTIONS.jsonl SEEN.jsonl SERVER_PLAIN_PORT.

EXECUTIONS.jsonl is of `tollhouse audit tail --format json`, SEEN.jsonl of server.py; the other server keeps a log of its own.
"""

import hashlib
import json
import sys
import urllib.request

# The server's log leaves the values out.
VALUES = {"insert into t values": " (1), (2)", "insert into here values": " (7)"}
MODEL = "model.tollhouse_warehouses.customer_orders"


def lines(path):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def digest(sql):
    return hashlib.sha256(sql.encode()).hexdigest()


def of_the_server(port):
    """The statements that the role has run at the real server, which writes its log after a moment."""
    sql = b"select query from system.query_log where type = 1 and user = 'dbt-runner' format JSONEachRow"
    urllib.request.urlopen(f"http://127.0.0.1:{port}/", data=b"system flush logs").read()
    answer = urllib.request.urlopen(f"http://127.0.0.1:{port}/", data=sql).read().decode()
    return [json.loads(line)["query"] for line in answer.splitlines()]


def main(executions_path, seen_path, port):
    executions = lines(executions_path)
    seen = [request for request in lines(seen_path) if request["user"] != "anybody"]

    def those(**wanted):
        return [execution for execution in executions if all(execution[name] == value for name, value in wanted.items())]

    insert = "INSERT INTO written (`id`, `name`) FORMAT CSV"
    for name, found in {
        "the model was built by its node": [e for e in those(dbt=MODEL, status="completed") if "analytics.stg_orders" in str(e["tables"])],
        "the seed's data is not part of its text": those(dbt="seed.tollhouse_warehouses.customers", verbs=["INSERT"], status="completed"),
        "a streamed insert is recorded by its text": those(digest=digest(insert), status="completed"),
        "denials are recorded": [e for e in those(status="denied") if "salaries" in str(e["tables"])],
        "the servers' own errors have their number": those(status="failed", error="47"),
        "an error in the midst of a result is seen": those(status="failed", error="153", query_id="breaks-off"),
        "requests by HTTP rules are recorded": those(digest=digest("GET /replicas_status"), status="completed"),
    }.items():
        assert found, name
        print(f"ok {name}: {len(found)}")

    names = {execution["query_id"] for execution in executions}
    unknown = [request for request in seen if request["query_id"] not in names]
    assert seen and not unknown, unknown
    print(f"ok every statement that the engine saw has its attempt, under its name: {len(seen)}")

    digests = {execution["digest"] for execution in executions}
    ran = of_the_server(port)
    # It keeps the line's end that stands between the address and the body.
    whole = [sql + VALUES.get(sql, "") for sql in ran]
    unknown = [sql for sql in whole if not {digest(sql), digest(sql.strip())} & digests]
    assert len(ran) > 20 and not unknown, unknown
    print(f"ok every statement that the server ran has its attempt: {len(ran)}")

    unfinished = [e for e in executions if e["status"] in ("running", "abandoned", "unfinished")]
    assert not unfinished, unfinished


main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
