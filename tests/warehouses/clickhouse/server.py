#!/usr/bin/env python3
"""ClickHouse's own engine (chdb) behind an HTTP front of ours: server.py HTTPS_PORT PLAIN_PORT DIRECTORY DEV_DIRECTORY JWKS_URL ISSUER.

The engine is ClickHouse 26.9, the front is not ClickHouse's: it takes statements as ClickHouse's documentation of its HTTP interface
says, knows a session by its name and its database, and writes what it saw to DIRECTORY/seen.jsonl. Over HTTPS it lets in only who
shows a token of the issuer; the plain port on loopback, to compare with, lets in everybody.
"""

import json
import re
import ssl
import sys
import threading
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from chdb import session
from joserfc.errors import JoseError

sys.path.insert(0, "tests/identity")
from judge import Verifier  # noqa: E402

HTTPS_PORT, PLAIN_PORT = int(sys.argv[1]), int(sys.argv[2])
DIRECTORY, DEV = Path(sys.argv[3]), Path(sys.argv[4])
VERIFIER = Verifier(sys.argv[6], sys.argv[5], DEV / "ca.crt", "warehouse")

DIRECTORY.mkdir(parents=True, exist_ok=True)
ENGINE = session.Session(str(DIRECTORY / "data"))
ONE_AT_A_TIME = threading.Lock()
SEEN = open(DIRECTORY / "seen.jsonl", "w", encoding="utf-8")


class Front(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wants_token = False

    def log_message(self, *_):
        pass

    def body(self):
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        pieces = []
        while (length := int(self.rfile.readline(), 16)) > 0:
            pieces.append(self.rfile.read(length))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(pieces)

    def user(self):
        """Who logs in: the token's subject. Raises ValueError where it shows none that is right."""
        if not self.wants_token:
            return "anybody"
        scheme, _, token = self.headers.get("Authorization", "").partition(" ")
        if scheme != "Bearer" or "X-ClickHouse-User" in self.headers:
            raise ValueError("a token is needed, and nothing else")
        return VERIFIER.verify(token)["sub"]

    def do_POST(self):
        body = self.body()
        if urlsplit(self.path).path == "/ping":
            return self.reply(200, b"Ok.\n", {})
        parameters = dict(parse_qsl(urlsplit(self.path).query, keep_blank_values=True))
        query_id = parameters.get("query_id") or str(uuid.uuid4())
        head = {"X-ClickHouse-Query-Id": query_id, "X-ClickHouse-Server-Display-Name": "chdb"}
        try:
            user = self.user()
        except (JoseError, ValueError) as error:
            return self.failed(403, 516, f"Authentication failed: {error}. (AUTHENTICATION_FAILED)", head)
        query = parameters.get("query", "").encode()
        text = query + b"\n" + body if query else body
        SEEN.write(json.dumps({"user": user, "query_id": query_id, "parameters": parameters, "text": text[:2000].decode("utf-8", "replace")}) + "\n")
        SEEN.flush()
        with ONE_AT_A_TIME:
            try:
                if database := parameters.get("database"):
                    ENGINE.query(f"USE `{database}`")
                values = {name.removeprefix("param_"): value for name, value in parameters.items() if name.startswith("param_")}
                rows = ENGINE.query(text, parameters.get("default_format", "TabSeparated"), params=values or None).bytes() or b""
            except Exception as error:  # whatever the engine raises is an answer
                message = str(error)
                code = re.search(r"Code: (\d+)", message)
                return self.failed(404 if "UNKNOWN" in message else 500, code[1] if code else 1, message, head)
        self.reply(200, rows, head)

    do_GET = do_POST

    def failed(self, status, code, message, head):
        text = message if message.startswith("Code: ") else f"Code: {code}. DB::Exception: {message}"
        self.reply(status, text.encode() + b"\n", head | {"X-ClickHouse-Exception-Code": str(code)})

    def reply(self, status, body, head):
        self.send_response(status)
        for name, value in head.items():
            self.send_header(name, value)
        self.send_header("Content-Type", "text/plain; charset=UTF-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Behind(Front):
    wants_token = True


def main():
    plain = ThreadingHTTPServer(("127.0.0.1", PLAIN_PORT), Front)
    encrypted = ThreadingHTTPServer(("127.0.0.1", HTTPS_PORT), Behind)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(DEV / "warehouse/server.crt", DEV / "warehouse/server.key")
    encrypted.socket = context.wrap_socket(encrypted.socket, server_side=True)
    threading.Thread(target=encrypted.serve_forever, daemon=True).start()
    plain.serve_forever()


main()
