#!/usr/bin/env python3
"""A session of PyHive over HTTP through the sidecar: session.py HOST PORT. Prints `ok spark PART` for each part."""

import contextlib
import sys
import threading
import time

from pyhive import exc, hive
from TCLIService import ttypes
from thrift.transport import THttpClient

HOST, PORT = sys.argv[1], int(sys.argv[2])


def connect(path="/sql/protocolv1/o/0/demo", **more):
    """A connection as any client makes it: a placeholder for a login, which decides nothing."""
    transport = THttpClient.THttpClient(f"http://{HOST}:{PORT}{path}")
    transport.setCustomHeaders({"Authorization": "Basic cGxhY2Vob2xkZXI6dW51c2Vk"})
    return hive.connect(thrift_transport=transport, username="anybody", **more)


def fetch(sql, connection=None):
    cursor = (connection or connect(database="analytics")).cursor()
    cursor.execute(sql)
    rows = cursor.fetchall()
    cursor.close()
    return rows


def run(sql, connection=None):
    """Runs what has no rows."""
    cursor = (connection or connect()).cursor()
    cursor.execute(sql)
    cursor.close()


def refused(work, *words):
    """The work fails with the client's own error, which says the words."""
    try:
        work()
    except exc.OperationalError as error:
        status = error.args[0].status
        for word in ("tollhouse",) + words:
            assert word in status.errorMessage, (word, status)
        return status
    raise AssertionError("not refused")


def part(name, function):
    function()
    print(f"ok spark {name}")


def queries():
    assert fetch("select name from customers order by id") == [("Ada",), ("Grace",), ("Edsger",)]
    assert fetch("select current_user()") == [("dbt_runner",)]


def large_result():
    rows = fetch("select id, rpad('', 100, 'x') from range(50000)")
    assert len(rows) == 50_000 and all(len(row[1]) == 100 for row in rows)


def definitions():
    run("create table analytics.made (n int)")
    run("insert into analytics.made values (1), (2)")
    assert fetch("select sum(n) from made") == [(3,)]
    run("drop table analytics.made")


def denied():
    connection = connect()
    status = refused(lambda: fetch("select * from analytics.salaries", connection), "audit record", "policy-deny-rule")
    assert status.sqlState == "42501", status
    refused(lambda: fetch("select * from finance.budget", connection), "spark_catalog.finance.budget")
    refused(lambda: fetch("set spark.sql.variable.substitute = true", connection), "policy-denied")
    refused(lambda: fetch("this is not sql", connection), "statement-opaque")
    refused(lambda: fetch("select '${env:HOME}'", connection), "statement-opaque")
    # The connection goes on.
    assert fetch("select 1", connection) == [(1,)]


def names_follow_use():
    connection = connect()
    refused(lambda: fetch("select * from customers", connection), "default.customers")
    run("use analytics", connection)
    assert fetch("select count(*) from customers", connection) == [(3,)]
    run("use default", connection)
    refused(lambda: fetch("select * from customers", connection), "default.customers")


def listings():
    cursor = connect().cursor()
    client, session = cursor._connection.client, cursor._connection.sessionHandle
    reply = client.GetTables(ttypes.TGetTablesReq(sessionHandle=session, schemaName="analytics", tableName="%"))
    assert reply.status.statusCode == 0, reply
    rows = client.FetchResults(ttypes.TFetchResultsReq(operationHandle=reply.operationHandle, orientation=0, maxRows=100))
    assert "customers" in rows.results.columns[2].stringVal.values, rows
    token = client.GetDelegationToken(ttypes.TGetDelegationTokenReq(sessionHandle=session, owner="a", renewer="b"))
    assert token.status.statusCode == 3 and "request-malformed" in token.status.errorMessage, token


def server_errors():
    try:
        fetch("select nothing_like_that from customers")
    except exc.OperationalError as error:
        assert "nothing_like_that" in error.args[0].status.errorMessage, error
        return
    raise AssertionError("the server's own error was lost")


def cancelled():
    cursor = connect().cursor()
    cursor.execute("select count(*) from range(100000000) a cross join range(100000) b", async_=True)
    while cursor.poll().operationState not in (ttypes.TOperationState.RUNNING_STATE,):
        time.sleep(0.1)
    cursor.cancel()
    state = cursor.poll().operationState
    assert state == ttypes.TOperationState.CANCELED_STATE, state
    cursor.close()


def foreign_handles():
    cursor = connect().cursor()
    cursor.execute("select 1", async_=True)
    cursor._operationHandle.operationId.guid = b"0123456789abcdef"
    status = refused(cursor.poll, "handle-unknown")
    assert status.statusCode == ttypes.TStatusCode.ERROR_STATUS, status
    connection = connect()
    connection._sessionHandle.sessionId.guid = b"0123456789abcdef"
    refused(lambda: fetch("select 1", connection), "session-unknown")


def sessions_as_somebody_else():
    refused(lambda: connect(configuration={"hive.server2.proxy.user": "root"}), "root")
    refused(lambda: connect(path="/sql/protocolv1/o/0/demo?doAs=root"), "request-malformed")


def nothing_beside_a_use():
    """While names are about to lead elsewhere, nothing else runs in the session."""
    connection = connect()
    runs = connection.cursor()
    runs.execute("select count(*) from range(100000000) a cross join range(1000) b", async_=True)
    refused(lambda: run("use analytics", connection), "session-busy")
    runs.cancel()
    with contextlib.suppress(exc.OperationalError):
        runs.close()
    # The server may take a moment to say that it has ended.
    run("use analytics", connection)


part("queries", queries)
part("large result", large_result)
part("definitions", definitions)
part("refusals", denied)
part("use", names_follow_use)
part("listings", listings)
part("server errors", server_errors)
part("cancel", cancelled)
part("unknown handles", foreign_handles)
part("sessions as somebody else", sessions_as_somebody_else)
part("a use alone", nothing_beside_a_use)
