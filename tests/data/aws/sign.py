"""Writes signatures.json: what botocore, AWS's own client library, makes of fixed keys at a fixed time.

Run with a Python that has botocore: python tests/data/aws/sign.py > tests/data/aws/signatures.json
"""

import datetime
import json

import botocore
import botocore.auth
import botocore.awsrequest
import botocore.credentials
import botocore.session

TIME = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.timezone.utc)
KEYS = ("ASIAEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "session//token+with=characters")


def pinned(*_arguments, **_named):
    return TIME if _named.get("remove_tzinfo") is False else TIME.replace(tzinfo=None)


botocore.auth.get_current_datetime = pinned


def rds_token(host, port, user, region):
    session = botocore.session.Session()
    session.set_credentials(*KEYS)
    client = session.create_client("rds", region_name=region)
    return client.generate_db_auth_token(host, port, user)


def signed_post(service, region, url, headers, body):
    request = botocore.awsrequest.AWSRequest("POST", url, headers=headers, data=body)
    botocore.auth.SigV4Auth(botocore.credentials.Credentials(*KEYS), service, region).add_auth(request)
    return request.headers["Authorization"]


RDS = [
    ("wh.cluster-abc.eu-west-1.rds.amazonaws.com", 5432, "dbt_runner", "eu-west-1"),
    ("wh.abc.cn-north-1.rds.amazonaws.com.cn", 15432, "a user+with/odd=characters", "cn-north-1"),
]
POSTS = [
    (
        "redshift",
        "eu-west-1",
        "https://redshift.eu-west-1.amazonaws.com/",
        {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"},
        "Action=GetClusterCredentials&Version=2012-12-01&DbUser=etl",
    ),
    (
        "redshift-serverless",
        "us-east-2",
        "https://redshift-serverless.us-east-2.amazonaws.com/",
        {"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": "RedshiftServerless.GetCredentials"},
        '{"workgroupName":"wg"}',
    ),
    (
        "athena",
        "eu-central-1",
        "https://athena.eu-central-1.amazonaws.com/",
        {"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": "AmazonAthena.StartQueryExecution"},
        '{"QueryString": "select 1", "ClientRequestToken": "00000000-0000-4000-8000-000000000000"}',
    ),
]

print(
    json.dumps(
        {
            "made_by": f"botocore {botocore.__version__}",
            "unix_time": int(TIME.timestamp()),
            "keys": KEYS,
            "rds": [dict(zip(("host", "port", "user", "region"), case)) | {"token": rds_token(*case)} for case in RDS],
            "posts": [
                dict(zip(("service", "region", "url", "headers", "body"), case)) | {"authorization": signed_post(*case)}
                for case in POSTS
            ],
        },
        indent=2,
    )
)
