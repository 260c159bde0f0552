"""The ways to the server that are compared: straight, through Tollhouse, and through each peer."""

import contextlib
import os
import random
import socket
import subprocess
import time
import urllib.request
from pathlib import Path
from string import Template

HERE = Path(__file__).resolve().parent
# How the way is encrypted: nowhere, towards the server, or on both sides.
ENCRYPTIONS = ("none", "server", "both")
READY_SECONDS_MAX = 30


def free_port():
    """A port that nobody listens on, below those that the system gives to outgoing connections: thousands of them come
    and go here, and one could take the port of a proxy that is being restarted."""
    while True:
        port = random.randrange(12000, 32000)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def accepts(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


class Process:
    """A program that listens, and what the kernel knows of what it used."""

    def __init__(self, name, command, ready, stage, unprivileged=False):
        self.name, self.command, self.ready, self.stage, self.unprivileged = name, command, ready, stage, unprivileged
        self.child = None

    def start(self):
        """Starts it; the seconds until it was ready."""
        log = open(self.stage.scratch / f"{self.name}.log", "ab")
        extra = {"user": "nobody", "group": "nogroup", "extra_groups": []} if self.unprivileged and os.geteuid() == 0 else {}
        begun = time.monotonic()
        self.child = subprocess.Popen(self.command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, **extra)
        while not self.ready():
            if self.child.poll() is not None or time.monotonic() - begun > READY_SECONDS_MAX:
                raise RuntimeError(f"{self.name} did not get ready; see {log.name}")
            time.sleep(0.001)
        return time.monotonic() - begun

    def stop(self):
        if self.child:
            self.child.terminate()
            try:
                self.child.wait(30)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()
            self.child = None

    def pids(self):
        """It and its workers, where it has some."""
        pid = self.child.pid
        return [str(pid), *Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def cpu_seconds(self):
        """User and system time so far, to a hundredth of a second (proc(5), stat)."""
        stats = [Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split() for pid in self.pids()]
        return sum(int(fields[11]) + int(fields[12]) for fields in stats) / os.sysconf("SC_CLK_TCK")

    def kib(self, field):
        """VmRSS or VmHWM (proc(5), status); workers count the pages that they share each."""
        lines = [line for pid in self.pids() for line in Path(f"/proc/{pid}/status").read_text().splitlines()]
        values = [int(line.split()[1]) for line in lines if line.startswith(field + ":")]
        if not values:
            raise RuntimeError(f"no {field} of {self.name}")
        return sum(values)

    def forget_peak(self):
        """Sets VmHWM back to what is resident now (proc(5), clear_refs)."""
        for pid in self.pids():
            Path(f"/proc/{pid}/clear_refs").write_text("5")


class Way:
    """One way to the server: a port for each encryption, and the process behind it."""

    def __init__(self, name, direct_tls=False):
        self.name = name
        # Begins TLS at once instead of asking first: Tollhouse and PgBouncer are asked, as libpq's clients do.
        self.direct_tls = direct_tls
        self.ports, self.processes = {}, {}
        # The directory of the audit log, for ways that have one.
        self.audit = None

    def process(self, encryption):
        return self.processes.get(encryption)

    def all_processes(self):
        return list(dict.fromkeys(self.processes.values()))

    def begin_anew(self, encryption):
        """Starts the process again, with an empty audit log, as at its first start; the seconds until it was ready."""
        process = self.processes[encryption]
        process.stop()
        if self.audit:
            self.audit.rename(f"{self.audit}.{time.monotonic_ns()}")
            self.audit.mkdir(mode=0o700)
        return process.start()

    def client_tls(self, encryption):
        """Whether the client speaks TLS on this way: with nothing in between, the only TLS is its own."""
        return encryption == "both" or (encryption == "server" and not self.processes)


class Stage:
    """Where everything stands: what benches/flows.sh has set up, and every way, started."""

    def __init__(self):
        self.scratch = Path(os.environ["BENCH_SCRATCH"])
        self.postgresql = Path(os.environ["BENCH_POSTGRESQL"])
        self.tls = Path(os.environ["BENCH_TLS"])
        self.server_port = int(os.environ["SERVER_PORT"])
        self.binary = os.environ["BENCH_BINARY"]
        self.http_server_port = free_port()
        self.values = {
            **os.environ,
            "STAND_IN_PORT": str(free_port()),
            "HTTP_SERVER_PORT": str(self.http_server_port),
            "SCRATCH": str(self.scratch),
        }
        command = ["python3", str(HERE / "wire.py"), self.values["STAND_IN_PORT"]]
        self.stand_in = Process("stand-in", command, lambda: accepts(int(self.values["STAND_IN_PORT"])), self)
        self.ways = [self._direct(), self._tollhouse("write"), self._tollhouse("fsync"), self._pgbouncer(), self._haproxy(), self._envoy(), self._nginx()]
        config = self._fill_in("http/server.conf", "http-server.conf")
        self.http_server = Process("http-server", [os.environ["BENCH_NGINX"], "-c", config], lambda: accepts(self.http_server_port), self)

    def __enter__(self):
        try:
            for process in self.processes():
                process.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        for process in self.processes():
            process.stop()

    def processes(self):
        return [self.stand_in, self.http_server] + [process for way in self.ways for process in way.all_processes()]

    def _fill_in(self, template, name, **values):
        path = self.scratch / name
        path.write_text(Template((HERE / template).read_text()).substitute({**self.values, **values}))
        path.chmod(0o644)
        return str(path)

    def _direct(self):
        way = Way("direct", direct_tls=True)
        way.ports = {encryption: self.server_port for encryption in ENCRYPTIONS}
        way.ports["http"] = self.http_server_port
        return way

    def _proxy(self, name, template, command, direct_tls, ready=None, **values):
        """A way whose one process has a port for each encryption, and one for the stand-in."""
        way = Way(name, direct_tls)
        way.ports = {key: free_port() for key in (*ENCRYPTIONS, "idle", "http")}
        ports = {f"PORT_{key.upper()}": str(port) for key, port in way.ports.items()}
        config = self._fill_in(template, name + Path(template).suffix, **ports, **values)
        process = Process(name, command(config), ready or (lambda: accepts(way.ports["none"])), self)
        way.processes = {key: process for key in way.ports}
        return way

    def _tollhouse(self, durability):
        name, admin = f"tollhouse-{durability}", free_port()
        directory = self.scratch / f"audit-{durability}"
        directory.mkdir(mode=0o700)

        def ready():
            try:
                return urllib.request.urlopen(f"http://127.0.0.1:{admin}/readyz", timeout=1).status == 200
            except OSError:
                return False

        values = {"DURABILITY": durability, "AUDIT_DIRECTORY": str(directory), "PORT_ADMIN": str(admin), "PORT_LOOPBACK": str(free_port())}
        way = self._proxy(name, "sidecar.yaml", lambda config: [self.binary, "run", "--config", config], False, ready, **values)
        way.audit = directory
        return way

    def _pgbouncer(self):
        way = Way("pgbouncer")
        for server_tls, encryptions in (("disable", ("none", "idle")), ("verify-full", ("server", "both"))):
            port = free_port()
            name = f"pgbouncer-{server_tls}"
            config = self._fill_in("peers/pgbouncer.ini", name + ".ini", PORT=str(port), SERVER_TLS=server_tls)
            # It refuses to run as root.
            command = [os.environ["BENCH_PGBOUNCER"], "--quiet", config]
            process = Process(name, command, lambda port=port: accepts(port), self, unprivileged=True)
            way.ports.update(dict.fromkeys(encryptions, port))
            way.processes.update(dict.fromkeys(encryptions, process))
        return way

    def _haproxy(self):
        return self._proxy("haproxy", "peers/haproxy.cfg", lambda config: [os.environ["BENCH_HAPROXY"], "-db", "-f", config], True)

    def _envoy(self):
        def command(config):
            envoy = os.environ["BENCH_ENVOY"]
            return [envoy, "-c", config, "--concurrency", str(os.cpu_count()), "--log-level", "error", "--disable-hot-restart"]

        return self._proxy("envoy", "peers/envoy.yaml", command, True)

    def _nginx(self):
        """For HTTP alone."""
        way = Way("nginx")
        way.ports["http"] = free_port()
        config = self._fill_in("peers/nginx.conf", "nginx.conf", PORT_HTTP=str(way.ports["http"]))
        process = Process("nginx", [os.environ["BENCH_NGINX"], "-c", config], lambda: accepts(way.ports["http"]), self)
        way.processes["http"] = process
        return way
