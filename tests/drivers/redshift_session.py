#!/usr/bin/env python3
"""A session of Redshift's driver, as far as PostgreSQL can stand in for Redshift.

Two things of the driver's are undone, both at the login: it sends startup parameters that PostgreSQL refuses, and cannot read
the version that Debian's PostgreSQL reports.

Usage: redshift_session.py HOST PORT [DATABASE [USER]]; prints `ok redshift PART` for each, ends with 1 at the first failure.
"""

import struct

import redshift_connector
from redshift_connector.core import Connection

from session import PARAMETER, REFUSED, ROWS, done, equal, place

PROTOCOL = struct.pack("!i", 196_608)  # 3.0


class OverPostgres(Connection):
    """A connection that logs in as PostgreSQL expects it."""

    @property
    def _write(self):
        return self._write_login

    @_write.setter
    def _write(self, write):
        self._write_as_is = write

    def _write_login(self, message):
        if not message.startswith(PROTOCOL):
            # The length goes with the startup message, which is the only one whose length is written on its own.
            return None if len(message) == 4 and not hasattr(self, "_cursor") else self._write_as_is(message)
        words = bytes(message[4:-2]).split(b"\0")
        known = [pair for pair in zip(words[::2], words[1::2]) if pair[0] in (b"user", b"database", b"application_name")]
        kept = PROTOCOL + b"".join(name + b"\0" + value + b"\0" for name, value in known) + b"\0"
        return self._write_as_is(struct.pack("!i", len(kept) + 4) + kept)

    def handle_PARAMETER_STATUS(self, data, statement):
        # What Redshift reports since it left PostgreSQL.
        super().handle_PARAMETER_STATUS(b"server_version\0008.0.2\0" if data.startswith(b"server_version\0") else data, statement)


def fetch(connection, sql, *arguments):
    with connection.cursor() as cursor:
        cursor.execute(sql, arguments)
        return list(map(list, cursor.fetchall()))


def fails(connection, sql, sqlstate):
    """The driver raises one class for all errors; their fields are its argument."""
    try:
        fetch(connection, sql)
    except redshift_connector.ProgrammingError as error:
        equal(error.args[0]["C"], sqlstate)
    else:
        raise AssertionError(f"{sqlstate} did not arrive")


def prepared_statements(connection):
    for n in range(10):
        equal(fetch(connection, "select cast(%s as integer) + 2", n), [[n + 2]])


def many_executions(connection):
    with connection.cursor() as cursor:
        cursor.execute("create temporary table redshift_many (id integer, note varchar(20))")
        cursor.executemany("insert into redshift_many values (%s, %s)", [(n, f"line {n}") for n in range(200)])
    equal(fetch(connection, "select count(*), max(note) from redshift_many"), [[200, "line 99"]])


def error_in_a_transaction(connection):
    in_transaction(connection, "select 1 / 0", "22012")


def refusal(connection):
    """A refusal is an error like any other: the transaction fails, a rollback ends it."""
    in_transaction(connection, REFUSED, "42501")


def in_transaction(connection, failing, sqlstate):
    equal(fetch(connection, "select 1"), [[1]])
    fails(connection, failing, sqlstate)
    fails(connection, "select 2", "25P02")
    connection.rollback()
    equal(fetch(connection, "select 3"), [[3]])


def large_result(connection):
    rows = fetch(connection, "select n, repeat('x', 100) from generate_series(1, %s) as n", ROWS)
    equal((len(rows), rows[-1]), (ROWS, [ROWS, "x" * 100]))


def large_parameter(connection):
    equal(fetch(connection, "select length(cast(%s as text))", PARAMETER), [[len(PARAMETER)]])


PARTS = [prepared_statements, many_executions, error_in_a_transaction, refusal, large_result, large_parameter]


def main():
    host, port, database, user = place(__doc__)
    socket = {"unix_sock": f"{host}/.s.PGSQL.{port}"} if host.startswith("/") else {"host": host, "port": port}
    connection = OverPostgres(user=user, password="unused", database=database, ssl=False, timeout=60, **socket)
    for part in PARTS:
        part(connection)
        connection.rollback()
        done("redshift", part)
    connection.close()


if __name__ == "__main__":
    main()
