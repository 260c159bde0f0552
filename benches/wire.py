"""PostgreSQL's wire protocol as far as the benches speak it themselves: a reader that counts bytes and parses no row, a
crowd of idle connections, and a server that stands in where 10,000 real backends would not fit. Messages: PostgreSQL
docs, section 54.7."""

import asyncio
import socket
import ssl
import struct
import sys

SSL_REQUEST = struct.pack("!II", 8, 80877103)
READY = b"Z\x00\x00\x00\x05I"
CHUNK = 1 << 20


def startup(user, database):
    fields = b"".join(part.encode() + b"\0" for part in ("user", user, "database", database)) + b"\0"
    return struct.pack("!II", len(fields) + 8, 3 << 16) + fields


def query(text):
    body = text.encode() + b"\0"
    return b"Q" + struct.pack("!I", len(body) + 4) + body


def connect(port, tls):
    """A socket to loopback; `tls` is None, or a pair: an SSLContext, and whether to begin with TLS at once."""
    sock = socket.create_connection(("127.0.0.1", port))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if tls is None:
        return sock
    context, direct = tls
    if not direct:
        sock.sendall(SSL_REQUEST)
        if sock.recv(1) != b"S":
            raise ConnectionError("no TLS here")
    return context.wrap_socket(sock, server_hostname="localhost")


def read_until_ready(sock):
    """Reads to the end of a reply: the number of bytes, and the last of them."""
    buffer, total, tail = bytearray(CHUNK), 0, b""
    while not tail.endswith(READY):
        count = sock.recv_into(buffer)
        if count == 0:
            raise ConnectionError(f"closed after {total} bytes: {tail[-200:]!r}")
        total += count
        tail = (tail + bytes(buffer[max(0, count - 256) : count]))[-256:]
        if tail.startswith(b"E") and b"\0\0" in tail:
            raise ConnectionError(repr(tail))
    return total, tail


def select(port, text, rows, tls=None):
    """Runs one query and throws its rows away; the number of bytes read."""
    with connect(port, tls) as sock:
        sock.sendall(startup("dbt_runner", "bench"))
        read_until_ready(sock)
        sock.sendall(query(text))
        total, tail = read_until_ready(sock)
        if b"SELECT %d\0" % rows not in tail:
            raise ConnectionError(f"the query did not return {rows} rows: {tail!r}")
        return total


class Crowd:
    """Many connections that have each run one query and are silent since."""

    def __init__(self, port):
        self.port, self.connections = port, []

    async def grow(self, size):
        """Opens connections, a hundred at a time, until there are `size`."""
        while len(self.connections) < size:
            step = min(100, size - len(self.connections))
            self.connections += await asyncio.gather(*(self._one() for _ in range(step)))

    async def _one(self):
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=4096)
        writer.write(startup("dbt_runner", "stand_in"))
        await reader.readuntil(READY)
        # PgBouncer holds no connection to the server for a client that has asked nothing.
        writer.write(query("select 1"))
        await reader.readuntil(READY)
        return writer

    async def close(self):
        for writer in self.connections:
            writer.close()
        await asyncio.gather(*(writer.wait_closed() for writer in self.connections), return_exceptions=True)


def message(kind, body):
    return kind + struct.pack("!I", len(body) + 4) + body


async def stand_in(port):
    """A server that lets everybody in and answers every query with no row."""
    settings = {"server_version": "18.0", "server_encoding": "UTF8", "client_encoding": "UTF8", "DateStyle": "ISO, MDY",
                "TimeZone": "UTC", "integer_datetimes": "on", "standard_conforming_strings": "on", "search_path": "public"}  # fmt: skip
    greeting = message(b"R", struct.pack("!I", 0))
    for name, value in settings.items():
        greeting += message(b"S", f"{name}\0{value}\0".encode())
    served = 0

    async def serve(reader, writer):
        nonlocal served
        served += 1
        try:
            length = struct.unpack("!I", await reader.readexactly(4))[0]
            await reader.readexactly(length - 4)
            writer.write(greeting + message(b"K", struct.pack("!II", served, 1)) + READY)
            while True:
                kind, length = struct.unpack("!cI", await reader.readexactly(5))
                await reader.readexactly(length - 4)
                if kind == b"Q":
                    writer.write(message(b"C", b"SELECT 0\0") + READY)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    servers = [await asyncio.start_server(serve, host, port, limit=4096, backlog=4096) for host in ("127.0.0.1", "::1")]
    print("ready", flush=True)
    await asyncio.gather(*(server.serve_forever() for server in servers))


if __name__ == "__main__":
    asyncio.run(stand_in(int(sys.argv[1])))
