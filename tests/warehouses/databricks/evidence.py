#!/usr/bin/env python3
"""Holds the audit log against what the server was asked to run: evidence.py EXECUTIONS.jsonl SEEN.jsonl."""

import hashlib
import json
import sys


def lines(path):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def digest(sql):
    return hashlib.sha256(sql.encode()).hexdigest()


def main(executions, seen):
    executions, seen = lines(executions), lines(seen)
    recorded = {e["digest"] for e in executions if e["status"] != "denied"}
    unseen = [line["sql"] for line in seen if digest(line["sql"]) not in recorded]
    assert seen and not unseen, unseen[:3]
    print(f"ok every statement that the server was asked to run is recorded: {len(seen)}")
    large = digest("select id, rpad('', 100, 'x') from range(25000)")
    rows = [e["rows"] for e in executions if e["digest"] == large]
    assert rows == [25_000, 25_000], rows
    denied = [e for e in executions if e["status"] == "denied"]
    assert not {e["digest"] for e in denied} & {digest(line["sql"]) for line in seen}, "a denied statement was seen"
    assert [e for e in executions if e["status"] == "cancelled"], "the cancel is not recorded"
    unnamed = [e for e in executions if e["status"] in ("completed", "cancelled") and e["verbs"] and not e["query_id"]]
    assert not unnamed, unnamed
    print(f"ok rows, names, a cancel and {len(denied)} denials")


main(*sys.argv[1:])
