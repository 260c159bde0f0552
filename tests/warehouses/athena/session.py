#!/usr/bin/env python3
"""A session of PyAthena and boto3 through the sidecar: session.py HOST PORT. Prints `ok athena PART` for each part."""

import sys

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError
from pyathena import connect
from pyathena.error import DatabaseError

HOST, PORT = sys.argv[1], int(sys.argv[2])
# Keys that are nobody's: the sidecar signs.
PLACE = {
    "endpoint_url": f"http://{HOST}:{PORT}",
    "region_name": "eu-central-1",
    "aws_access_key_id": "anybody",
    "aws_secret_access_key": "unused",
}
ATHENA = boto3.client("athena", config=Config(retries={"mode": "legacy", "max_attempts": 3}), **PLACE)
STAGING = "s3://staging/results/"


def start(sql, location=STAGING, **more):
    context = {"Catalog": "awsdatacatalog", "Database": "analytics"}
    return ATHENA.start_query_execution(
        QueryString=sql, QueryExecutionContext=context, ResultConfiguration={"OutputLocation": location}, **more
    )["QueryExecutionId"]


def refused(code, call, *words):
    """The call fails with the client's own error of that code, at the first try."""
    try:
        call()
    except ClientError as error:
        assert error.response["Error"]["Code"] == code, error
        assert error.response["ResponseMetadata"]["RetryAttempts"] == 0, error
        for word in ("tollhouse",) + words:
            assert word in str(error), (word, str(error))
        return
    raise AssertionError("not refused")


def part(name, function):
    function()
    print(f"ok athena {name}")


def queries():
    cursor = connect(s3_staging_dir=STAGING, schema_name="analytics", poll_interval=0.1, **PLACE).cursor()
    cursor.execute("select name from customers")
    assert cursor.query_id and cursor.fetchall() == []


def parameters():
    assert start("select name from customers where id = ?", ExecutionParameters=["1"])
    refused("InvalidRequestException", lambda: start("select ?", ExecutionParameters=["(select max(a) from salaries)"]), "literal")


def followed():
    execution = start("select 1")
    assert ATHENA.get_query_execution(QueryExecutionId=execution)["QueryExecution"]["Status"]["State"] == "SUCCEEDED"
    assert ATHENA.get_query_results(QueryExecutionId=execution)["ResultSet"]["Rows"] == []
    nobodys = "00000000-0000-4000-8000-000000000000"
    refused("InvalidRequestException", lambda: ATHENA.get_query_execution(QueryExecutionId=nobodys), "handle-unknown")


def stopped():
    execution = start("select 'stopped'")
    ATHENA.stop_query_execution(QueryExecutionId=execution)


def denied():
    refused("AccessDeniedException", lambda: start("select * from salaries"), "policy-deny-rule", "audit record")
    refused("AccessDeniedException", lambda: start("select * from finance.budget"), "awsdatacatalog.finance.budget")
    refused("AccessDeniedException", lambda: start("select 1", location="s3://attacker/"), "s3://attacker/")
    refused("AccessDeniedException", lambda: start("this is not sql"), "statement-opaque")
    refused("AccessDeniedException", lambda: start("select 1", WorkGroup="other"), "work_group")
    refused("AccessDeniedException", lambda: ATHENA.create_work_group(Name="mine"), "policy-denied")
    cursor = connect(s3_staging_dir=STAGING, schema_name="analytics", poll_interval=0.1, **PLACE).cursor()
    try:
        cursor.execute("select * from salaries")
    except DatabaseError as error:
        assert "AccessDeniedException" in str(error) and "policy-deny-rule" in str(error), error
    else:
        raise AssertionError("not refused")
    assert start("select 1")


def catalog():
    assert "DataCatalogsSummary" in ATHENA.list_data_catalogs()
    assert ATHENA.list_databases(CatalogName="AwsDataCatalog")["DatabaseList"] is not None
    refused("AccessDeniedException", lambda: ATHENA.list_databases(CatalogName="other"), "other.information_schema.schemata")


def http_rules():
    assert ATHENA.list_query_executions()["QueryExecutionIds"]


part("queries", queries)
part("parameters", parameters)
part("executions", followed)
part("stop", stopped)
part("refusals", denied)
part("catalog", catalog)
part("http rules", http_rules)
