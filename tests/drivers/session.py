"""What the sessions of the Python drivers have in common: where to connect, what to expect, what to print."""

import sys
import time
from contextlib import contextmanager
from typing import NamedTuple

# Granted to nobody who runs a session: tests/drivers.sh has either the policy or PostgreSQL refuse it.
REFUSED = "select * from finance.salaries"

ROWS = 100_000
PARAMETER = "tollhouse" * 600_000  # over 5 MB


class Place(NamedTuple):
    """Where a session connects to."""

    host: str
    port: int
    database: str = "demo"
    user: str = "dbt_runner"


def equal(actual, expected):
    """Fails unless the two are equal."""
    if actual != expected:
        raise AssertionError(f"expected {expected!r:.200}, got {actual!r:.200}")


@contextmanager
def expect(error, sqlstate=None):
    """Fails unless what is inside raises `error`, and that with `sqlstate` where the driver tells it."""
    try:
        yield
    except error as raised:
        if sqlstate is not None:
            # SQLAlchemy keeps the driver's own error in `orig`.
            driver_error = getattr(raised, "orig", raised)
            equal(getattr(driver_error, "sqlstate", None) or getattr(driver_error, "pgcode", None), sqlstate)
    else:
        raise AssertionError(f"{error.__name__} did not arrive")


@contextmanager
def soon():
    """Fails if what is inside, which cancels a query of 30 s, takes 15 s."""
    started = time.monotonic()
    yield
    equal(time.monotonic() - started < 15, True)


def done(driver, part):
    """Says that a part of a session has passed; `part` is its function, or its name."""
    print("ok", driver, getattr(part, "__name__", part).replace("_", " "), flush=True)


def place(usage):
    """The place that the command line names: HOST PORT [DATABASE [USER]]."""
    if len(sys.argv) < 3:
        sys.exit(usage)
    host, port, *rest = sys.argv[1:]
    return Place(host, int(port), *rest)
