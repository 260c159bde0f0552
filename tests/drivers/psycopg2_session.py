#!/usr/bin/env python3
"""A session of psycopg2, which speaks the simple protocol only.

Usage: psycopg2_session.py HOST PORT [DATABASE [USER]]; prints `ok psycopg2 PART` for each, ends with 1 at the first failure.
"""

import io
import threading

import psycopg2
from psycopg2 import errors

from session import PARAMETER, REFUSED, ROWS, done, equal, expect, place, soon


def fetch(connection, sql, *arguments):
    with connection.cursor() as cursor:
        cursor.execute(sql, arguments)
        return cursor.fetchall()


def true_process_id(connection):
    equal(fetch(connection, "select pg_backend_pid()"), [(connection.info.backend_pid,)])


def prepared_statements(connection):
    with connection.cursor() as cursor:
        cursor.execute("prepare add_two(integer) as select $1 + 2")
    equal(fetch(connection, "execute add_two(%s)", 5), [(7,)])
    equal(fetch(connection, "execute add_two(%s)", 7), [(9,)])


def server_side_cursor(connection):
    with connection.cursor(name="many_rows") as cursor:
        cursor.itersize = 1000
        cursor.execute("select generate_series(1, 10000)")
        equal(sum(row[0] for row in cursor), 50_005_000)


def copy_in_and_out(connection):
    rows = "".join(f"{n}\tline {n}\n" for n in range(20_000))
    with connection.cursor() as cursor:
        cursor.execute("create temporary table psycopg2_copy (id integer, note text)")
        cursor.copy_expert("copy psycopg2_copy from stdin", io.StringIO(rows))
        equal(cursor.rowcount, 20_000)
        out = io.StringIO()
        cursor.copy_expert("copy (select * from psycopg2_copy order by id) to stdout", out)
    equal(out.getvalue() == rows, True)


def cancel(connection):
    timer = threading.Timer(0.5, connection.cancel)
    timer.start()
    with soon(), expect(errors.QueryCanceled):
        fetch(connection, "select pg_sleep(30)")
    timer.join()
    connection.rollback()
    equal(fetch(connection, "select 1"), [(1,)])


def error_in_a_transaction(connection):
    with connection.cursor() as cursor:
        cursor.execute("create temporary table psycopg2_kept (id integer)")
        cursor.execute("insert into psycopg2_kept values (1)")
        cursor.execute("savepoint before")
        with expect(errors.DivisionByZero):
            cursor.execute("select 1 / 0")
        with expect(errors.InFailedSqlTransaction):
            cursor.execute("select 2")
        cursor.execute("rollback to savepoint before")
    equal(fetch(connection, "select id from psycopg2_kept"), [(1,)])


def refusal(connection):
    """A refusal is an error like any other: the transaction fails, a savepoint brings it back."""
    equal(fetch(connection, "savepoint before; select 1"), [(1,)])
    with expect(errors.InsufficientPrivilege):
        fetch(connection, REFUSED)
    with expect(errors.InFailedSqlTransaction):
        fetch(connection, "select 2")
    equal(fetch(connection, "rollback to savepoint before; select 3"), [(3,)])
    connection.rollback()
    with expect(errors.InsufficientPrivilege):
        fetch(connection, f"select 1; {REFUSED}")
    connection.rollback()
    equal(fetch(connection, "select 4"), [(4,)])


def large_result(connection):
    rows = fetch(connection, "select n, repeat('x', 100) from generate_series(1, %s) as n", ROWS)
    equal((len(rows), rows[-1]), (ROWS, (ROWS, "x" * 100)))


def large_parameter(connection):
    equal(fetch(connection, "select length(%s), %s", PARAMETER, "end"), [(len(PARAMETER), "end")])


PARTS = [
    true_process_id,
    prepared_statements,
    server_side_cursor,
    copy_in_and_out,
    cancel,
    error_in_a_transaction,
    refusal,
    large_result,
    large_parameter,
]


def main():
    host, port, database, user = place(__doc__)
    connection = psycopg2.connect(host=host, port=port, dbname=database, user=user, password="unused", connect_timeout=10)
    for part in PARTS:
        part(connection)
        connection.rollback()
        done("psycopg2", part)
    connection.close()


if __name__ == "__main__":
    main()
