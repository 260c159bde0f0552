#!/usr/bin/env python3
"""AWS as dbt-athena sees it: server.py PORT ISSUER CA SEEN READY. moto plays Athena, Glue, S3, STS and IAM; it checks signatures.

moto runs no SQL. What dbt looks for afterwards is put there by hand: a statement that makes a table or view puts it into Glue, and
the count that a test asks for is none. What Athena was asked to run, by which keys, is written to SEEN.
"""

import json
import re
import sys
import time
import urllib.request
from pathlib import Path

import boto3
from moto.athena.models import AthenaBackend, QueryResults
from moto.athena.responses import AthenaResponse
from moto.glue.models import glue_backends
from moto.server import ThreadedMotoServer
from moto.sts.models import sts_backends

sys.path.insert(0, "tests/identity")
from aws import ACCOUNT, REGION, TRUST_POLICY, verify_web_identity  # noqa: E402
from judge import Verifier  # noqa: E402

MADE = re.compile(r'create\s+(?:or\s+replace\s+)?(external\s+)?(table|view)\s+(?:if\s+not\s+exists\s+)?(["`\w.]+)', re.IGNORECASE)


def allow(*actions):
    return json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": list(actions), "Resource": "*"}]})


def watch(seen):
    """Writes down what is asked to run, and by whose keys."""
    start, results = AthenaResponse.start_query_execution, AthenaBackend.get_query_results

    def started(self):
        sql = self._get_param("QueryString")
        key = re.search(r"Credential=([^/]+)/", self.headers.get("Authorization", ""))[1]
        role = next((role.role_arn for role in sts_backends[ACCOUNT]["aws"].assumed_roles if role.access_key_id == key), None)
        answer = start(self)
        seen.write(json.dumps({"sql": sql, "role": role, "query_id": json.loads(answer)["QueryExecutionId"]}) + "\n")
        seen.flush()
        put_into_glue(sql)
        return answer

    def counted(self, exec_id):
        if re.search(r"\bas failures\b", self.executions[exec_id].query):
            names = ("failures", "should_warn", "should_error")
            kinds = ("bigint", "boolean", "boolean")
            columns = [{"Name": name, "Label": name, "Type": kind, "CatalogName": "hive", "SchemaName": "", "TableName": ""} for name, kind in zip(names, kinds)]
            rows = [{"Data": [{"VarCharValue": value} for value in row]} for row in (names, ("0", "false", "false"))]
            return QueryResults(rows=rows, column_info=columns)
        return results(self, exec_id)

    AthenaResponse.start_query_execution = started
    AthenaBackend.get_query_results = counted


def put_into_glue(sql):
    made = MADE.search(sql)
    if not made or made[1]:
        return
    *_, database, name = re.sub(r'["`]', "", made[3]).split(".")
    kind = "VIRTUAL_VIEW" if made[2].lower() == "view" else "EXTERNAL_TABLE"
    glue = glue_backends[ACCOUNT][REGION]
    if database in glue.databases and name not in glue.databases[database].tables:
        place = {"Columns": [], "Location": f"s3://staging/data/{name}"}
        glue.create_table(database, name, {"Name": name, "TableType": kind, "StorageDescriptor": place, "Parameters": {}})


def furnish(url):
    """The role that the sidecar takes, and a user for what dbt does without Athena; made while moto lets everybody in."""
    place = {"endpoint_url": url, "region_name": REGION, "aws_access_key_id": "setup", "aws_secret_access_key": "setup"}
    iam, s3, glue = (boto3.client(name, **place) for name in ("iam", "s3", "glue"))
    iam.create_role(RoleName="dbt", AssumeRolePolicyDocument=json.dumps(TRUST_POLICY))
    iam.put_role_policy(RoleName="dbt", PolicyName="athena", PolicyDocument=allow("athena:*"))
    keys = {}
    for user, actions in {"pod": ("glue:*", "s3:*", "sts:*"), "direct": ("athena:*", "glue:*", "s3:*", "sts:*")}.items():
        iam.create_user(UserName=user)
        iam.put_user_policy(UserName=user, PolicyName="its", PolicyDocument=allow(*actions))
        made = iam.create_access_key(UserName=user)["AccessKey"]
        keys[user] = {"id": made["AccessKeyId"], "secret": made["SecretAccessKey"]}
    s3.create_bucket(Bucket="staging", CreateBucketConfiguration={"LocationConstraint": REGION})
    for database in ("analytics", "direct"):
        glue.create_database(DatabaseInput={"Name": database})
    check = urllib.request.Request(f"{url}/moto-api/reset-auth", data=b"0", headers={"Content-Type": "text/plain"}, method="POST")
    urllib.request.urlopen(check, timeout=5).close()
    return keys


def main():
    port, issuer, ca, seen, ready = sys.argv[1:]
    verify_web_identity(Verifier(issuer, f"{issuer}/openid/v1/jwks", ca, "tollhouse"))
    watch(open(seen, "w", encoding="utf-8"))
    server = ThreadedMotoServer("127.0.0.1", int(port))
    server.start()
    keys = furnish(f"http://127.0.0.1:{port}")
    Path(f"{ready}.new").write_text(json.dumps(keys))
    Path(f"{ready}.new").rename(ready)
    while True:
        time.sleep(3600)


main()
