#!/usr/bin/env python3
"""Stands before Spark's real Thrift server and gives it what Databricks' has besides: server.py PORT SPARK_PORT DEV JWKS_URL SEEN.

Bearer tokens are verified. A session begins in a namespace, results say their form, and the Statement Execution API is there with
results in its replies; Spark runs every statement. `spark_catalog` is the one catalog. What was asked to run goes to SEEN, a line each.
"""

import http.server
import json
import ssl
import sys
import threading
import urllib.request
import uuid

import jwt
from databricks.sql.thrift_api.TCLIService import TCLIService, ttypes
from thrift.protocol.TBinaryProtocol import TBinaryProtocol
from thrift.transport import THttpClient
from thrift.transport.TTransport import TMemoryBuffer

PORT, SPARK_PORT, DEV, JWKS_URL, SEEN = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4], sys.argv[5]
TRUST = ssl.create_default_context(cafile=f"{DEV}/ca.crt")
# The connector has no result without a column.
TEXT = ttypes.TTypeDesc(types=[ttypes.TTypeEntry(primitiveEntry=ttypes.TPrimitiveTypeEntry(type=ttypes.TTypeId.STRING_TYPE))])
NO_ROWS = ttypes.TTableSchema(columns=[ttypes.TColumnDesc(columnName="result", typeDesc=TEXT, position=1)])
SESSIONS, STATEMENTS, LOCK = {}, {}, threading.Lock()


def principal(header):
    """Whom a bearer token is for; the signature and the audience are verified."""
    scheme, _, token = (header or "").partition(" ")
    if scheme != "Bearer":
        raise PermissionError("no bearer token")
    with urllib.request.urlopen(JWKS_URL, context=TRUST) as reply:
        keys = jwt.PyJWKSet.from_dict(json.load(reply))
    key = keys[jwt.get_unverified_header(token)["kid"]]
    return jwt.decode(token, key.key, algorithms=["RS256", "ES256"], audience="warehouse")["sub"].rsplit(":", 1)[-1]


class Spark(TCLIService.Iface):
    """Calls Spark in the place of a user."""

    def __init__(self, user):
        import base64

        transport = THttpClient.THttpClient(f"https://localhost:{SPARK_PORT}/sql/protocolv1/o/0/demo", ssl_context=TRUST)
        transport.setCustomHeaders({"Authorization": "Basic " + base64.b64encode(f"{user}:x".encode()).decode()})
        self.client = TCLIService.Client(TBinaryProtocol(transport))

    def __getattribute__(self, name):
        # Whatever is not said here is Spark's own.
        if name in ("client", "note", "run") or name in Spark.__dict__:
            return object.__getattribute__(self, name)
        return getattr(self.client, name)

    def note(self, sql):
        with LOCK, open(SEEN, "a", encoding="utf-8") as seen:
            seen.write(json.dumps({"sql": sql}) + "\n")

    def OpenSession(self, req):
        reply = self.client.OpenSession(ttypes.TOpenSessionReq(client_protocol=5))
        namespace = req.initialNamespace or ttypes.TNamespace(catalogName="spark_catalog", schemaName="default")
        if namespace.schemaName:
            use = ttypes.TExecuteStatementReq(sessionHandle=reply.sessionHandle, statement=f"use {namespace.schemaName}")
            self.client.ExecuteStatement(use)
        reply.serverProtocolVersion = ttypes.TProtocolVersion.SPARK_CLI_SERVICE_PROTOCOL_V7
        reply.canUseMultipleCatalogs, reply.initialNamespace = True, namespace
        return reply

    def ExecuteStatement(self, req):
        if req.canDownloadResult:
            raise AssertionError("results were asked for in object storage")
        self.note(req.statement)
        plain = ttypes.TExecuteStatementReq(sessionHandle=req.sessionHandle, statement=req.statement, runAsync=req.runAsync)
        return self.client.ExecuteStatement(plain)

    def GetResultSetMetadata(self, req):
        reply = self.client.GetResultSetMetadata(req)
        if not reply.schema or not reply.schema.columns:
            reply.schema = NO_ROWS
        reply.resultFormat, reply.lz4Compressed = ttypes.TSparkRowSetType.COLUMN_BASED_SET, False
        return reply

    def FetchResults(self, req):
        wanted = ttypes.TFetchResultsReq(operationHandle=req.operationHandle, orientation=req.orientation, maxRows=req.maxRows)
        reply = self.client.FetchResults(wanted)
        nothing = ttypes.TColumn(stringVal=ttypes.TStringColumn(values=[], nulls=b""))
        reply.results.columns = reply.results.columns or [nothing]
        values = next(value.values for value in vars(reply.results.columns[0]).values() if value is not None)
        # Spark never says that there is more, and its clients ask until nothing comes.
        reply.hasMoreRows = bool(values)
        reply.resultSetMetadata = self.GetResultSetMetadata(ttypes.TGetResultSetMetadataReq(operationHandle=req.operationHandle))
        return reply

    def run(self, session, sql):
        """The rows of a statement, and its error."""
        self.note(sql)
        reply = self.client.ExecuteStatement(ttypes.TExecuteStatementReq(sessionHandle=session, statement=sql))
        if reply.status.statusCode != 0:
            return [], [], reply.status.errorMessage
        schema = self.client.GetResultSetMetadata(ttypes.TGetResultSetMetadataReq(operationHandle=reply.operationHandle)).schema
        columns, rows = [column.columnName for column in (schema and schema.columns) or []], []
        while True:
            wanted = ttypes.TFetchResultsReq(operationHandle=reply.operationHandle, orientation=0, maxRows=1000)
            fetched = self.client.FetchResults(wanted).results.columns or []
            values = [next(value.values for value in vars(column).values() if value is not None) for column in fetched]
            if not values or not values[0]:
                return columns, rows, None
            rows += [[None if value is None else str(value) for value in row] for row in zip(*values)]


class Door(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def handle_request(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            spark = Spark(principal(self.headers.get("Authorization")))
        except Exception as error:
            print(f"refused: {error!r}", flush=True)
            return self.answer(401, "application/json", json.dumps({"error_code": "UNAUTHENTICATED", "message": str(error)}).encode())
        if self.path.startswith("/api/2.0/sql/"):
            status, reply = self.statements(spark, json.loads(body) if body else {})
            return self.answer(status, "application/json", json.dumps(reply).encode())
        sent = TMemoryBuffer()
        TCLIService.Processor(spark).process(TBinaryProtocol(TMemoryBuffer(body)), TBinaryProtocol(sent))
        return self.answer(200, "application/x-thrift", sent.getvalue())

    def statements(self, spark, asked):
        _, _, _, _, kind, *rest = self.path.split("/")
        if kind == "sessions" and self.command == "POST":
            namespace = ttypes.TNamespace(catalogName=asked.get("catalog"), schemaName=asked.get("schema"))
            name = str(uuid.uuid4())
            SESSIONS[name] = spark.OpenSession(ttypes.TOpenSessionReq(initialNamespace=namespace)).sessionHandle
            return 200, {"session_id": name}
        if kind == "statements" and self.command == "POST" and not rest:
            name = str(uuid.uuid4())
            columns, rows, error = spark.run(SESSIONS[asked["session_id"]], asked["statement"])
            STATEMENTS[name] = {"statement_id": name, "status": {"state": "SUCCEEDED"}}
            if error:
                STATEMENTS[name]["status"] = {"state": "FAILED", "error": {"error_code": "BAD_REQUEST", "message": error}}
            else:
                described = [{"name": column, "type_name": "STRING", "type_text": "STRING", "position": at} for at, column in enumerate(columns)]
                STATEMENTS[name]["manifest"] = {
                    "format": "JSON_ARRAY", "schema": {"column_count": len(columns), "columns": described}, "total_row_count": len(rows),
                    "total_chunk_count": 1, "chunks": [{"chunk_index": 0, "row_offset": 0, "row_count": len(rows)}], "truncated": False,
                }
                STATEMENTS[name]["result"] = {"chunk_index": 0, "row_offset": 0, "row_count": len(rows), "data_array": rows}
            # The first reply comes early, so that clients have to ask.
            return 200, {"statement_id": name, "status": {"state": "RUNNING"}}
        if kind == "statements" and self.command == "GET":
            return 200, STATEMENTS[rest[0]]
        return 200, {}

    do_GET = do_POST = do_DELETE = handle_request

    def answer(self, status, kind, body):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("localhost", PORT), Door)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(f"{DEV}/warehouse/server.crt", f"{DEV}/warehouse/server.key")
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
