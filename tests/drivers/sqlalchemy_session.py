#!/usr/bin/env python3
"""A session of SQLAlchemy on each of its dialects for psycopg2, psycopg 3 and asyncpg.

Usage: sqlalchemy_session.py HOST PORT [DATABASE [USER]]; prints `ok sqlalchemy DIALECT PART` for each, ends with 1 at the
first failure.
"""

import asyncio

import sqlalchemy
from sqlalchemy import Column, Integer, MetaData, Table, Text, func, insert, select, text
from sqlalchemy.exc import DBAPIError, ProgrammingError
from sqlalchemy.ext.asyncio import create_async_engine

from session import PARAMETER, REFUSED, ROWS, done, equal, expect, place


def created_and_reflected(connection):
    """Reflection reads the catalog; the definition that comes back is the one that was sent."""
    table = Table("sqlalchemy_table", MetaData(), Column("id", Integer, primary_key=True), Column("note", Text, index=True), schema="drivers")
    table.metadata.create_all(connection)
    reflected = Table("sqlalchemy_table", MetaData(), schema="drivers", autoload_with=connection)
    equal([(column.name, str(column.type), column.primary_key) for column in reflected.columns], [("id", "INTEGER", True), ("note", "TEXT", False)])
    equal([index.name for index in reflected.indexes], ["ix_drivers_sqlalchemy_table_note"])
    connection.execute(insert(table).returning(table.c.id), [{"id": n, "note": f"line {n}"} for n in range(5000)])
    equal(connection.scalar(select(func.count()).select_from(table).where(table.c.note.like("line 1%"))), 1111)
    table.metadata.drop_all(connection)


def savepoint(connection):
    with expect(DBAPIError, "22012"), connection.begin_nested():
        connection.execute(text("select 1 / 0"))
    equal(connection.scalar(text("select 3")), 3)


def refusal(connection):
    with expect(ProgrammingError, "42501"), connection.begin_nested():
        connection.execute(text(REFUSED))
    equal(connection.scalar(text("select 3")), 3)


def large_result(connection):
    rows = connection.execute(text("select generate_series(1, cast(:rows as integer))"), {"rows": ROWS})
    equal(sum(rows.scalars()), ROWS * (ROWS + 1) // 2)


def large_parameter(connection):
    equal(connection.scalar(text("select length(cast(:long as text))"), {"long": PARAMETER}), len(PARAMETER))


def streamed_result(connection):
    """A server-side cursor, a thousand rows at a time."""
    rows = connection.execution_options(yield_per=1000).execute(text("select generate_series(1, 10000)"))
    equal(sum(rows.scalars()), 50_005_000)


PARTS = [created_and_reflected, savepoint, refusal, large_result, large_parameter]


def url(dialect, where):
    host = {"host": where.host} if where.host.startswith("/") else {}
    return sqlalchemy.URL.create(
        f"postgresql+{dialect}", where.user, "unused", None if host else where.host, where.port, where.database, query=host
    )


def run(connection, dialect, parts):
    connection.execute(text("create schema if not exists drivers"))
    for part in parts:
        part(connection)
        done(f"sqlalchemy {dialect}", part)


def main():
    where = place(__doc__)
    for dialect in ["psycopg2", "psycopg"]:
        engine = sqlalchemy.create_engine(url(dialect, where))
        with engine.begin() as connection:
            run(connection, dialect, [*PARTS, streamed_result])
        engine.dispose()
    asyncio.run(main_async(where))


async def main_async(where):
    engine = create_async_engine(url("asyncpg", where))
    async with engine.begin() as connection:
        await connection.run_sync(run, "asyncpg", PARTS)
        total = 0
        async for number in (await connection.stream(text("select generate_series(1, 10000)"))).scalars():
            total += number
        equal(total, 50_005_000)
        done("sqlalchemy asyncpg", streamed_result)
    await engine.dispose()


if __name__ == "__main__":
    main()
