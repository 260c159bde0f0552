#!/usr/bin/env python3
"""A session of Trino's Python client through the sidecar: session.py HOST PORT. Prints `ok trino PART` for each part."""

import contextlib
import sys
import threading
import time
import urllib.request

import trino

HOST, PORT = sys.argv[1], int(sys.argv[2])


def connect(**more):
    """A connection as any client makes it: no secret, and a user name that decides nothing."""
    return trino.dbapi.connect(host=HOST, port=PORT, user="anybody", catalog="memory", schema="analytics", **more)


def fetch(sql, parameters=None, **more):
    cursor = connect(**more).cursor()
    cursor.execute(sql, parameters)
    return cursor.fetchall()


def refused(sql, *words):
    """The statement fails with the client's own error for a lack of permission, which says the words."""
    try:
        fetch(sql)
    except trino.exceptions.TrinoUserError as error:
        assert error.error_name == "PERMISSION_DENIED", error
        for word in ("tollhouse", "audit record") + words:
            assert word in error.message, (word, error.message)
        return
    raise AssertionError(f"not refused: {sql}")


def part(name, function):
    function()
    print(f"ok trino {name}")


def queries():
    assert fetch("select name from customers order by id") == [["Ada"], ["Grace"], ["Edsger"]]
    assert fetch("select current_user") == [["dbt-runner"]]


def large_result():
    rows = fetch("select n, rpad('', 100, 'x') from unnest(sequence(1, 10000)) t(n) cross join unnest(sequence(1, 10)) u(m)")
    assert len(rows) == 100_000 and all(len(row[1]) == 100 for row in rows)


def prepared():
    assert fetch("select name from customers where id = ?", (2,)) == [["Grace"]]


def denied():
    refused("select * from salaries", "policy-deny-rule")
    refused("select * from finance.budget", "memory.finance.budget")
    refused("call system.runtime.kill_query('a', 'b')")
    refused("this is not sql", "statement-opaque")
    assert fetch("select 1") == [[1]]


def server_errors():
    try:
        fetch("select nothing_like_that from customers")
    except trino.exceptions.TrinoUserError as error:
        assert error.error_name == "COLUMN_NOT_FOUND", error
        return
    raise AssertionError("the server's own error was lost")


def cancelled():
    cursor = connect().cursor()
    sql = ("select count(*) from unnest(sequence(1, 10000)) a(x) cross join unnest(sequence(1, 10000)) b(y) cross join unnest(sequence(1, 1000)) c(z)")

    def run():
        with contextlib.suppress(trino.exceptions.TrinoQueryError):
            cursor.execute(sql)

    running = threading.Thread(target=run)
    running.start()
    while cursor.query_id is None:
        time.sleep(0.1)
    time.sleep(1)
    cursor.cancel()
    running.join(30)
    assert not running.is_alive(), "the query went on"


def foreign_handle():
    request = urllib.request.Request(f"http://{HOST}:{PORT}/v1/statement/executing/20200101_000000_00001_abcde/y1/0")
    body = urllib.request.urlopen(request).read().decode()
    assert "handle-unknown" in body, body


def http_rules():
    assert b"nodeVersion" in urllib.request.urlopen(f"http://{HOST}:{PORT}/v1/info").read()
    body = urllib.request.urlopen(f"http://{HOST}:{PORT}/v1/query").read().decode()
    assert "policy-denied" in body, body


part("queries", queries)
part("large result", large_result)
part("prepared statements", prepared)
part("refusals", denied)
part("server errors", server_errors)
part("cancel", cancelled)
part("unknown handles", foreign_handle)
part("http rules", http_rules)
