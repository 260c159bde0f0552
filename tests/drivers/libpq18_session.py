"""One session of libpq 18, through psycopg's binary package: a query, a cancel, and a query after it.

Usage: libpq18_session.py CONNECTION-STRING
"""

import sys
import threading
import time

import psycopg

assert psycopg.pq.version() >= 180000, psycopg.pq.version()

with psycopg.connect(sys.argv[1], autocommit=True, connect_timeout=10) as connection:
    assert connection.execute("select 1").fetchone() == (1,)
    cancel = threading.Timer(0.5, connection.cancel_safe)
    cancel.start()
    begun = time.monotonic()
    try:
        connection.execute("select pg_sleep(30)")
        sys.exit("the query was not cancelled")
    except psycopg.errors.QueryCanceled:
        assert time.monotonic() - begun < 10
    cancel.join()
    assert connection.execute("select 2").fetchone() == (2,)
