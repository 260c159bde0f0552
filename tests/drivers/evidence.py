#!/usr/bin/env python3
"""Holds the audit log against what the drivers' sessions did: evidence.py EXECUTIONS.jsonl DRIVER...

EXECUTIONS.jsonl is what `tollhouse audit tail --format json` prints. Prints `ok audit EXPECTATION` for each that holds for
the drivers named, and exits with 1 if one does not.
"""

import hashlib
import json
import sys
from typing import NamedTuple


class Expected(NamedTuple):
    """Executions that must stand in the log: all fields but the first three are those of `audit tail`."""

    driver: str
    name: str
    times: int
    # The text that the server got, or what the record says of it.
    sql: str | None = None
    dbt: str | None = None
    verbs: list | None = None
    tables: list | None = None
    status: str = "completed"
    rows: int | None = None
    sqlstate: str | None = None

    def matches(self, execution):
        fields = {name: getattr(self, name) for name in ["dbt", "verbs", "tables", "status", "rows", "sqlstate"]}
        if self.sql is not None:
            fields["digest"] = hashlib.sha256(self.sql.encode()).hexdigest()
        return all(execution[name] == value for name, value in fields.items() if value is not None)


MANY = "select n, repeat('x', 100) from generate_series(1, {}) as n"
DENIED = "demo.finance.salaries"

EXPECTED = [
    Expected("psql", "rows copied in", 1, verbs=["COPY"], tables=["demo.drivers.psql_copy"], rows=20_000),
    Expected("psql", "rows of a cursor", 10, sql="FETCH FORWARD 1000 FROM _psql_cursor", rows=1000),
    Expected("psycopg2", "rows of a large result", 1, sql=MANY.format(100_000), rows=100_000),
    Expected("psycopg3", "rows of a large result", 1, sql=MANY.format("$1"), rows=100_000),
    Expected("psycopg3", "executions in pipelines", 2000, verbs=["INSERT"], tables=["demo.?.psycopg3_many"], rows=1),
    Expected("psycopg3", "skipped behind an error", 1, sql="insert into psycopg3_skipped values (1)", status="skipped"),
    Expected("asyncpg", "rows of a portal", 10, sql="select generate_series(1, $1)", rows=1000),
    Expected("asyncpg", "a refusal inside COPY", 1, status="denied", verbs=["COPY"], tables=[DENIED]),
    Expected("node", "rows of a portal", 5, sql="select generate_series(1, $1::integer) as n", rows=1000),
    Expected("adbc", "a dbt model inside COPY", 1, dbt="model.drivers.adbc", verbs=["COPY"], rows=1234),
    Expected("jdbc", "rows of a portal", 10, sql="select generate_series(1, 10000)", rows=1000),
    *[
        Expected(driver, f"cancelled by {driver}", 1, sql=f"select pg_sleep(30){end}", status="cancelled", sqlstate="57014")
        for driver, end in [("psql", ";"), ("psycopg2", "")]
    ],
]


def main(path, drivers):
    with open(path, encoding="utf-8") as file:
        executions = [json.loads(line) for line in file]
    failed = False
    for expected in EXPECTED:
        if expected.driver not in drivers:
            continue
        times = sum(map(expected.matches, executions))
        if times >= expected.times:
            print("ok audit", expected.driver, expected.name)
        else:
            print(f"FAILED audit: {expected} stands there {times} times", file=sys.stderr)
            failed = True
    verdicts = [execution["verdict"] for execution in executions if DENIED in execution["tables"]]
    if len(verdicts) >= len(drivers) and set(verdicts) == {"denied"}:
        print("ok audit every refusal")
    else:
        print(f"FAILED audit: {DENIED} was asked for {len(verdicts)} times, with the verdicts {set(verdicts)}", file=sys.stderr)
        failed = True
    sys.exit(failed)


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2:])
