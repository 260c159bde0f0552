#!/usr/bin/env python3
"""A session of the Arrow driver, which dbt's Rust generation uses: every query arrives as a binary COPY around it.

Usage: adbc_session.py HOST PORT [DATABASE [USER]]; prints `ok adbc PART` for each, ends with 1 at the first failure.
"""

import threading
from urllib.parse import quote, urlencode

import pyarrow
from adbc_driver_manager import OperationalError, ProgrammingError
from adbc_driver_postgresql import dbapi

from session import PARAMETER, REFUSED, ROWS, done, equal, expect, place, soon

# As dbt writes it in front of a model's statement; tests/drivers_evidence.py looks for it in the audit log.
COMMENT = '/* {"app": "dbt", "dbt_version": "2.0.0", "profile_name": "drivers", "target_name": "dev", "node_id": "model.drivers.adbc"} */'


def fetch(connection, sql, *arguments):
    with connection.cursor() as cursor:
        cursor.execute(sql, arguments or None)
        return cursor.fetchall()


def query_of_a_dbt_model(connection):
    equal(fetch(connection, f"{COMMENT}\nselect n, n::text from generate_series(1, 1234) as n")[-1], (1234, "1234"))


def parameters(connection):
    equal(fetch(connection, "select $1::bigint + 2", 5), [(7,)])
    with connection.cursor() as cursor:
        cursor.execute("create temporary table adbc_many (id bigint, note text)")
        cursor.executemany("insert into adbc_many values ($1, $2)", [(n, f"line {n}") for n in range(200)])
    equal(fetch(connection, "select count(*), sum(id)::bigint from adbc_many"), [(200, 19_900)])


def ingestion(connection):
    """A binary COPY FROM STDIN."""
    table = pyarrow.table({"id": range(20_000), "note": [f"line {n}" for n in range(20_000)]})
    with connection.cursor() as cursor:
        equal(cursor.adbc_ingest("adbc_copy", table, mode="create", temporary=True), 20_000)
    equal(fetch(connection, "select count(*), max(note) from adbc_copy"), [(20_000, "line 9999")])


def cancel(connection):
    with connection.cursor() as cursor:
        timer = threading.Timer(0.5, cursor.adbc_cancel)
        timer.start()
        with soon(), expect(OperationalError, "57014"):
            cursor.execute("select 1 from pg_sleep(30)")
            cursor.fetchall()
        timer.join()
    connection.rollback()
    equal(fetch(connection, "select 1"), [(1,)])


def error_in_a_transaction(connection):
    """The driver sends nothing more into a failed transaction, savepoint or not: it believes ReadyForQuery."""
    for failing, error, sqlstate in [("select 1 / 0", dbapi.DataError, "22012"), (REFUSED, ProgrammingError, "42501")]:
        equal(fetch(connection, "select 1"), [(1,)])
        with expect(error, sqlstate):
            fetch(connection, failing)
        with expect(ProgrammingError), connection.cursor() as cursor:
            cursor.execute("select 2")
        connection.rollback()
        equal(fetch(connection, "select 3"), [(3,)])


def refusal(connection):
    """Of a query, and of an update, which the driver does not wrap."""
    for sql in [REFUSED, "update finance.salaries set employee = $1"]:
        with expect(ProgrammingError, "42501"), connection.cursor() as cursor:
            cursor.execute(sql, ["Ada"] if "$1" in sql else None)
        connection.rollback()
        equal(fetch(connection, "select 3"), [(3,)])


def large_result(connection):
    with connection.cursor() as cursor:
        cursor.execute(f"select n, repeat('x', 100) from generate_series(1, {ROWS}) as n")
        equal(cursor.fetch_arrow_table().num_rows, ROWS)


def large_parameter(connection):
    equal(fetch(connection, "select length($1::text)", PARAMETER), [(len(PARAMETER),)])


def catalog(connection):
    """What dbt asks the driver instead of writing the query itself."""
    with connection.cursor() as cursor:
        cursor.execute("create schema if not exists drivers")
        cursor.execute("create table drivers.adbc_listed (id integer)")
    schema = connection.adbc_get_table_schema("adbc_listed", db_schema_filter="drivers")
    equal(schema, pyarrow.schema([("id", pyarrow.int32())]))
    listed = connection.adbc_get_objects(depth="tables", db_schema_filter="drivers").read_all().to_pylist()
    equal("adbc_listed" in str(listed), True)


PARTS = [
    query_of_a_dbt_model,
    parameters,
    ingestion,
    cancel,
    error_in_a_transaction,
    refusal,
    large_result,
    large_parameter,
    catalog,
]


def main():
    where = place(__doc__)
    options = urlencode({"host": where.host, "port": where.port, "connect_timeout": 10})
    with dbapi.connect(f"postgresql://{quote(where.user)}:unused@/{quote(where.database)}?{options}") as connection:
        for part in PARTS:
            part(connection)
            connection.rollback()
            done("adbc", part)


if __name__ == "__main__":
    main()
