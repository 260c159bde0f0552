#!/usr/bin/env python3
"""Serves bqemulator over HTTPS to who shows a token of the issuer, and writes down what it is asked.

server.py PORT DEV_DIRECTORY ISSUER SEEN, where SEEN becomes a file of one JSON object for each request.

The emulator wants DuckDB's spatial extension, which it downloads at its start; nothing here has geography, so it goes without. The
token `direct` is let in as well, for the runs that the sidecar's are compared with.
"""

import json
import ssl
import sys

import bqemulator.storage.engine
import jwt
import uvicorn
from bqemulator.config import Settings
from bqemulator.server import run_forever

PORT, DEV, ISSUER, SEEN = sys.argv[1:]
KEYS = jwt.PyJWKClient(f"{ISSUER}/jwks", ssl_context=ssl.create_default_context(cafile=f"{DEV}/ca.crt"))


def caller(headers):
    """Whose token it is; `None` where it is nobody's."""
    scheme, _, token = dict(headers).get(b"authorization", b"").decode("latin-1").partition(" ")
    if (scheme, token) == ("Bearer", "direct"):
        return "direct"
    try:
        key = KEYS.get_signing_key_from_jwt(token)
        return jwt.decode(token, key.key, algorithms=[key.algorithm_name], audience="warehouse", issuer=ISSUER)["sub"]
    except jwt.PyJWTError:
        return None


class Door:
    """In front of the emulator's own application."""

    def __init__(self, application):
        self.application = application
        self.seen = open(SEEN, "a", encoding="utf-8", buffering=1)

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            return await self.application(scope, receive, send)
        body = b""
        messages = []
        while not messages or messages[-1].get("more_body"):
            messages.append(await receive())
            body += messages[-1].get("body", b"")
        by = caller(scope["headers"])
        seen = {"by": by, "method": scope["method"], "path": scope["path"], "query": scope["query_string"].decode()}
        if scope["path"].endswith(("/jobs", "/queries")) and scope["method"] == "POST":
            asked = json.loads(body)
            seen["sql"] = asked.get("query") or asked.get("configuration", {}).get("query", {}).get("query")
        self.seen.write(json.dumps(seen) + "\n")
        if by is None:
            await send({"type": "http.response.start", "status": 401, "headers": [(b"content-length", b"0")]})
            return await send({"type": "http.response.body", "body": b""})

        async def again():
            return messages.pop(0) if messages else await receive()

        return await self.application(scope, again, send)


class Config(uvicorn.Config):
    def __init__(self, application, **more):
        super().__init__(Door(application), ssl_certfile=f"{DEV}/warehouse/server.crt", ssl_keyfile=f"{DEV}/warehouse/server.key", **more)


for each in vars(bqemulator.storage.engine).values():
    if hasattr(each, "_load_spatial"):
        each._load_spatial = lambda self: None
uvicorn.Config = Config
run_forever(Settings(rest_host="127.0.0.1", rest_port=int(PORT), grpc_port=0))
