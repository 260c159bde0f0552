#!/usr/bin/env python3
"""A session of psycopg 3, whose wheel brings a libpq of its own, newer than Debian's.

Usage: psycopg3_session.py HOST PORT [DATABASE [USER]]; prints `ok psycopg3 PART` for each, ends with 1 at the first failure.
"""

import logging
import threading

import psycopg
from psycopg import errors

from session import PARAMETER, REFUSED, ROWS, done, equal, expect, place, soon


def prepared_statements(connection):
    """Named server-side statements: Parse once, then Bind and Execute; enough of them to be evicted and closed."""
    for n in range(10):
        row = connection.execute("select %s::integer + 2", (n,), prepare=True).fetchone()
        equal(row, (n + 2,))
    for n in range(150):
        equal(connection.execute(f"select %s::integer * {n}", (2,), prepare=True).fetchone(), (2 * n,))


def binary_results(connection):
    with connection.cursor(binary=True) as cursor:
        cursor.execute("select n, n::text, null::date from generate_series(1, 3) as n where n > %s", (1,))
        equal(cursor.fetchall(), [(2, "2", None), (3, "3", None)])


def server_side_cursor(connection):
    with connection.cursor(name="many_rows") as cursor:
        cursor.itersize = 1000
        cursor.execute("select generate_series(1, %s)", (10_000,))
        equal(sum(row[0] for row in cursor), 50_005_000)


def rows_as_they_come(connection):
    """libpq's single-row and chunked-rows modes."""
    for size in [1, 100]:
        with connection.cursor() as cursor:
            rows = cursor.stream("select generate_series(1, %s)", (10_000,), size=size)
            equal(sum(row[0] for row in rows), 50_005_000)


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


def copy_given_up(connection):
    """The client fails its own COPY: CopyFail, and the session lives on."""
    connection.execute("create temporary table psycopg3_given_up (id integer)")
    connection.commit()
    with expect(ZeroDivisionError), connection.cursor().copy("copy psycopg3_given_up from stdin") as copy:
        copy.write_row((1,))
        raise ZeroDivisionError
    connection.rollback()
    equal(connection.execute("select count(*) from psycopg3_given_up").fetchone(), (0,))


def copy_refused_by_the_server(connection):
    """Data that the server cannot read ends the COPY while the client still sends."""
    connection.execute("create temporary table psycopg3_unread (id integer)")
    connection.execute("savepoint before")
    with expect(errors.InvalidTextRepresentation), connection.cursor().copy("copy psycopg3_unread from stdin") as copy:
        for _ in range(2000):
            copy.write("not a number\n" * 100)
    connection.execute("rollback to savepoint before")
    equal(connection.execute("select count(*) from psycopg3_unread").fetchone(), (0,))


def cancel(connection):
    """Both of libpq's ways: the old one in plain text, the new one encrypted as the session is."""
    for ask in [connection.cancel, connection.cancel_safe]:
        timer = threading.Timer(0.5, ask)
        timer.start()
        with soon(), expect(errors.QueryCanceled):
            connection.execute("select pg_sleep(30)")
        timer.join()
        connection.rollback()
        equal(connection.execute("select 1").fetchone(), (1,))


def error_in_a_transaction(connection):
    with expect(errors.DivisionByZero):
        connection.execute("select 1 / 0")
    with expect(errors.InFailedSqlTransaction):
        connection.execute("select 2")
    connection.rollback()
    with connection.transaction():
        with connection.transaction():
            with expect(errors.DivisionByZero):
                connection.execute("select 1 / 0")
            raise psycopg.Rollback
        equal(connection.execute("select 3").fetchone(), (3,))


def refusal(connection):
    """A refusal is an error like any other: the transaction fails, a savepoint brings it back."""
    for prepare in [False, True]:
        connection.execute("savepoint before")
        with expect(errors.InsufficientPrivilege):
            connection.execute(REFUSED, prepare=prepare)
        with expect(errors.InFailedSqlTransaction):
            connection.execute("select 2")
        connection.execute("rollback to savepoint before")
        equal(connection.execute("select 3").fetchone(), (3,))


def large_result(connection):
    rows = connection.execute("select n, repeat('x', 100) from generate_series(1, %s) as n", (ROWS,)).fetchall()
    equal((len(rows), rows[-1]), (ROWS, (ROWS, "x" * 100)))


def large_parameter(connection):
    row = connection.execute("select length(%s::text), %s::text", (PARAMETER, "end")).fetchone()
    equal(row, (len(PARAMETER), "end"))


def pipeline(connection):
    """Many statements before the first reply; each reply still belongs to its statement."""
    with connection.pipeline():
        cursors = [connection.execute("select %s::integer", (n,)) for n in range(200)]
    equal([cursor.fetchone()[0] for cursor in cursors], list(range(200)))


def large_pipeline(connection):
    """More, both ways, than sockets and buffers hold: neither direction may wait for the other."""
    rows = [(n, "x" * 10_000) for n in range(2000)]
    with connection.pipeline(), connection.cursor() as cursor:
        cursor.execute("create temporary table psycopg3_many (id integer, note text)")
        cursor.executemany("insert into psycopg3_many values (%s, %s) returning *", rows, returning=True)
    equal(connection.execute("select count(*), sum(id) from psycopg3_many").fetchone(), (2000, 1_999_000))


def error_in_a_pipeline(connection):
    """What follows an error up to the next Sync is skipped, and only that; a refusal is such an error."""
    connection.autocommit = True
    connection.execute("create temporary table psycopg3_skipped (id integer)")
    for failing, error in [("select 1 / 0", errors.DivisionByZero), (REFUSED, errors.InsufficientPrivilege)]:
        with connection.pipeline():
            before = connection.execute("select 1")
            with expect(error), connection.pipeline():
                connection.execute(failing)
                connection.execute("insert into psycopg3_skipped values (1)")
            after = connection.execute("select count(*) from psycopg3_skipped")
        equal((before.fetchone(), after.fetchone()), ((1,), (0,)))
    connection.autocommit = False


def notice_and_notification(connection):
    notices = []
    connection.add_notice_handler(lambda notice: notices.append(notice.severity))
    connection.execute("drop table if exists no_such_table")
    connection.commit()
    equal(notices, ["NOTICE"])
    connection.autocommit = True
    connection.execute("listen psycopg3_channel")
    connection.execute("notify psycopg3_channel, 'heard'")
    heard = next(connection.notifies(timeout=10))
    equal((heard.payload, heard.pid), ("heard", connection.info.backend_pid))
    connection.autocommit = False


PARTS = [
    prepared_statements,
    binary_results,
    server_side_cursor,
    rows_as_they_come,
    copy_in_and_out,
    copy_given_up,
    copy_refused_by_the_server,
    cancel,
    error_in_a_transaction,
    refusal,
    large_result,
    large_parameter,
    pipeline,
    large_pipeline,
    error_in_a_pipeline,
    notice_and_notification,
]


def main():
    # A pipeline that ends in an error, as one here does on purpose, is logged as a warning besides being raised.
    logging.getLogger("psycopg").setLevel(logging.ERROR)
    host, port, database, user = place(__doc__)
    with psycopg.connect(host=host, port=port, dbname=database, user=user, password="unused", connect_timeout=10) as connection:
        for part in PARTS:
            part(connection)
            connection.rollback()
            done("psycopg3", part)
    version = psycopg.pq.version()
    done("psycopg3", f"libpq {version // 10_000}.{version % 10_000}")


if __name__ == "__main__":
    main()
