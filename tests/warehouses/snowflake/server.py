#!/usr/bin/env python3
"""fakesnow behind what it lacks: server.py PLAIN_PORT CHECKED_PORT JOURNAL JWKS_URL ISSUER CA.

fakesnow runs the SQL. Here stand logins that are checked (at CHECKED_PORT: an OAuth token for `dbt-runner`, verified by its issuer's
keys, and no password), master tokens, sessions that expire and are renewed, queries that take a while and are asked for again,
several statements in one request, results in chunks that are fetched elsewhere, and a journal of every request.
"""

import asyncio
import gzip
import hashlib
import json
import secrets
import ssl
import sys
import uuid

import fakesnow.server
import jwt
import uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

PLAIN, CHECKED, JOURNAL, JWKS, ISSUER, CA = sys.argv[1:]

# The token that a client shows, and fakesnow's; the master token, and fakesnow's.
tokens, masters = {}, {}
expired = set()
# By the name of a query and by its request's: the task that runs it.
queries, by_request = {}, {}


def failed(code, message, state="08001", **data):
    return {"data": {"sqlState": state, **data}, "code": code, "message": message, "success": False}


def verified(data):
    """Whether the login is one that the sidecar makes."""
    if "PASSWORD" in data or data.get("AUTHENTICATOR") != "OAUTH" or data.get("LOGIN_NAME") != "dbt-runner":
        return False
    keys = jwt.PyJWKClient(JWKS, ssl_context=ssl.create_default_context(cafile=CA))
    try:
        key = keys.get_signing_key_from_jwt(data["TOKEN"])
        jwt.decode(data["TOKEN"], key, algorithms=["RS256", "ES256"], audience="warehouse", issuer=ISSUER)
    except jwt.PyJWTError as error:
        print(f"login refused: {error}", flush=True)
        return False
    return True


async def fake(request, token, body):
    """fakesnow's own answer."""
    headers = [(b"content-type", b"application/json"), (b"authorization", f'Snowflake Token="{token}"'.encode())]
    scope = {**request.scope, "headers": headers}
    sent = []

    async def receive():
        return {"type": "http.request", "body": json.dumps(body).encode(), "more_body": False}

    async def send(message):
        sent.append(message)

    await fakesnow.server.app(scope, receive, send)
    content = b"".join(message.get("body", b"") for message in sent)
    return json.loads(content)


def is_checked(request):
    return request.scope["server"][1] == int(CHECKED)


def shown(request):
    return request.headers.get("authorization", "")[17:-1]


async def login(request):
    body = json.loads(await plain_body(request))
    data = body["data"]
    note(kind="login", keys=sorted(data), checked=is_checked(request))
    if is_checked(request) and not verified(data):
        return JSONResponse(failed("390303", "Invalid OAuth access token."))
    data.setdefault("SESSION_PARAMETERS", {})
    reply = await fake(request, "", body)
    token, master = reply["data"]["token"], secrets.token_urlsafe(32)
    tokens[token], masters[master] = token, token
    reply["data"] |= {"masterToken": master, "idToken": "never-shown", "validityInSeconds": 3600, "masterValidityInSeconds": 14400}
    return JSONResponse(reply)


async def renew(request):
    body = json.loads(await plain_body(request))
    session = masters.get(shown(request))
    if session is None or body["oldSessionToken"] not in tokens:
        return JSONResponse(failed("390114", "Authentication token has expired."))
    token = secrets.token_urlsafe(32)
    tokens[token] = session
    note(kind="renewal")
    return JSONResponse({"data": {"sessionToken": token, "masterToken": shown(request), "sessionId": 1, "validityInSecondsST": 3600}, "success": True})


async def query(request):
    body = json.loads(await plain_body(request))
    sql, request_id = body["sqlText"], request.query_params["requestId"]
    note(kind="query", digest=hashlib.sha256(sql.encode()).hexdigest(), request=request_id, checked=is_checked(request))
    session = tokens.get(shown(request))
    if shown(request) in expired:
        return JSONResponse(failed("390112", "Your session has expired. Please login again."))
    if session is None:
        return JSONResponse(failed("390104", "User must login again to access the service."), 401)
    if "expire this session" in sql:
        expired.add(shown(request))
    if "chunks" in sql:
        return JSONResponse(chunked(request))
    count = int((body.get("parameters") or {}).get("MULTI_STATEMENT_COUNT", 1))
    query_id = str(uuid.uuid4())
    if count > 1:
        return JSONResponse(await several(request, session, body, query_id))
    running = fake(request, session, body)
    if "slow" not in sql and not body.get("asyncExec"):
        return JSONResponse(await running)
    task = asyncio.create_task(later(running, 20 if "very slow" in sql else 1))
    queries[query_id] = by_request[request_id] = task
    return JSONResponse(in_progress(query_id, "333334" if body.get("asyncExec") else "333333"))


async def later(running, seconds):
    try:
        await asyncio.sleep(seconds)
    finally:
        reply = await running
    return reply


async def several(request, session, body, query_id):
    replies = [await fake(request, session, {**body, "sqlText": part, "parameters": {}}) for part in body["sqlText"].split(";") if part.strip()]
    for reply in replies:
        queries[reply["data"]["queryId"]] = asyncio.create_task(asyncio.sleep(0, reply))
    ids = ",".join(reply["data"]["queryId"] for reply in replies)
    kinds = ",".join(str(reply["data"]["statementTypeId"]) for reply in replies)
    rowtype = [{"name": "multiple statement execution", "type": "text", "nullable": False, "length": 44, "byteLength": 176, "scale": None, "precision": None}]
    data = {"parameters": [], "rowtype": rowtype, "rowset": [["Multiple statements executed successfully."]], "total": 1, "queryId": query_id,
            "statementTypeId": 40960, "resultIds": ids, "resultTypes": kinds, "queryResultFormat": "json"}
    return {"data": data, "code": None, "message": None, "success": True}


def chunked(request):
    """A result of which all rows lie elsewhere."""
    rowtype = [{"name": "N", "type": "fixed", "nullable": True, "length": None, "byteLength": None, "scale": 0, "precision": 38}]
    chunk = {"url": f"http://127.0.0.1:{PLAIN}/chunk", "rowCount": 2, "uncompressedSize": 11, "compressedSize": 31}
    data = {"parameters": [], "rowtype": rowtype, "rowset": [], "total": 2, "returned": 2, "queryId": str(uuid.uuid4()), "statementTypeId": 4096,
            "queryResultFormat": "json", "chunks": [chunk], "qrmk": None, "chunkHeaders": {"x-amz-key": "k"}}
    return {"data": data, "code": None, "message": None, "success": True}


async def chunk(_request):
    return Response(gzip.compress(b'["1"],["2"]'), headers={"content-encoding": "gzip"}, media_type="application/json")


def in_progress(query_id, code):
    data = {"queryId": query_id, "getResultUrl": f"/queries/{query_id}/result", "queryAbortsAfterSecs": 300}
    return {"data": data, "code": code, "message": "Query execution in progress.", "success": True}


async def result(request):
    query_id = request.path_params["id"]
    task = queries.get(query_id)
    if task is None:
        return JSONResponse(failed("000709", "Statement not found"))
    done, _ = await asyncio.wait([task], timeout=0.5)
    if not done:
        return JSONResponse(in_progress(query_id, "333333"))
    if task.cancelled():
        return JSONResponse(failed("000604", "SQL execution canceled", "57014", queryId=query_id))
    reply = task.result()
    return JSONResponse({**reply, "data": {**reply["data"], "queryId": query_id}})


async def status(request):
    task = queries.get(request.path_params["id"])
    state = "NO_DATA" if task is None else "RUNNING" if not task.done() else "ABORTED" if task.cancelled() else "SUCCESS"
    return JSONResponse({"data": {"queries": [{"status": state}]}, "success": True})


async def abort(request):
    body = json.loads(await plain_body(request) or b"{}")
    task = by_request.get(body.get("requestId")) or queries.get(request.path_params.get("id"))
    note(kind="abort")
    if task is None or task.done():
        return JSONResponse(failed("000605", "Identified SQL statement is not currently executing."))
    task.cancel()
    return JSONResponse({"data": None, "code": None, "message": None, "success": True})


async def session(request):
    note(kind="farewell" if request.query_params.get("delete") else "heartbeat")
    return JSONResponse({"data": None, "code": None, "message": None, "success": shown(request) in tokens})


async def plain_body(request):
    body = await request.body()
    return gzip.decompress(body) if request.headers.get("content-encoding") == "gzip" else body


def note(**entry):
    with open(JOURNAL, "a", encoding="utf-8") as journal:
        journal.write(json.dumps(entry) + "\n")


async def other(request):
    if request.url.path != "/":
        note(kind="other", path=request.url.path)
    return Response("Not Found", 404)


app = Starlette(routes=[
    Route("/session/v1/login-request", login, methods=["POST"]),
    Route("/session/token-request", renew, methods=["POST"]),
    Route("/queries/v1/query-request", query, methods=["POST"]),
    Route("/queries/v1/abort-request", abort, methods=["POST"]),
    Route("/queries/{id}/abort-request", abort, methods=["POST"]),
    Route("/queries/{id}/result", result),
    Route("/monitoring/queries/{id}", status),
    Route("/session", session, methods=["POST"]),
    Route("/session/heartbeat", session, methods=["POST"]),
    Route("/chunk", chunk),
    Route("/{path:path}", other, methods=["GET", "POST", "PUT", "DELETE"]),
])


async def main():
    servers = [uvicorn.Server(uvicorn.Config(app, port=int(port), log_level="warning")) for port in (PLAIN, CHECKED)]
    await asyncio.gather(*(server.serve() for server in servers))


asyncio.run(main())
