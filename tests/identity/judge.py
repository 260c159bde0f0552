#!/usr/bin/env python3
"""Lets people into a real PostgreSQL by their token: PostgreSQL's `ldap` method brings the cleartext password of a login here.

The token must verify by the issuer's published keys, be for the audience, and have the claims that belong to the
user. It stands in for what managed services do with a token that is shown as the password.
"""

import argparse
import json
import socketserver
import ssl
import urllib.request

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet


class Verifier:
    """Verifies tokens of one issuer for one audience; the keys are fetched each time, since they may have changed."""

    def __init__(self, issuer, jwks_uri, ca, audience):
        self.issuer, self.jwks_uri, self.audience = issuer, jwks_uri, audience
        self.context = ssl.create_default_context(cafile=ca)

    def keys(self):
        with urllib.request.urlopen(self.jwks_uri, context=self.context, timeout=5) as answer:
            published = json.load(answer)
        # Keys for other uses may have algorithms that the library does not know.
        published["keys"] = [key for key in published["keys"] if key.get("use", "sig") == "sig"]
        return KeySet.import_key_set(published)

    def verify(self, token):
        """The claims of the token. Raises JoseError or ValueError when it is not right."""
        claims = jwt.decode(token, self.keys(), algorithms=["RS256", "ES256"]).claims
        expected = jwt.JWTClaimsRegistry(
            iss={"essential": True, "value": self.issuer},
            aud={"essential": True, "value": self.audience},
            exp={"essential": True},
        )
        expected.validate(claims)
        return claims


def read_element(data, at):
    """One BER element: its tag, its content and where the next one begins (X.690)."""
    tag, length, at = data[at], data[at + 1], at + 2
    if length & 0x80:
        octets = length & 0x7F
        length, at = int.from_bytes(data[at : at + octets], "big"), at + octets
    return tag, data[at : at + length], at + length


class Judge(socketserver.StreamRequestHandler):
    """Answers LDAP simple binds (RFC 4511, section 4.2) by the password alone; the name is `uid=USER`."""

    timeout = 10

    def handle(self):
        while (message := self.read_message()) is not None:
            _, number, at = read_element(message, 0)
            operation, bind, _ = read_element(message, at)
            if operation != 0x60:
                return
            _, _, at = read_element(bind, 0)
            _, name, at = read_element(bind, at)
            _, password, _ = read_element(bind, at)
            user = name.decode().removeprefix("uid=")
            right = self.server.accepts(user, password.decode())
            print(f"login of {user}: {'accepted' if right else 'refused'}", flush=True)
            answer = b"\x61\x07\x0a\x01" + (b"\x00" if right else b"\x31") + b"\x04\x00\x04\x00"
            body = b"\x02" + bytes([len(number)]) + number + answer
            self.wfile.write(b"\x30" + bytes([len(body)]) + body)

    def read_message(self):
        head = self.rfile.read(2)
        if len(head) < 2:
            return None
        length = head[1]
        if length & 0x80:
            length = int.from_bytes(self.rfile.read(length & 0x7F), "big")
        return self.rfile.read(length)


def judge(port, accepts, ready):
    """Judges logins for ever: `accepts(user, password)`. The file `ready` is made when it listens."""
    server = socketserver.ThreadingTCPServer(("127.0.0.1", port), Judge)
    server.accepts = accepts
    open(ready, "w").close()
    server.serve_forever()


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--issuer", required=True)
    parser.add_argument("--jwks-uri", required=True)
    parser.add_argument("--ca", required=True)
    parser.add_argument("--audience", required=True)
    parser.add_argument("--claims", default="{}", help="JSON: claims that must have these values, by user")
    parser.add_argument("--ready", required=True, help="a file that is made when everything listens")
    arguments = parser.parse_args()
    verifier = Verifier(arguments.issuer, arguments.jwks_uri, arguments.ca, arguments.audience)
    wanted = json.loads(arguments.claims)

    def accepts(user, password):
        try:
            claims = verifier.verify(password)
        except (JoseError, ValueError) as error:
            print(f"not a token for {user}: {error}", flush=True)
            return False
        print(f"token shown by {user}: {json.dumps(claims)}", flush=True)
        return user in wanted and all(claims.get(name) == value for name, value in wanted[user].items())

    judge(arguments.port, accepts, arguments.ready)


if __name__ == "__main__":
    main()
