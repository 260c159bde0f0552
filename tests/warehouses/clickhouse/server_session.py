#!/usr/bin/env python3
"""ClickHouse's own HTTP interface through the sidecar, as curl would use it: server_session.py HOST PORT PLAIN_PORT.

The plain port is the server's own, where what it has seen is looked up. Prints `ok clickhouse-server PART` for each part.
"""

import sys
import time
import urllib.error
import urllib.parse
import urllib.request

HOST, PORT, PLAIN_PORT = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])


def ask(body=None, port=PORT, path="/", method=None, headers=None, **parameters):
    """Status and text of the answer."""
    url = f"http://{HOST}:{port}{path}" + ("?" + urllib.parse.urlencode(parameters) if parameters else "")
    data = body.encode() if isinstance(body, str) else body
    request = urllib.request.Request(url, data=data, method=method, headers=headers or {})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def directly(sql):
    status, text = ask(sql, port=PLAIN_PORT)
    assert status == 200, text
    return text


def refused(answer, *words):
    status, text = answer
    assert status == 403 and text.startswith("Code: 497. DB::Exception: tollhouse") and all(word in text for word in words), answer


def part(name, function):
    function()
    print(f"ok clickhouse-server {name}")


def places():
    for answer in (ask("select 1"), ask(query="select 1"), ask("1", query="select"), ask("", query="select 1")):
        assert answer == (200, "1\n"), answer
    assert ask("select 1", user="root", password="wrong") == (200, "1\n")
    assert ask("select 1", headers={"X-ClickHouse-User": "root", "X-ClickHouse-Key": "wrong"}) == (200, "1\n")
    assert ask(query="select 1 + 1", method="GET", default_format="JSONCompact")[1].replace("\n", "").count("[2]") == 1


def login():
    """The server knows the role, not the client's name."""
    ask("select 'who asks'", user="root")
    deadline = time.time() + 10
    while time.time() < deadline:
        directly("system flush logs")
        if "dbt-runner" in directly("select distinct user from system.query_log where query like '%who asks%'"):
            return
        time.sleep(0.2)
    raise AssertionError("the statement is not in the server's log under the role's name")


def databases():
    assert ask("create table t (a Int32) engine = Log", database="analytics") == (200, "")
    assert ask("insert into t values (1), (2)", database="analytics") == (200, "")
    assert ask("select sum(a) from t", headers={"X-ClickHouse-Database": "analytics"}) == (200, "3\n")
    assert ask("3\n4\n", query="insert into t format TabSeparated", database="analytics") == (200, "")
    assert ask("insert into t format CSV\n5\n6\n", database="analytics") == (200, "")
    assert ask("select sum(a) from analytics.t") == (200, "21\n")
    refused(ask("select * from t", database="finance"), "finance.t")
    refused(ask(" * from salaries", query="select", database="analytics"), "policy-deny-rule")
    refused(ask("select 7 in salaries", database="analytics"), "policy-deny-rule")
    refused(ask(" select * from salaries", query="insert into t", database="analytics"), "policy-deny-rule")


def sessions():
    named = {"session_id": "mine", "database": "analytics"}
    assert ask("create temporary table here (a Int32)", **named) == (200, "")
    assert ask("insert into here values (7)", **named) == (200, "")
    assert ask("select a from here", **named) == (200, "7\n")
    assert ask("select a from here", session_id="other", database="analytics")[0] == 404
    # Nobody else's session is reached by its name, and nobody else reaches this one.
    status, text = ask("select a from here", port=PLAIN_PORT, session_id="mine", session_check="1")
    assert status != 200 and "Session not found" in text, text


def read_only():
    assert ask(query="drop table analytics.t", method="GET")[0] == 500, "GET only reads, at the server too"
    assert ask("select count() from analytics.t") == (200, "6\n")


def refusals():
    assert ask("select 1", path="/any/path")[0] == 400
    assert ask("select 1", QUERY="select 2")[0] == 400
    assert ask("x", decompress="1")[0] == 400
    assert ask("select 1", headers={"Content-Type": "multipart/form-data; boundary=x"})[0] == 400
    refused(ask("select 1", max_memory_usage="1"), "max_memory_usage")
    refused(ask(path="/play"), "policy-denied")
    assert ask(path="/replicas_status") == (200, "Ok.\n")
    assert ask(path="/ping") == (200, "Ok.\n")
    assert ask("select 1") == (200, "1\n")


def large_result():
    status, text = ask("select number from system.numbers limit 5000000")
    assert status == 200 and text.count("\n") == 5_000_000


def breaks_off():
    """An error when part of the result is on its way: the server says so at the end of the text."""
    status, text = ask("select intDiv(1, number - 3000000) from system.numbers limit 4000000", query_id="breaks-off")
    assert status == 200 and "Division by zero" in text, (status, text[-200:])


directly("create database if not exists analytics")
directly("create table if not exists analytics.salaries (a Int32) engine = Log")
part("places of a statement", places)
part("login", login)
part("databases", databases)
part("sessions", sessions)
part("read only", read_only)
part("refusals", refusals)
part("large result", large_result)
part("breaks off", breaks_off)
