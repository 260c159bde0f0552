#!/usr/bin/env python3
"""A session of psycopg 3: prepared statements, COPY both ways, a cancel, an error inside a transaction, pipelines.

Usage: psycopg3_session.py HOST PORT [DATABASE [USER]]; prints `ok NAME` for each, exits non-zero at the first failure.
"""

import logging
import sys
import threading
import time

import psycopg
from psycopg import errors


def connect(host, port, database="demo", user="dbt_runner"):
    return psycopg.connect(host=host, port=port, dbname=database, user=user, password="unused", connect_timeout=10)


def equal(actual, expected):
    if actual != expected:
        raise AssertionError(f"expected {expected!r}, got {actual!r}")


def expect_error(expected, connection, sql):
    try:
        connection.execute(sql)
    except expected:
        return
    raise AssertionError(f"{expected.__name__} did not arrive for {sql}")


def prepared_statements(connection):
    """Named server-side statements: Parse once, then Bind and Execute; enough of them to be evicted and closed."""
    for n in range(10):
        row = connection.execute("select %s::integer + 2", (n,), prepare=True).fetchone()
        equal(row, (n + 2,))
    for n in range(150):
        equal(connection.execute(f"select %s::integer * {n}", (2,), prepare=True).fetchone(), (2 * n,))
    connection.commit()


def binary_results(connection):
    with connection.cursor(binary=True) as cursor:
        cursor.execute("select n, n::text, null::date from generate_series(1, 3) as n where n > %s", (1,))
        equal(cursor.fetchall(), [(2, "2", None), (3, "3", None)])
    connection.rollback()


def copy_in_and_out(connection):
    with connection.cursor() as cursor:
        cursor.execute("create temporary table psycopg3_copy (id integer, note text)")
        with cursor.copy("copy psycopg3_copy from stdin") as copy:
            for n in range(20_000):
                copy.write_row((n, f"line {n}"))
        equal(cursor.rowcount, 20_000)
        with cursor.copy("copy (select * from psycopg3_copy order by id) to stdout (format binary)") as copy:
            copy.set_types(["int4", "text"])
            rows = list(copy.rows())
    equal(rows[0] + rows[-1] + (len(rows),), (0, "line 0", 19_999, "line 19999", 20_000))
    connection.rollback()


def copy_given_up(connection):
    """The client fails its own COPY: CopyFail, and the session lives on."""
    connection.execute("create temporary table psycopg3_copy (id integer)")
    connection.commit()
    try:
        with connection.cursor().copy("copy psycopg3_copy from stdin") as copy:
            copy.write_row((1,))
            raise ZeroDivisionError
    except ZeroDivisionError:
        pass
    connection.rollback()
    equal(connection.execute("select count(*) from psycopg3_copy").fetchone(), (0,))
    connection.execute("drop table psycopg3_copy")
    connection.commit()


def cancel(connection):
    started = time.monotonic()
    timer = threading.Timer(0.5, connection.cancel)
    timer.start()
    expect_error(errors.QueryCanceled, connection, "select pg_sleep(30)")
    timer.join()
    equal(time.monotonic() - started < 15, True)
    connection.rollback()
    equal(connection.execute("select 1").fetchone(), (1,))
    connection.rollback()


def error_in_transaction(connection):
    expect_error(errors.DivisionByZero, connection, "select 1 / 0")
    expect_error(errors.InFailedSqlTransaction, connection, "select 2")
    connection.rollback()
    with connection.transaction():
        try:
            with connection.transaction():
                expect_error(errors.DivisionByZero, connection, "select 1 / 0")
                raise psycopg.Rollback
        finally:
            equal(connection.execute("select 3").fetchone(), (3,))


def pipeline(connection):
    """Many statements before the first reply; each reply still belongs to its statement."""
    with connection.pipeline():
        cursors = [connection.execute("select %s::integer", (n,)) for n in range(200)]
    equal([cursor.fetchone()[0] for cursor in cursors], list(range(200)))
    connection.rollback()


def error_in_pipeline(connection):
    """What follows an error up to the next Sync is skipped, and only that."""
    connection.autocommit = True
    connection.execute("create temporary table psycopg3_skipped (id integer)")
    with connection.pipeline():
        before = connection.execute("select 1")
        try:
            with connection.pipeline():
                connection.execute("select 1 / 0")
                connection.execute("insert into psycopg3_skipped values (1)")
        except errors.DivisionByZero:
            pass
        else:
            raise AssertionError("the error did not arrive")
        after = connection.execute("select count(*) from psycopg3_skipped")
    equal((before.fetchone(), after.fetchone()), ((1,), (0,)))
    connection.execute("drop table psycopg3_skipped")
    connection.autocommit = False


def notice_and_notification(connection):
    notices = []
    connection.add_notice_handler(lambda notice: notices.append(notice.severity))
    connection.execute("drop table if exists no_such_table")
    connection.commit()
    equal(notices, ["NOTICE"])
    equal(connection.execute("select pg_backend_pid()").fetchone(), (connection.info.backend_pid,))
    connection.rollback()


SESSIONS = [
    prepared_statements,
    binary_results,
    copy_in_and_out,
    copy_given_up,
    cancel,
    error_in_transaction,
    pipeline,
    error_in_pipeline,
    notice_and_notification,
]


def main(arguments):
    # A pipeline that ends in an error, as one here does on purpose, is logged as a warning besides being raised.
    logging.getLogger("psycopg").setLevel(logging.ERROR)
    with connect(*arguments) as connection:
        for session in SESSIONS:
            session(connection)
            print("ok psycopg3", session.__name__.replace("_", " "))


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(sys.argv[1:])
