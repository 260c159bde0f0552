#!/usr/bin/env python3
"""Sessions of databricks-sql-connector through the sidecar, by both of its protocols: session.py HOST PORT."""

import sys
import threading
import time

from databricks import sql
from databricks.sql import exc

HOST, PORT = sys.argv[1], int(sys.argv[2])
PATH = "/sql/1.0/warehouses/abc"


def connect(use_sea=False, **more):
    """A connection as any client makes it: a placeholder for a token. The connector asks for https, unless it is told the address."""
    host = base = f"http://{HOST}:{PORT}"
    arguments = {"catalog": "spark_catalog", "schema": "default", "_retry_stop_after_attempts_count": 2, "enable_telemetry": False}
    if use_sea:
        arguments |= {"use_sea": True, "use_cloud_fetch": False, "_port": PORT}
        host = f"http://{HOST}"
    else:
        arguments["_connection_uri"] = base + PATH
    return sql.connect(server_hostname=host, http_path=PATH, access_token="placeholder", **(arguments | more))


def fetch(text, connection):
    with connection.cursor() as cursor:
        cursor.execute(text)
        return [tuple(row) for row in cursor.fetchall()] if cursor.description else []


def refused(text, connection, *words):
    try:
        fetch(text, connection)
    except exc.Error as error:
        for word in ("tollhouse",) + words:
            assert word in str(error), (word, error)
        return
    raise AssertionError(f"not refused: {text}")


def part(name, function, *arguments):
    function(*arguments)
    print(f"ok databricks {name}")


def queries(protocol):
    with connect(protocol) as connection:
        assert fetch("select 'a' as x", connection) == [("a",)]
        assert fetch("select current_user()", connection) == [("dbt-runner",)]
        assert len(fetch("select id, rpad('', 100, 'x') from range(25000)", connection)) == 25_000


def definitions(protocol):
    name = f"spark_catalog.analytics.made_{protocol}".lower()
    with connect(protocol) as connection:
        fetch("create schema if not exists analytics", connection)
        fetch(f"create table {name} (n int)", connection)
        fetch(f"insert into {name} values (1), (2)", connection)
        assert [str(row[0]) for row in fetch(f"select sum(n) from {name}", connection)] == ["3"]
        fetch(f"drop table {name}", connection)


def denied(protocol):
    with connect(protocol) as connection:
        refused("select * from analytics.salaries", connection, "audit record", "policy-deny-rule")
        refused("select * from budget", connection, "spark_catalog.default.budget")
        refused("this is not sql", connection, "statement-opaque")
        assert fetch("select 'goes on'", connection) == [("goes on",)]


def server_errors(protocol):
    with connect(protocol) as connection:
        try:
            fetch("select nothing_like_that", connection)
        except exc.Error as error:
            assert "nothing_like_that" in str(error) and "tollhouse" not in str(error), error
            return
    raise AssertionError("the server's own error was lost")


def names_follow_use(protocol):
    with connect(protocol) as connection:
        refused("select * from t", connection, "spark_catalog.default.t")
        fetch("use schema analytics", connection)
        refused("select * from salaries", connection, "policy-deny-rule")


def parameters():
    with connect(session_configuration={"query_tags": "team:a"}) as connection:
        assert fetch("select 1 as n", connection)
    try:
        connect(session_configuration={"spark.sql.parser.escapedStringLiterals": "true"})
    except exc.Error as error:
        assert "policy-denied" in str(error), error
        return
    raise AssertionError("not refused")


def cancelled():
    with connect() as connection, connection.cursor() as cursor:
        running = threading.Thread(target=lambda: run_quietly(cursor))
        running.start()
        while cursor.active_command_id is None:
            time.sleep(0.1)
        time.sleep(1)
        cursor.cancel()
        running.join(60)
        assert not running.is_alive(), "the query went on"


def run_quietly(cursor):
    try:
        cursor.execute("select count(*) from range(100000000) a cross join range(100000) b")
    except exc.Error:
        pass


def listings():
    with connect() as connection, connection.cursor() as cursor:
        assert "analytics" in {row[0] for row in cursor.schemas(catalog_name="spark_catalog").fetchall()}
        try:
            cursor.tables(catalog_name="other")
        except exc.Error as error:
            assert "other.information_schema.tables" in str(error), error
            return
    raise AssertionError("not refused")


def results_elsewhere():
    """Over Thrift they are kept in the replies; the API is told to ask for that."""
    with connect(True, use_cloud_fetch=True) as connection:
        refused("select 1", connection, "INLINE")


for protocol in (False, True):
    way = "SEA" if protocol else "Thrift"
    part(f"queries, {way}", queries, protocol)
    part(f"definitions, {way}", definitions, protocol)
    part(f"refusals, {way}", denied, protocol)
    part(f"server errors, {way}", server_errors, protocol)
    part(f"use, {way}", names_follow_use, protocol)
part("parameters", parameters)
part("cancel", cancelled)
part("listings", listings)
part("results elsewhere", results_elsewhere)
