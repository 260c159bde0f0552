#!/usr/bin/env python3
"""Sessions of Snowflake's Python connector and of its ADBC driver through the sidecar: session.py HOST PORT [DATABASE [PART...]].

Prints `ok snowflake PART` for each part.
"""

import json
import sys
import time
import urllib.error
import urllib.request

import adbc_driver_snowflake.dbapi
import snowflake.connector

HOST, PORT = sys.argv[1], int(sys.argv[2])
DATABASE = sys.argv[3] if len(sys.argv) > 3 else "SHOP"


def connect(**more):
    """A connection as any client makes it: no secret, and a user name that decides nothing."""
    return snowflake.connector.connect(
        account="anything", host=HOST, port=PORT, protocol="http", user="anybody", password="placeholder", database=DATABASE,
        schema="ANALYTICS", warehouse="WH", role="TRANSFORMER", **more)


def adbc():
    options = {"account": "anything", "uri.protocol": "http", "uri.host": HOST, "uri.port": str(PORT), "db": DATABASE,
               "schema": "ANALYTICS", "warehouse": "WH", "role": "TRANSFORMER", "auth_type": "auth_snowflake"}
    return adbc_driver_snowflake.dbapi.connect(
        db_kwargs={"username": "anybody", "password": "placeholder"} | {f"adbc.snowflake.sql.{name}": value for name, value in options.items()})


def refused(connection, sql, *words, **more):
    """The statement fails with the client's own error, which says the words, and the connection goes on."""
    begun = time.monotonic()
    try:
        connection.cursor().execute(sql, **more)
    except snowflake.connector.errors.Error as error:
        assert error.sqlstate in ("42501", "08P01"), error
        for word in ("tollhouse",) + words:
            assert word in error.msg, (word, error.msg)
        assert time.monotonic() - begun < 5, "it was tried again"
        return
    raise AssertionError(f"not refused: {sql}")


def part(name, function):
    function()
    print(f"ok snowflake {name}", flush=True)


def queries():
    with connect(session_parameters={"QUERY_TAG": "session"}) as connection:
        cursor = connection.cursor()
        assert [row[0] for row in cursor.execute("select name from customers order by id").fetchall()] == ["Ada", "Grace", "Edsger"]
        assert cursor.execute("select name from customers where id = %s", (2,)).fetchall() == [("Grace",)]
        cursor.execute("create or replace table kept (id int)")
        assert cursor.execute("insert into kept values (1), (2), (3)").rowcount == 3
        assert cursor.execute("select id from kept order by id").fetchall() == [(1,), (2,), (3,)]
        assert [column.name for column in cursor.describe("select name from customers")] == ["NAME"]


def bindings():
    snowflake.connector.paramstyle = "qmark"
    with connect() as connection:
        assert connection.cursor().execute("select name from customers where id = ?", (3,)).fetchall() == [("Edsger",)]
    snowflake.connector.paramstyle = "pyformat"


def refusals():
    with connect() as connection:
        refused(connection, "select * from salaries", "policy-deny-rule", "audit record")
        refused(connection, "select * from finance.budget", "policy-denied", "FINANCE.BUDGET")
        refused(connection, "use role accountadmin", "policy-denied")
        refused(connection, "put file:///tmp/x @~/x", "copy-file")
        refused(connection, "this is not sql", "statement-opaque")
        refused(connection, "select 1; select * from salaries", "policy-deny-rule", num_statements=2)
        assert connection.cursor().execute("select 1").fetchall() == [(1,)]
    try:
        connect(session_parameters={"SEARCH_PATH": "x"})
    except snowflake.connector.errors.DatabaseError as error:
        assert "policy-denied" in error.msg, error.msg
        return
    raise AssertionError("a login that sets what it must not was let in")


def server_errors():
    with connect() as connection:
        try:
            connection.cursor().execute("select nothing_like_that from customers")
        except snowflake.connector.errors.ProgrammingError as error:
            assert error.errno == 2043 and "tollhouse" not in error.msg, error
            return
    raise AssertionError("the server's own error was lost")


def schema_is_followed():
    with connect() as connection:
        cursor = connection.cursor()
        cursor.execute("create schema if not exists other")
        cursor.execute("use schema other")
        refused(connection, "select * from customers", "OTHER.CUSTOMERS")
        cursor.execute("use schema analytics")
        assert cursor.execute("select count(*) from customers").fetchall() == [(3,)]


def renewal():
    with connect() as connection:
        before = connection.rest.token
        connection.cursor().execute("select 'expire this session'")
        assert connection.cursor().execute("select 2").fetchall() == [(2,)]
        assert connection.rest.token == before and before.startswith("tollhouse-session-"), "the placeholder changed"


def polling():
    with connect() as connection:
        assert connection.cursor().execute("select 'slow'").fetchall() == [("slow",)]
        cursor = connection.cursor()
        cursor.execute_async("select 'slow, and not waited for'")
        while connection.is_still_running(connection.get_query_status(cursor.sfqid)):
            time.sleep(0.2)
        cursor.query_result(cursor.sfqid)
        assert cursor.fetchall() == [("slow, and not waited for",)]


def several():
    with connect() as connection:
        cursor = connection.cursor()
        cursor.execute("select 1; select name from customers where id = 1", num_statements=2)
        assert cursor.fetchall() == [(1,)]
        cursor.nextset()
        assert cursor.fetchall() == [("Ada",)]


def cancelled():
    with connect() as connection:
        begun = time.monotonic()
        try:
            connection.cursor().execute("select 'very slow'", timeout=2)
        except snowflake.connector.errors.Error as error:
            assert error.errno == 604, error
        else:
            raise AssertionError("the query was not cancelled")
        assert time.monotonic() - begun < 10
        cursor = connection.cursor()
        cursor.execute_async("select 'very slow, and cancelled by its name'")
        assert cursor.abort_query(cursor.sfqid)


def chunks():
    with connect() as connection:
        assert connection.cursor().execute("select n from chunks").fetchall() == [(1,), (2,)]


def ask(method, path, headers=None, body=None):
    request = urllib.request.Request(f"http://{HOST}:{PORT}{path}", method=method, headers=headers or {}, data=json.dumps(body).encode() if body is not None else None)
    request.add_header("Content-Type", "application/json")
    try:
        return urllib.request.urlopen(request).read().decode()
    except urllib.error.HTTPError as error:
        return error.read().decode()


def foreign():
    """What no session of this client's shows is nobody's."""
    with connect() as connection:
        mine = {"Authorization": f'Snowflake Token="{connection.rest.token}"'}
        path = "/queries/01b0c0de-0000-0000-0000-000000000000/result"
        assert "handle-unknown" in ask("GET", path, mine)
    assert "session-unknown" in ask("GET", path, mine), "the session is over"
    assert "session-unknown" in ask("POST", "/session/heartbeat", {"Authorization": 'Snowflake Token="tollhouse-session-0123"'})
    assert "policy-denied" in ask("GET", "/api/v2/databases")


def adbc_session():
    with adbc() as connection, connection.cursor() as cursor:
        cursor.execute("select name from customers order by id")
        assert cursor.fetchall() == [("Ada",), ("Grace",), ("Edsger",)]
        cursor.execute("create or replace table kept_by_adbc (id int)")
        cursor.execute("insert into kept_by_adbc values (?)", (7,))
        cursor.execute("select id from kept_by_adbc")
        assert [int(row[0]) for row in cursor.fetchall()] == [7]
        try:
            cursor.execute("select * from salaries")
        except adbc_driver_snowflake.dbapi.Error as error:
            assert "policy-deny-rule" in str(error) and "42501" in str(error), error
        else:
            raise AssertionError("not refused")
        cursor.execute("select 'slow'")
        assert cursor.fetchall() == [("slow",)]
        cursor.execute("select 'expire this session'")
        cursor.execute("select 2")
        assert [int(row[0]) for row in cursor.fetchall()] == [2]


for name, function in list(globals().items()):
    is_part = callable(function) and function.__module__ == "__main__" and name not in ("connect", "adbc", "refused", "part", "ask")
    if is_part and (name in sys.argv[4:] or not sys.argv[4:]):
        part(name.replace("_", " "), function)
