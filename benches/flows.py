"""Runs the flows of `make bench` over every way, interleaved, and writes results.json, figures.md and figures.svg.

Started by benches/flows.sh. BENCH_SECONDS, BENCH_ROUNDS, BENCH_ROWS and BENCH_FLOWS (names, or beginnings of names)
shorten a run; BENCH_OUT names the directory of the results.
"""

import asyncio
import http.client
import json
import os
import platform
import re
import resource
import ssl
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import report
import wire
from ways import Stage

SECONDS = int(os.environ.get("BENCH_SECONDS", "10"))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "7"))
ROWS = int(os.environ.get("BENCH_ROWS", "10000000"))
WANTED = os.environ.get("BENCH_FLOWS", "").split()
OUT = Path(os.environ.get("BENCH_OUT", "target/bench"))
FILES_MAX = 65536
HERE = Path(__file__).resolve().parent


@dataclass
class Sample:
    """What one run of a flow over one way gave. `value` is in the flow's unit; what was not measured is None."""

    value: float
    # Operations of which the proxy's CPU time is counted.
    operations: float | None = None
    p50_us: float | None = None
    p99_us: float | None = None
    cpu_us: float | None = None
    peak_kib: int | None = None


@dataclass
class Flow:
    """One kind of work. `run(stage, way, flow)` does it once and returns a Sample."""

    name: str
    title: str
    unit: str
    run: object = field(repr=False)
    encryption: str = "none"
    # Whether a higher value is the better one.
    higher: bool = True
    # Operations in words, for the CPU column; empty where it is not counted.
    operation: str = ""
    ways: tuple = ("direct", "tollhouse-write", "tollhouse-fsync", "pgbouncer", "haproxy", "envoy")
    rounds_max: int = 1000
    options: tuple = ()


def client_environment(stage, way, encryption, database="bench"):
    """The settings of libpq for a way. With nothing in between, the client itself shows the certificate."""
    environment = {
        **os.environ,
        "PGHOST": "127.0.0.1",
        "PGPORT": str(way.ports[encryption]),
        "PGUSER": "dbt_runner",
        "PGDATABASE": database,
        "PGSSLMODE": "disable",
        "PGGSSENCMODE": "disable",
        "PGCONNECT_TIMEOUT": "30",
    }
    if way.client_tls(encryption):
        environment |= {"PGSSLMODE": "require", "PGSSLNEGOTIATION": "direct" if way.direct_tls else "postgres"}
        if way.name == "direct":
            environment |= {"PGSSLCERT": str(stage.tls / "client.crt"), "PGSSLKEY": str(stage.tls / "client.key")}
    return environment


def run(command, environment, **extra):
    done = subprocess.run([str(part) for part in command], env=environment, capture_output=True, text=True, **extra)
    if done.returncode != 0:
        raise RuntimeError(f"{command[0]} failed: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout


def pgbench(stage, way, flow):
    mode, clients, *more = flow.options
    prefix = stage.scratch / "pgbench"
    threads = min(clients, os.cpu_count())
    command = [stage.postgresql / "pgbench", "-n", "-S", "-M", mode, "-c", clients, "-j", threads, "-T", SECONDS,
               "--log", f"--log-prefix={prefix}", *more]  # fmt: skip
    output = run(command, client_environment(stage, way, flow.encryption))
    latencies = []
    for path in stage.scratch.glob("pgbench.*"):
        # Each line of the log: client, transaction, its microseconds, and more.
        latencies += [int(line.split()[2]) for line in path.read_text().splitlines()]
        path.unlink()
    latencies.sort()
    return Sample(
        value=float(re.search(r"tps = ([\d.]+)", output)[1]),
        operations=int(re.search(r"actually processed: (\d+)", output)[1]),
        p50_us=latencies[len(latencies) // 2],
        p99_us=latencies[len(latencies) * 99 // 100],
    )


def copy_out(stage, way, flow):
    size = bulk_file(stage).stat().st_size
    command = [stage.postgresql / "psql", "-Xqc", "copy bulk to stdout", "-o", "/dev/null"]
    begun = time.monotonic()
    run(command, client_environment(stage, way, flow.encryption))
    return bulk_sample(begun, size)


def copy_in(stage, way, flow):
    source = bulk_file(stage)
    administrator(stage, "truncate bulk_loaded", "checkpoint")
    begun = time.monotonic()
    run([stage.postgresql / "psql", "-Xqc", f"\\copy bulk_loaded from '{source}'"], client_environment(stage, way, flow.encryption))
    return bulk_sample(begun, source.stat().st_size)


def select_rows(stage, way, flow):
    tls = None
    if way.client_tls(flow.encryption):
        context = ssl.create_default_context(cafile=str(stage.tls / "server-ca.crt"))
        context.set_alpn_protocols(["postgresql"])
        if way.name == "direct":
            context.load_cert_chain(stage.tls / "client.crt", stage.tls / "client.key")
        tls = (context, way.direct_tls)
    begun = time.monotonic()
    return bulk_sample(begun, wire.select(way.ports[flow.encryption], "select * from bulk", ROWS, tls))


def bulk_sample(begun, size):
    mebibytes = size / (1 << 20)
    return Sample(value=mebibytes / (time.monotonic() - begun), operations=mebibytes)


def bulk_file(stage):
    """The table as a file, written once; COPY in reads it and COPY out is measured by its size."""
    path = stage.scratch / "bulk.copied"
    if not path.exists():
        with open(path, "wb") as out:
            command = [stage.postgresql / "psql", "-Xqc", "copy bulk to stdout"]
            subprocess.run(command, env=client_environment(stage, stage.ways[0], "none"), stdout=out, check=True)
    return path


def administrator(stage, *statements):
    settings = {"PGHOST": os.environ["WAREHOUSE_SOCKET"], "PGPORT": str(stage.server_port), "PGUSER": "postgres", "PGDATABASE": "bench"}
    command = [stage.postgresql / "psql", "-Xq"]
    for statement in statements:
        command += ["-c", statement]
    run(command, {**os.environ, **settings})


def idle(stage, way, flow):
    """Bytes of the proxy for each idle connection, against a server that stands in, from a process just started."""
    connections = min(flow.options[0], idle_connections_max())
    process = way.process("idle")
    way.begin_anew("idle")

    async def measure():
        crowd = wire.Crowd(way.ports["idle"])
        # The first connection pays for what all of them share.
        await crowd.grow(1)
        before = process.kib("VmRSS")
        await crowd.grow(connections + 1)
        await asyncio.sleep(1)
        after = process.kib("VmRSS")
        await crowd.close()
        return (after - before) / connections

    return Sample(value=asyncio.run(measure()))


def idle_connections_max():
    """A proxy has two sockets for each connection, and some hundred files for itself."""
    return (resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 500) // 2


def dbt_build(stage, way, flow):
    environment = {**os.environ, "TOLLHOUSE_HOST": "127.0.0.1", "TOLLHOUSE_PORT": str(way.ports[flow.encryption])}
    artifacts = stage.scratch / "dbt"
    command = [os.environ["BENCH_DBT"], "build", "--target", "proxied", "--project-dir", "deploy/demo/dbt", "--profiles-dir", "deploy/demo/dbt",
               "--target-path", artifacts, "--log-path", artifacts, "--no-version-check"]  # fmt: skip
    begun = time.monotonic()
    run(command, environment)
    return Sample(value=time.monotonic() - begun)


def http_statements(stage, way, flow):
    """Statements by POST, each answered at once."""
    (connections,) = flow.options
    threads = min(connections, os.cpu_count())
    command = ["wrk", "--threads", threads, "--connections", connections, "--duration", f"{SECONDS}s", "--timeout", "30s",
               "--latency", "--script", HERE / "http/statement.lua", f"http://127.0.0.1:{way.ports['http']}"]  # fmt: skip
    figures = json.loads(run(command, os.environ).splitlines()[-1])
    if figures["errors"]:
        raise RuntimeError(f"{way.name}: {figures['errors']} statements failed")
    rate = figures["requests"] * 1e6 / figures["duration_us"]
    return Sample(value=rate, operations=figures["requests"], p50_us=figures["p50_us"], p99_us=figures["p99_us"])


def http_result(stage, way, _flow):
    """One large result, read to its end and counted."""
    size = http_bulk(stage)
    connection = http.client.HTTPConnection("127.0.0.1", way.ports["http"], timeout=600)
    headers = {"X-Trino-Catalog": "memory", "X-Trino-Schema": "bench", "X-Trino-User": "bench", "X-Trino-Source": "bulk"}
    connection.request("POST", "/v1/statement", b"select a, b from bulk", headers)
    following = urlsplit(json.load(connection.getresponse())["nextUri"])
    begun = time.monotonic()
    connection.request("GET", following.path, headers=headers)
    reply, read = connection.getresponse(), 0
    buffer = memoryview(bytearray(1 << 20))
    while count := reply.readinto(buffer):
        read += count
    connection.close()
    if read != size:
        raise RuntimeError(f"{way.name}: {read} bytes of {size}")
    return bulk_sample(begun, size)


def http_bulk(stage):
    """The large result as a file, written once: a gibibyte of rows as Trino sends them."""
    path = stage.scratch / "bulk.json"
    if not path.exists():
        rows = ",".join(f'[{number},"{number:032x}"]' for number in range(10_000_000, 10_020_000)).encode()
        with open(path, "wb") as out:
            out.write(b'{"id":"bulk","columns":[{"name":"a","type":"bigint"},{"name":"b","type":"varchar"}],"data":[')
            while out.tell() < 1 << 30:
                out.write(rows + b",")
            out.write(rows + b'],"stats":{"state":"FINISHED"}}')
        path.chmod(0o644)
    return path.stat().st_size


def ready(_stage, way, _flow):
    """Milliseconds from the start of the process until it serves: /readyz for Tollhouse, an accepted connection for others."""
    return Sample(value=way.begin_anew("none") * 1000)


def resident(stage, way, _flow):
    """Resident mebibytes of a process that was started and let one client in and out."""
    way.begin_anew("none")
    run([stage.postgresql / "psql", "-Xqc", "select 1"], client_environment(stage, way, "none"))
    time.sleep(1)
    return Sample(value=way.process("none").kib("VmRSS") / 1024)


PROXIES = ("tollhouse-write", "pgbouncer", "haproxy", "envoy")
HTTP_WAYS = ("direct", "tollhouse-write", "tollhouse-fsync", "haproxy", "envoy", "nginx")
FLOWS = [
    Flow("point-prepared-1", "Point SELECT, prepared, 1 client", "queries/s", pgbench, operation="query", options=("prepared", 1)),
    Flow("point-prepared-16", "Point SELECT, prepared, 16 clients", "queries/s", pgbench, operation="query", options=("prepared", 16)),
    Flow("point-simple-1", "Point SELECT, simple protocol, fresh literals, 1 client", "queries/s", pgbench, operation="query", options=("simple", 1)),
    Flow("point-simple-16", "Point SELECT, simple protocol, fresh literals, 16 clients", "queries/s", pgbench, operation="query", options=("simple", 16)),
    Flow("copy-out", "COPY out", "MiB/s", copy_out, operation="MiB"),
    Flow("copy-in", "COPY in", "MiB/s", copy_in, operation="MiB"),
    Flow("select", "SELECT of the whole table", "MiB/s", select_rows, operation="MiB"),
    Flow("connect", "Connect, one query, disconnect", "connections/s", pgbench, operation="connection", options=("simple", 1, "-C")),
    Flow("server-tls-point", "Point SELECT, prepared, 16 clients, TLS to the server", "queries/s", pgbench, "server", operation="query", options=("prepared", 16)),
    Flow("server-tls-select", "SELECT of the whole table, TLS to the server", "MiB/s", select_rows, "server", operation="MiB"),
    Flow("tls-point", "Point SELECT, prepared, 16 clients, TLS on both sides", "queries/s", pgbench, "both", operation="query", options=("prepared", 16)),
    Flow("tls-select", "SELECT of the whole table, TLS on both sides", "MiB/s", select_rows, "both", operation="MiB"),
    Flow("http-statement-1", "Statements over HTTP, fresh literals, 1 connection", "statements/s", http_statements, "http", operation="statement", ways=HTTP_WAYS, options=(1,)),
    Flow("http-statement-64", "Statements over HTTP, fresh literals, 64 connections", "statements/s", http_statements, "http", operation="statement", ways=HTTP_WAYS, options=(64,)),
    Flow("http-result", "A result of 1 GiB over HTTP", "MiB/s", http_result, "http", operation="MiB", ways=HTTP_WAYS),
    Flow("dbt", "dbt build of the demo project", "s", dbt_build, "none", higher=False),
    Flow("idle-1000", "1,000 idle connections", "KiB each", idle, higher=False, ways=PROXIES, rounds_max=3, options=(1000,)),
    Flow("idle-10000", "10,000 idle connections", "KiB each", idle, higher=False, ways=PROXIES, rounds_max=3, options=(10000,)),
    Flow("ready", "Start to ready", "ms", ready, higher=False, ways=("tollhouse-write", "tollhouse-fsync", "pgbouncer", "haproxy", "envoy")),
    Flow("resident", "Resident memory, idle", "MiB", resident, higher=False, ways=PROXIES, rounds_max=3),
]  # fmt: skip


def measure(stage, way, flow):
    """One sample, with the CPU time and the peak memory of the process on the way."""
    process = way.process(flow.encryption) if flow.operation else None
    if process:
        process.forget_peak()
        before = process.cpu_seconds()
    sample = flow.run(stage, way, flow)
    if process:
        sample.peak_kib = process.kib("VmHWM")
        sample.cpu_us = (process.cpu_seconds() - before) * 1e6 / sample.operations
    return sample


def measure_all(stage, flows):
    samples = []
    for flow in flows:
        ways = [way for way in stage.ways if way.name in flow.ways]
        if flow.name == "dbt":
            # The first build makes the schemas; it is not like the others.
            dbt_build(stage, stage.ways[0], flow)
        for number in range(min(ROUNDS, flow.rounds_max)):
            # Each round begins with another way, so that none always has the same one before it.
            for way in ways[number % len(ways) :] + ways[: number % len(ways)]:
                sample = measure(stage, way, flow)
                samples.append({"flow": flow.name, "way": way.name, "round": number, **asdict(sample)})
                print(f"  {flow.name:20} {number + 1:2} {way.name:16} {sample.value:12.1f} {flow.unit}", file=sys.stderr, flush=True)
    return samples


def version(command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip().splitlines()[0].strip()


def stripped_bytes(stage):
    copy = stage.scratch / "stripped"
    subprocess.run(["strip", "-o", str(copy), stage.binary], check=True)
    return copy.stat().st_size


def circumstances(stage):
    model = next((line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), platform.machine())
    return {
        "taken": time.strftime("%Y-%m-%d"),
        "cpus": os.cpu_count(),
        "cpu": model,
        "kernel": platform.release(),
        "load_before": os.getloadavg()[0],
        "seconds": SECONDS,
        "rounds": ROUNDS,
        "rows": ROWS,
        "idle_connections_max": idle_connections_max(),
        "note": os.environ.get("BENCH_NOTE", ""),
        "stripped_bytes": stripped_bytes(stage),
        "versions": {
            "tollhouse": version([stage.binary, "--version"]),
            "postgresql": version([stage.postgresql / "postgres", "--version"]),
            "pgbouncer": version([os.environ["BENCH_PGBOUNCER"], "--version"]),
            "haproxy": " ".join(version([os.environ["BENCH_HAPROXY"], "-v"]).split()[:3]),
            "nginx": subprocess.run([os.environ["BENCH_NGINX"], "-v"], capture_output=True, text=True, check=True).stderr.strip(),
            # REVISION/VERSION/STATUS/TYPE/TLS
            "envoy": "Envoy " + version([os.environ["BENCH_ENVOY"], "--version"]).split("version: ")[1].split("/")[1],
        },
    }


def chosen():
    names = {flow.name for flow in FLOWS}
    flows = [flow for flow in FLOWS if not WANTED or any(flow.name == name if name in names else flow.name.startswith(name) for name in WANTED)]
    if not flows:
        sys.exit(f"BENCH_FLOWS names no flow; there are: {' '.join(flow.name for flow in FLOWS)}")
    return flows


def raise_files_limit():
    """As many open files as the system lets us have; children inherit it."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (FILES_MAX, max(hard, FILES_MAX)))
    except ValueError:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def main():
    flows = chosen()
    raise_files_limit()
    with Stage() as stage:
        results = {"circumstances": circumstances(stage)}
        results["samples"] = measure_all(stage, flows)
    results["flows"] = [
        {"name": flow.name, "title": flow.title, "unit": flow.unit, "higher": flow.higher, "operation": flow.operation} for flow in flows
    ]
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    report.write(OUT)
    print((OUT / "figures.md").read_text())


if __name__ == "__main__":
    main()
