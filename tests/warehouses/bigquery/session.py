#!/usr/bin/env python3
"""A session of google-cloud-bigquery through the sidecar: session.py URL. Prints `ok bigquery PART` for each part."""

import io
import json
import sys
import time
import urllib.error
import urllib.request

from google.api_core.client_options import ClientOptions
from google.api_core.exceptions import BadRequest, Forbidden, NotFound
from google.cloud import bigquery
from google.cloud.bigquery import dbapi
from google.oauth2.credentials import Credentials

URL = sys.argv[1]
LARGE = "select x, rpad('', 100, 'x') as pad from unnest(generate_array(1, 100000)) as x"


def connect():
    """A client as anybody makes it: a token that is no secret and opens nothing."""
    return bigquery.Client(
        project="jaffle", location="US", credentials=Credentials("placeholder"), client_options=ClientOptions(api_endpoint=URL)
    )


client = connect()
in_analytics = bigquery.QueryJobConfig(default_dataset="jaffle.analytics")


def fetch(sql, **more):
    return [tuple(row) for row in client.query(sql, **more).result()]


def refused(call, *words):
    """The call fails at once with the client's own error for a lack of permission, which says the words."""
    begun = time.monotonic()
    try:
        call()
    except Forbidden as error:
        assert error.errors[0]["reason"] == "accessDenied", error.errors
        for word in ("tollhouse",) + words:
            assert word in error.message, (word, error.message)
        assert time.monotonic() - begun < 5, "it was tried again"
        return
    raise AssertionError("not refused")


def part(name, function):
    function()
    print(f"ok bigquery {name}")


def queries():
    assert fetch("select name from jaffle.analytics.customers order by id") == [("Ada",), ("Grace",), ("Edsger",)]
    assert fetch("select name from analytics.customers where id = 2") == [("Grace",)]
    assert fetch("select name from customers where id = 2", job_config=in_analytics) == [("Grace",)]


def without_a_job():
    """`jobs.query`, which answers with the rows."""
    assert [tuple(row) for row in client.query_and_wait("select 5 as a")] == [(5,)]
    cursor = dbapi.connect(client).cursor()
    cursor.execute("select name from analytics.customers where id = %(id)s", {"id": 3})
    assert [tuple(row) for row in cursor.fetchall()] == [("Edsger",)]


def large_result():
    rows = list(client.query(LARGE).result(page_size=20000))
    assert len(rows) == 100_000 and all(len(row[1]) == 100 for row in rows)


def parameters():
    config = bigquery.QueryJobConfig(query_parameters=[bigquery.ScalarQueryParameter("id", "INT64", 2)])
    assert fetch("select name from analytics.customers where id = @id", job_config=config) == [("Grace",)]


def dry_run():
    job = client.query("select name from analytics.customers", job_config=bigquery.QueryJobConfig(dry_run=True, use_query_cache=False))
    assert job.state == "DONE" and job.total_bytes_processed is not None


def definitions():
    client.query("create or replace table analytics.made as select 1 as a").result()
    assert client.query("insert into analytics.made values (2), (3)").result() is not None
    assert client.query("delete from analytics.made where a = 3").result().num_dml_affected_rows in (1, None)
    assert sorted(fetch("select a from analytics.made")) == [(1,), (2,)]


def tables():
    table = client.get_table("jaffle.analytics.made")
    assert [field.name for field in table.schema] == ["a"]
    table.description = "made here"
    client.update_table(table, ["description"])
    assert client.insert_rows_json(table, [{"a": 7}]) == []
    assert sorted(tuple(row) for row in client.list_rows(table)) == [(1,), (2,), (7,)]
    client.copy_table(table, "jaffle.analytics.copied").result()
    client.delete_table("jaffle.analytics.copied")
    assert "made" in {each.table_id for each in client.list_tables("jaffle.analytics")}
    assert "analytics" in {each.dataset_id for each in client.list_datasets()}


def upload():
    config = bigquery.LoadJobConfig(source_format="CSV", skip_leading_rows=1, autodetect=True)
    job = client.load_table_from_file(io.BytesIO(b"a\n1\n2\n"), "jaffle.analytics.loaded", job_config=config)
    assert job.result().output_rows == 2


def denied():
    refused(lambda: fetch("select * from analytics.salaries"), "audit record", "policy-deny-rule")
    refused(lambda: client.query_and_wait("select * from finance.budget"), "jaffle.finance.budget")
    refused(lambda: fetch("this is not sql"), "statement-opaque")
    refused(lambda: fetch("select 1", job_config=bigquery.QueryJobConfig(use_legacy_sql=True)), "statement-opaque")
    refused(lambda: fetch("select 1", job_config=bigquery.QueryJobConfig(destination="jaffle.finance.x")), "jaffle.finance.x")
    refused(lambda: fetch("select 1", job_config=bigquery.QueryJobConfig(create_session=True)), "sessions are not served")
    refused(lambda: client.query("select 1", project="elsewhere").result(), "project_id")
    refused(lambda: client.delete_table("jaffle.finance.budget"), "drop", "jaffle.finance.budget")
    refused(lambda: client.create_dataset("jaffle.finance"), "create")
    refused(lambda: client.extract_table("jaffle.analytics.customers", "gs://elsewhere/x.csv").result(), "gs://elsewhere/x.csv")
    refused(lambda: client.load_table_from_uri("gs://elsewhere/x.csv", "jaffle.analytics.x").result(), "gs://elsewhere/x.csv")
    refused(lambda: client.copy_table("jaffle.finance.budget", "jaffle.analytics.x").result(), "jaffle.finance.budget")
    refused(lambda: list(client.list_rows("jaffle.analytics.salaries", selected_fields=[bigquery.SchemaField("a", "INT64")])), "salaries")
    refused(lambda: client.load_table_from_file(io.BytesIO(b"1\n"), "jaffle.finance.x"), "jaffle.finance.x")
    assert fetch("select 1") == [(1,)]


def server_errors():
    try:
        fetch("select nothing_like_that from analytics.customers")
    except BadRequest as error:
        assert "nothing_like_that" in error.message, error
        return
    raise AssertionError("the server's own error was lost")


def not_found():
    try:
        client.get_table("jaffle.analytics.nowhere")
    except NotFound:
        return
    raise AssertionError("the server's own error was lost")


def cancelled():
    """The emulator has done a job when it answers, so that there is nothing left to end; but it takes the request."""
    job = client.query("select 1")
    assert job.cancel() and client.get_job(job.job_id).state == "DONE"


def ask(path, body=None, method=None, **headers):
    request = urllib.request.Request(URL + path, data=body, method=method, headers=headers)
    try:
        return urllib.request.urlopen(request).read().decode()
    except urllib.error.HTTPError as error:
        return error.read().decode()


def what_nobody_began():
    refused(lambda: client.get_job("somebody-elses-job"), "handle-unknown")
    assert "handle-unknown" in ask("/bigquery/v2/projects/jaffle/queries/somebody-elses-job?location=US")
    assert "handle-unknown" in ask("/upload/bigquery/v2/projects/jaffle/jobs?uploadType=resumable&upload_id=1", b"1", "PUT")
    assert "handle-unknown" in ask("/bigquery/v2/projects/jaffle/datasets/_hidden/tables/anon1/data")


def http_rules():
    assert "policy-denied" not in ask("/bigquery/v2/projects")
    for path in ("/bigquery/v2/projects/jaffle/jobs", "/discovery/v1/apis/bigquery/v2/rest"):
        assert "policy-denied" in ask(path), path
    for path in ("/batch/bigquery/v2", "/bigquery/v2/projects/jaffle//jobs", "/bigquery/v2/projects/jaffle/j%6fbs"):
        body = json.dumps({"query": "select 1", "useLegacySql": False}).encode()
        assert "request-malformed" in ask(path, body, **{"Content-Type": "application/json"}), path


for function in (
    queries, without_a_job, large_result, parameters, dry_run, definitions, tables, upload, denied, server_errors, not_found, cancelled,
    what_nobody_began, http_rules,
):
    part(function.__name__.replace("_", " "), function)
