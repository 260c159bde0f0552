#!/usr/bin/env python3
"""A session of asyncpg, which speaks the protocol itself: named statements, binary formats, portals with row limits.

Usage: asyncpg_session.py HOST PORT [DATABASE [USER]]; prints `ok asyncpg PART` for each, ends with 1 at the first failure.
"""

import asyncio
import io

import asyncpg

from session import PARAMETER, REFUSED, ROWS, done, equal, expect, place, soon


async def prepared_statements(connection):
    statement = await connection.prepare("select $1::integer + 2")
    equal([await statement.fetchval(n) for n in range(10)], list(range(2, 12)))
    # Enough texts for the driver's cache of 100 statements to close some.
    for n in range(150):
        equal(await connection.fetchval(f"select $1::integer * {n}", 2), 2 * n)


async def types_looked_up(connection):
    """For a type that it does not know the driver asks the catalog, with a recursive query of its own."""
    await connection.execute("create type pg_temp.mood as enum ('calm', 'wild'); create type pg_temp.pair as (left_mood mood, right_number integer)")
    equal(tuple(await connection.fetchval("select row('calm', 3)::pg_temp.pair")), ("calm", 3))


async def cursor(connection):
    """A portal that is executed a thousand rows at a time."""
    async with connection.transaction():
        total = 0
        async for row in connection.cursor("select generate_series(1, $1)", 10_000, prefetch=1000):
            total += row[0]
        equal(total, 50_005_000)


async def many_executions(connection):
    """executemany pipelines Bind and Execute."""
    await connection.execute("create temporary table asyncpg_many (id integer, note text)")
    await connection.executemany("insert into asyncpg_many values ($1, $2)", [(n, f"line {n}") for n in range(2000)])
    equal(await connection.fetchval("select count(*) from asyncpg_many"), 2000)


async def copy_in_and_out(connection):
    await connection.execute("create temporary table asyncpg_copy (id integer, note text)")
    rows = [(n, f"line {n}") for n in range(20_000)]
    equal(await connection.copy_records_to_table("asyncpg_copy", records=rows), "COPY 20000")
    out = io.BytesIO()
    await connection.copy_from_query("select * from asyncpg_copy where id >= $1 order by id", 0, output=out)
    equal(out.getvalue() == "".join(f"{n}\t{note}\n" for n, note in rows).encode(), True)


async def cancel(connection):
    with soon():
        with expect(TimeoutError):
            await connection.fetch("select pg_sleep(30)", timeout=0.5)
        equal(await connection.fetchval("select 1"), 1)


async def error_in_a_transaction(connection):
    async with connection.transaction():
        with expect(asyncpg.DivisionByZeroError):
            async with connection.transaction():
                await connection.fetch("select 1 / 0")
        equal(await connection.fetchval("select 3"), 3)
        with expect(asyncpg.InFailedSQLTransactionError):
            async with connection.transaction():
                with expect(asyncpg.DivisionByZeroError):
                    await connection.execute("select 1 / 0")
                await connection.fetch("select 2")


async def refusal(connection):
    """A refusal is an error like any other: the transaction fails, a savepoint brings it back."""

    async def prepared(sql):
        await (await connection.prepare(sql)).fetch()

    async with connection.transaction():
        for run in [connection.fetch, prepared, connection.execute]:
            with expect(asyncpg.InsufficientPrivilegeError):
                async with connection.transaction():
                    await run(REFUSED)
        equal(await connection.fetchval("select 3"), 3)
    with expect(asyncpg.InsufficientPrivilegeError):
        await connection.copy_from_query(REFUSED, output=io.BytesIO())
    equal(await connection.fetchval("select 4"), 4)


async def large_result(connection):
    rows = await connection.fetch("select n, repeat('x', 100) from generate_series(1, $1) as n", ROWS)
    equal((len(rows), tuple(rows[-1])), (ROWS, (ROWS, "x" * 100)))


async def large_parameter(connection):
    equal(tuple(await connection.fetchrow("select length($1::text), $2::text", PARAMETER, "end")), (len(PARAMETER), "end"))


async def reset(connection):
    """What a pool sends between its clients: locks, cursors, LISTEN and settings are undone."""
    await connection.execute("set statement_timeout = 12345")
    await connection.reset()
    equal(await connection.fetchval("show statement_timeout"), "0")


PARTS = [
    prepared_statements,
    types_looked_up,
    cursor,
    many_executions,
    copy_in_and_out,
    cancel,
    error_in_a_transaction,
    refusal,
    large_result,
    large_parameter,
    reset,
]


async def main():
    host, port, database, user = place(__doc__)
    connection = await asyncpg.connect(host=host, port=port, database=database, user=user, password="unused", timeout=10)
    for part in PARTS:
        await part(connection)
        done("asyncpg", part)
    await connection.close()


if __name__ == "__main__":
    asyncio.run(main())
