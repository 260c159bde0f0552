#!/usr/bin/env python3
"""A session of clickhouse-connect through the sidecar: session.py HOST PORT. Prints `ok clickhouse PART` for each part."""

import sys
import urllib.request

import clickhouse_connect
from clickhouse_connect.driver.exceptions import DatabaseError

HOST, PORT = sys.argv[1], int(sys.argv[2])
URL = f"http://{HOST}:{PORT}/"


def connect(**more):
    """A client as any program makes one: a name and a password that decide nothing."""
    return clickhouse_connect.get_client(host=HOST, port=PORT, username="anybody", password="unused", database="analytics", compress=False, **more)


CLIENT = connect()


def refused(sql, *words):
    """The statement fails with the client's own error for a lack of access, which says the words."""
    try:
        CLIENT.query(sql)
    except DatabaseError as error:
        assert error.code == 497 and error.name == "ACCESS_DENIED", (sql, error)
        for word in ("tollhouse", "audit record") + words:
            assert word in str(error), (word, str(error))
        return
    raise AssertionError(f"not refused: {sql}")


def part(name, function):
    function()
    print(f"ok clickhouse {name}")


def queries():
    assert CLIENT.query("select name from customers order by id").result_rows == [("Ada",), ("Grace",), ("Edsger",)]
    assert CLIENT.query("select name from customers where id = {id:Int32}", parameters={"id": 2}).result_rows == [("Grace",)]


def definitions():
    CLIENT.command("create table written (id Int32, name String) engine = MergeTree order by id")
    CLIENT.command("drop table written")


def large_result():
    with CLIENT.query_rows_stream("select number, toString(number) from numbers(1000000)") as rows:
        assert sum(1 for _ in rows) == 1_000_000


def inserts():
    CLIENT.command("create table written (id Int32, name String) engine = MergeTree order by id")
    CLIENT.insert("written", [[1, "Ada"], [2, "drop table customers"]], column_names=["id", "name"])
    rows = "".join(f"{number},x\n" for number in range(3, 200_003)).encode()
    # A statement in the address, and a body that is as long as it likes: more than one statement may be.
    CLIENT.raw_insert("written", ["id", "name"], iter([rows] * 15), fmt="CSV")
    assert CLIENT.command("select count() from written") == 3_000_002
    CLIENT.command("drop table written")


def denied():
    refused("select * from salaries", "policy-deny-rule")
    refused("select 1 in (salaries)", "policy-deny-rule")
    refused("insert into customers values (1, (select max(name) from salaries))", "policy-deny-rule")
    refused("select * from finance.budget", "finance.budget")
    refused("select * from url('https://attacker.example/', CSV, 'a String')", "url")
    refused("this is not sql", "statement-opaque")
    refused("select * from {t:Identifier}")
    assert CLIENT.command("select 1") == 1


def settings():
    try:
        CLIENT.query("select 1", settings={"max_memory_usage": "1000000000"})
    except DatabaseError as error:
        assert "max_memory_usage" in str(error), error
        return
    raise AssertionError("a setting was not refused")


def server_errors():
    try:
        CLIENT.query("select nothing_like_that from customers")
    except DatabaseError as error:
        assert error.code == 47 and error.name == "UNKNOWN_IDENTIFIER", error
        return
    raise AssertionError("the server's own error was lost")


def services():
    assert CLIENT.ping()
    assert urllib.request.urlopen(URL + "ping").read() == b"Ok.\n"


part("queries", queries)
part("definitions", definitions)
part("large result", large_result)
part("inserts", inserts)
part("refusals", denied)
part("settings", settings)
part("server errors", server_errors)
part("services", services)
