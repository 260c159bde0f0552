#!/usr/bin/env python3
"""A session of psycopg2: prepared statements, COPY both ways, a cancel, an error inside a transaction.

Usage: psycopg2_session.py HOST PORT [DATABASE [USER]]; prints `ok NAME` for each, exits non-zero at the first failure.
"""

import io
import sys
import threading
import time

import psycopg2
from psycopg2 import errors


def connect(host, port, database="demo", user="dbt_runner"):
    return psycopg2.connect(host=host, port=port, dbname=database, user=user, password="unused", connect_timeout=10)


def equal(actual, expected):
    if actual != expected:
        raise AssertionError(f"expected {expected!r}, got {actual!r}")


def fetch(connection, sql, *arguments):
    with connection.cursor() as cursor:
        cursor.execute(sql, arguments)
        return cursor.fetchall()


def prepared_statements(connection):
    with connection.cursor() as cursor:
        cursor.execute("prepare add_two(integer) as select $1 + 2")
    equal(fetch(connection, "execute add_two(%s)", 5), [(7,)])
    equal(fetch(connection, "execute add_two(%s)", 7), [(9,)])
    connection.commit()


def copy_in_and_out(connection):
    rows = "".join(f"{n}\tline {n}\n" for n in range(20_000))
    with connection.cursor() as cursor:
        cursor.execute("create temporary table psycopg2_copy (id integer, note text)")
        cursor.copy_expert("copy psycopg2_copy from stdin", io.StringIO(rows))
        equal(cursor.rowcount, 20_000)
        out = io.StringIO()
        cursor.copy_expert("copy (select * from psycopg2_copy order by id) to stdout", out)
    equal(out.getvalue() == rows, True)
    connection.rollback()


def cancel(connection):
    started = time.monotonic()
    timer = threading.Timer(0.5, connection.cancel)
    timer.start()
    try:
        fetch(connection, "select pg_sleep(30)")
    except errors.QueryCanceled:
        pass
    else:
        raise AssertionError("the query ran to its end")
    finally:
        timer.join()
    equal(time.monotonic() - started < 15, True)
    connection.rollback()
    equal(fetch(connection, "select 1"), [(1,)])
    connection.rollback()


def error_in_transaction(connection):
    try:
        fetch(connection, "select 1 / 0")
    except errors.DivisionByZero:
        pass
    else:
        raise AssertionError("the error did not arrive")
    try:
        fetch(connection, "select 2")
    except errors.InFailedSqlTransaction:
        pass
    else:
        raise AssertionError("the transaction was not aborted")
    connection.rollback()
    equal(fetch(connection, "select 3"), [(3,)])
    connection.rollback()


def true_process_id(connection):
    equal(fetch(connection, "select pg_backend_pid()"), [(connection.info.backend_pid,)])
    connection.rollback()


def server_side_cursor(connection):
    with connection.cursor(name="many_rows") as cursor:
        cursor.itersize = 1000
        cursor.execute("select generate_series(1, 10000)")
        equal(sum(row[0] for row in cursor), 50_005_000)
    connection.rollback()


def main(arguments):
    connection = connect(*arguments)
    for session in [prepared_statements, copy_in_and_out, cancel, error_in_transaction, true_process_id, server_side_cursor]:
        session(connection)
        print("ok psycopg2", session.__name__.replace("_", " "))
    connection.close()


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(sys.argv[1:])
