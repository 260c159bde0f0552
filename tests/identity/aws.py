#!/usr/bin/env python3
"""AWS as far as the sidecar sees it: moto, with what it leaves out, and a judge of database passwords.

moto checks the signature of signed calls and the policy of the role that signs; the one call that AWS takes unsigned,
AssumeRoleWithWebIdentity, it takes without a look at the token. Here the token is verified by its issuer's published keys.
GetWebIdentityToken it lacks: behind moto's own check of signature and policy, tokens are made here, with the claims that AWS documents,
and their keys are published where AWS has those of an account.

PostgreSQL stands in for RDS and Redshift: its `ldap` method brings the cleartext password of a login to the judge. For a Redshift
user that is the password that moto gave out under that name; for any other it is an RDS token, and right when botocore, given
the role's keys and the token's own time, makes the same bytes.
"""

import argparse
import json
import threading
import time
import urllib.request
import uuid
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from unittest import mock
from urllib.parse import parse_qs

import boto3
from botocore.signers import generate_db_auth_token
from joserfc import jwt
from joserfc.errors import ExpiredTokenError, JoseError
from joserfc.jwk import RSAKey
from moto.core.responses import ActionResult, BaseResponse
from moto.redshift.models import RedshiftBackend
from moto.server import ThreadedMotoServer
from moto.sts.exceptions import STSClientError
from moto.sts.models import sts_backends
from moto.sts.responses import TokenResponse

from judge import Verifier, judge

REGION, ACCOUNT = "eu-central-1", "123456789012"
ROLE_POLICY = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": ["redshift:GetClusterCredentials", "athena:StartQueryExecution", "sts:GetWebIdentityToken"], "Resource": "*"}],
}
TRUST_POLICY = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Federated": "cluster"}, "Action": "sts:AssumeRoleWithWebIdentity"}],
}


def verify_web_identity(verifier):
    """Puts the verifier in place of the signature that the call does not have."""
    signed = BaseResponse._authenticate_and_authorize_normal_action
    assume = TokenResponse.assume_role_with_web_identity

    def authorize(self, resource="*"):
        if self._get_action() != "AssumeRoleWithWebIdentity":
            signed(self, resource)

    def verified(self):
        try:
            claims = verifier.verify(self._get_param("WebIdentityToken"))
        except ExpiredTokenError:
            raise STSClientError("ExpiredTokenException", "The web identity token is expired")
        except (JoseError, ValueError) as error:
            print(f"web identity refused: {error}", flush=True)
            raise STSClientError("InvalidIdentityToken", "The web identity token could not be verified")
        print(f"web identity accepted: {claims['sub']}", flush=True)
        return assume(self)

    BaseResponse._authenticate_and_authorize_normal_action = authorize
    TokenResponse.assume_role_with_web_identity = verified


def publish(port, keys):
    """The account's issuer: its keys where the API reference of IAM says, and nothing else."""

    class Issuer(BaseHTTPRequestHandler):
        def do_GET(self):
            found = self.path == "/.well-known/jwks.json"
            self.send_response(200 if found else 404)
            self.end_headers()
            if found:
                self.wfile.write(json.dumps(keys).encode())

        def log_message(self, *_):
            pass

    threading.Thread(target=ThreadingHTTPServer(("127.0.0.1", port), Issuer).serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{port}"


def make_web_identity_tokens(port):
    """Makes the call that moto lacks; gives a verifier of its tokens for the warehouse's audience."""
    key = RSAKey.generate_key(2048, {"kid": "RSA_0", "use": "sig", "alg": "RS256"}, private=True)
    issuer = publish(port, {"keys": [key.as_dict(private=False)]})

    def get_web_identity_token(self):
        session = next(role for role in self.backend.assumed_roles if role.access_key_id == self.access_key)
        now, asked = int(time.time()), self._get_param("Audience")[0]
        claims = {"iss": issuer, "aud": asked, "sub": session.role_arn, "iat": now, "jti": str(uuid.uuid4())}
        claims["exp"] = now + self._get_int_param("DurationSeconds", 300)
        claims["https://sts.amazonaws.com/"] = {"aws_account": ACCOUNT, "source_region": self.region}
        token = jwt.encode({"alg": self._get_param("SigningAlgorithm"), "kid": "RSA_0"}, claims, key)
        print(f"web identity token for {asked}: {session.role_arn}", flush=True)
        return ActionResult({"WebIdentityToken": token, "Expiration": datetime.fromtimestamp(claims["exp"], timezone.utc)})

    TokenResponse.get_web_identity_token = get_web_identity_token
    return Verifier(issuer, f"{issuer}/.well-known/jwks.json", None, "warehouse")


def remember_passwords():
    """The passwords that moto gives out for Redshift, by user; moto itself forgets them."""
    given, answer = {}, RedshiftBackend.get_cluster_credentials

    def remembering(self, *arguments, **named):
        credentials = answer(self, *arguments, **named)
        given.setdefault(credentials["DbUser"], set()).add(credentials["DbPassword"])
        return credentials

    RedshiftBackend.get_cluster_credentials = remembering
    return given


def is_rds_token(user, password, host, port):
    """Whether botocore makes the same token from the keys of the session that the token names."""
    fields = {name: values[0] for name, values in parse_qs(password.partition("?")[2]).items()}
    key_id = fields.get("X-Amz-Credential", "").partition("/")[0]
    session = next((role for role in sts_backends[ACCOUNT]["aws"].assumed_roles if role.access_key_id == key_id), None)
    if session is None:
        return False
    signed_at = datetime.strptime(fields["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=timezone.utc)
    if abs((datetime.now(timezone.utc) - signed_at).total_seconds()) > 900:
        return False
    client = boto3.client(
        "rds",
        region_name=REGION,
        aws_access_key_id=key_id,
        aws_secret_access_key=session.secret_access_key,
        aws_session_token=session.session_token,
    )
    # Signed at the token's own time; botocore asks the clock in this one place.
    with mock.patch("botocore.auth.get_current_datetime", return_value=signed_at.replace(tzinfo=None)):
        expected = generate_db_auth_token(client, host, port, user)
    if password != expected:
        print(f"not botocore's token:\n  {scrub(password)}\n  {scrub(expected)}", flush=True)
    return password == expected


def scrub(token):
    return token.partition("X-Amz-Security-Token=")[0]


def furnish(url):
    """The role, its policy and the cluster, made while moto lets everybody in; from then on it checks."""
    place = {"endpoint_url": url, "region_name": REGION, "aws_access_key_id": "setup", "aws_secret_access_key": "setup"}
    iam = boto3.client("iam", **place)
    iam.create_role(RoleName="dbt", AssumeRolePolicyDocument=json.dumps(TRUST_POLICY))
    iam.put_role_policy(RoleName="dbt", PolicyName="warehouse", PolicyDocument=json.dumps(ROLE_POLICY))
    iam.create_role(RoleName="bystander", AssumeRolePolicyDocument=json.dumps(TRUST_POLICY))
    redshift = boto3.client("redshift", **place)
    redshift.create_cluster(ClusterIdentifier="wh", NodeType="ra3.large", MasterUsername="administrator", MasterUserPassword="Not-used-1")
    check = urllib.request.Request(f"{url}/moto-api/reset-auth", data=b"0", headers={"Content-Type": "text/plain"}, method="POST")
    urllib.request.urlopen(check, timeout=5).close()


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--judge-port", type=int, required=True)
    parser.add_argument("--database-port", type=int, required=True)
    parser.add_argument("--issuer-port", type=int, required=True, help="where the account's own issuer publishes its keys")
    parser.add_argument("--issuer", required=True)
    parser.add_argument("--ca", required=True)
    parser.add_argument("--ready", required=True, help="a file that is made when everything listens")
    arguments = parser.parse_args()

    issuer = arguments.issuer
    verify_web_identity(Verifier(issuer, f"{issuer}/openid/v1/jwks", arguments.ca, "sts.amazonaws.com"))
    given = remember_passwords()
    account = make_web_identity_tokens(arguments.issuer_port)

    def accepts(user, password):
        if user == "by-role":
            return account.verify(password)["sub"] == f"arn:aws:iam::{ACCOUNT}:role/dbt"
        if user.startswith("IAM"):
            return password in given.get(user, ())
        return is_rds_token(user, password, "localhost", arguments.database_port)

    server = ThreadedMotoServer("127.0.0.1", arguments.port)
    server.start()
    furnish(f"http://127.0.0.1:{arguments.port}")
    judge(arguments.judge_port, accepts, arguments.ready)


if __name__ == "__main__":
    main()
