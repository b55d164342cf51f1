"""The model server beside ``mlflow models serve``, LitServe and BentoML, and swaps under load.

One forest, one machine, one run: each server has one process for the model, and all take turns, so that what
else the machine does slows all. Goals are ratios; the exit code is 1 where one is missed.
``make bench-serving``.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import aiohttp
import numpy as np
import pandas as pd
import requests
from other_servers import Server, others
from results import QUICK, Figure, at_least, at_most, keep
from rich.console import Console
from rich.table import Table
from sklearn.ensemble import RandomForestClassifier

from podium.ledger.store import Ledger
from podium.registry.client import Registry
from podium.services import Services
from podium.settings import PROJECT_ROOT, Settings
from podium.stack import control
from podium.stack.layout import Paths
from podium.stack.running_stack import running_stack

sys.path.insert(0, str(PROJECT_ROOT / "tests"))
from support.serving import make_champion, register_model

MODEL, COLUMNS = "forest", 13
ROUNDS, SECONDS, SWAPS = (1, 2.0, 2) if QUICK else (3, 5.0, 20)
US, THEM = "podium serve", "mlflow models serve"
STATE = PROJECT_ROOT / ".podium" / "bench-serving"
RANDOM = np.random.default_rng(0)
ROWS = pd.DataFrame(RANDOM.normal(size=(2000, COLUMNS)), columns=[f"c{at}" for at in range(COLUMNS)])
BODY = json.dumps({"dataframe_split": ROWS.head(1).to_dict("split")}).encode()


@dataclass
class Measured:
    """What one client saw of a server: seconds of each request, and how long all took."""

    seconds: list[float]
    elapsed: float

    @property
    def per_second(self) -> float:
        """Return requests per second."""
        return len(self.seconds) / self.elapsed

    def milliseconds(self, percentile: float) -> float:
        """Return a percentile of the requests' times."""
        return float(np.percentile(self.seconds, percentile)) * 1000


def forest(seed: int) -> RandomForestClassifier:
    """Fit 50 trees."""
    label = (ROWS.c0 + ROWS.c1 * ROWS.c2 > 0).map({False: "no", True: "yes"})
    return RandomForestClassifier(50, random_state=seed).fit(ROWS, label)


def free_port() -> int:
    """Return a port that nobody uses."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


@contextmanager
def running(command: list[str], server: Server, log: Path) -> Iterator[Server]:
    """Run a server until it answers, and end it."""
    with log.open("w") as stream:
        process = subprocess.Popen(
            command, stdout=stream, stderr=stream, start_new_session=True, cwd=log.parent
        )
    try:
        until = time.monotonic() + 120
        while not answers(server):
            if process.poll() is not None or time.monotonic() > until:
                raise SystemExit(f"{command[0]} does not answer:\n{log.read_text()[-3000:]}")
            time.sleep(0.2)
        yield server
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(60)


def answers(server: Server) -> bool:
    """Tell whether a server answers a request."""
    try:
        return requests.post(f"{server.url}/invocations", server.body, headers=HEADERS, timeout=30).ok
    except requests.ConnectionError:
        return False


HEADERS = {"Content-Type": "application/json"}
LENGTH = re.compile(rb"(?i)\r\ncontent-length: *([0-9]+)")


class Connection(asyncio.Protocol):
    """One connection that sends the same request again and again, each as soon as the last is answered.

    A client in Python that reads answers whole takes as long as the fastest server, on the same two cores.
    """

    def __init__(self, request: bytes, until: float, taken: list[float]) -> None:
        self._request, self._until, self._taken = request, until, taken
        self._buffer, self._asked = b"", 0.0
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        """Send the first request."""
        self._transport = transport
        self._ask()

    def data_received(self, data: bytes) -> None:
        """Note the time once the answer is whole, and ask again."""
        self._buffer += data
        head, found, body = self._buffer.partition(b"\r\n\r\n")
        length = LENGTH.search(head)
        if not found or (length and len(body) < int(length[1])):
            return
        if not (length and head.startswith(b"HTTP/1.1 200 ")):
            self._end(SystemExit(f"not an answer of one piece: {self._buffer[:500]!r}"))
            return
        self._taken.append(time.perf_counter() - self._asked)
        self._buffer = b""
        if time.perf_counter() < self._until:
            self._ask()
        else:
            self._end(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail, if it was not this side that ended it."""
        self._end(exc or ConnectionError("the server closed the connection"))

    def _ask(self) -> None:
        self._asked = time.perf_counter()
        self._transport.write(self._request)

    def _end(self, problem: BaseException | None) -> None:
        if not self.ended.done():
            if problem is None:
                self.ended.set_result(None)
            else:
                self.ended.set_exception(problem)
            self._transport.close()


async def measure(server: Server, connections: int, seconds: float) -> Measured:
    """Ask for single rows over some connections, each as fast as it is answered."""
    taken: list[float] = []
    host, port = server.url.removeprefix("http://").split(":")
    request = (
        f"POST /invocations HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(server.body)}\r\n\r\n"
    ).encode() + server.body
    begun = time.perf_counter()
    loop = asyncio.get_running_loop()
    opened = [
        await loop.create_connection(lambda: Connection(request, begun + seconds, taken), host, int(port))
        for _ in range(connections)
    ]
    await asyncio.gather(*(connection.ended for _, connection in opened))
    return Measured(taken, time.perf_counter() - begun)


def compare(servers: list[Server]) -> dict[tuple[str, int], Measured]:
    """Measure all in turns; the rounds are put together."""
    found: dict[tuple[str, int], Measured] = {}
    for connections in (1, 32):
        for _ in range(ROUNDS):
            for server in servers:
                now = asyncio.run(measure(server, connections, SECONDS))
                before = found.get((server.name, connections), Measured([], 0.0))
                found[server.name, connections] = Measured(
                    before.seconds + now.seconds, before.elapsed + now.elapsed
                )
    return found


def judged(found: dict[tuple[str, int], Measured]) -> list[Figure]:
    """Return the ratios to MLflow's server, and to the best of the others where they could be had."""
    us, them = ({at: found[name, at] for at in (1, 32)} for name in (US, THEM))
    faster = us[32].per_second / them[32].per_second
    median = us[1].milliseconds(50) / them[1].milliseconds(50)
    slowest = us[32].milliseconds(99) / them[32].milliseconds(99)
    rates = {name: measured.per_second for (name, at), measured in found.items() if at == 32}
    others = {name: rate for name, rate in rates.items() if name not in (US, THEM)}
    figures = [Figure(f"{name}, 32 connections", rate, "requests/s") for name, rate in rates.items()]
    figures += [
        at_least(f"requests at 32 connections / {THEM}", faster, "x", 10),
        at_most(f"median at 1 connection / {THEM}", median, "x", 1),
        at_most(f"99th percentile at 32 connections / {THEM}", slowest, "x", round(1 / 3, 3)),
    ]
    if others:
        best = max(others, key=lambda name: others[name])
        ratio = us[32].per_second / others[best]
        figures.append(at_least(f"requests at 32 connections / the best other ({best})", ratio, "x", 2.5))
    return figures


def same_predictions(ours: str, theirs: str) -> bool:
    """Ask both the same rows, and compare to the last bit."""
    body = json.dumps({"dataframe_split": ROWS.head(200).to_dict("split")}).encode()
    one, other = (
        requests.post(f"{url}/invocations", body, headers=HEADERS, timeout=60).json()
        for url in (ours, theirs)
    )
    return bool(one == other)


def swap_under_load(services: Services, url: str, numbers: list[int]) -> tuple[int, int, int, float]:
    """Move the champion while eight clients ask.

    Returns:
        Requests, failed ones, answers that are not the whole answer of the version that they name, and the
        longest time from the move of the alias to the first answer by the new version, in seconds.
    """
    body = json.dumps(ROWS.head(5).to_dict("records")).encode()
    expected: dict[str, str] = {}
    stop = threading.Event()
    seen: list[tuple[float, int, str, str]] = []

    async def client(session: aiohttp.ClientSession) -> None:
        while not stop.is_set():
            async with session.post(f"{url}/predict", data=body, headers=HEADERS) as answer:
                text = json.dumps((await answer.json()).get("predictions"))
                version = answer.headers.get("X-Model-Version", "")
                seen.append((time.monotonic(), answer.status, version, text))

    async def clients() -> None:
        async with aiohttp.ClientSession() as session:
            await asyncio.gather(*(client(session) for _ in range(8)))

    load = threading.Thread(target=lambda: asyncio.run(clients()))
    moved: list[tuple[float, int]] = []
    load.start()
    for swap in range(SWAPS):
        number = numbers[(swap + 1) % len(numbers)]
        moved.append((time.monotonic(), number))
        make_champion(services, MODEL, number)
        time.sleep(6)
    stop.set()
    load.join()
    for number in numbers:
        make_champion(services, MODEL, number)
        while requests.get(f"{url}/version", timeout=30).json()["version"] != number:
            time.sleep(0.2)
        alone = requests.post(f"{url}/predict", body, headers=HEADERS, timeout=30)
        expected[str(number)] = json.dumps(alone.json()["predictions"])
    failed = sum(status != 200 for _, status, _, _ in seen)
    mixed = sum(status == 200 and expected[version] != text for _, status, version, text in seen)
    longest = max(
        next((at for at, _, version, _ in seen if at > when and version == str(number)), float("inf")) - when
        for when, number in moved
    )
    return len(seen), failed, mixed, longest


def main() -> None:
    """Print the tables."""
    console = Console()
    control.clean(Paths(STATE))
    os.environ["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"] = "false"
    with TemporaryDirectory() as folder, running_stack(STATE, parts={"postgres"}) as stack:
        os.chdir(folder)
        uri = f"sqlite:///{folder}/mlflow.db"
        os.environ |= {**stack.client_env(), "MLFLOW_TRACKING_URI": uri}
        services = Services(Settings(), registry=Registry(uri), ledger=Ledger(stack.ledger_url))
        numbers = [
            register_model(
                services, MODEL, forest(seed), ROWS, classifies=True, trusted=["sklearn.tree._tree.Tree"]
            )
            for seed in range(3)
        ]
        make_champion(services, MODEL, numbers[0])
        binaries = Path(sys.executable).parent
        # MLflow starts its server by name.
        os.environ["PATH"] = os.pathsep.join([str(binaries), os.environ["PATH"]])
        ours, theirs = (Server(name, f"http://127.0.0.1:{free_port()}", BODY) for name in (US, THEM))
        us = [str(binaries / "podium"), "serve", MODEL, "--port", port_of(ours)]
        them = [
            *(str(binaries / "mlflow"), "models", "serve", "--model-uri", f"models:/{MODEL}/{numbers[0]}"),
            *("--env-manager", "local", "--port", port_of(theirs), "--workers", "1"),
        ]
        logs, ports = Path(folder), [free_port(), free_port()]
        with running(us, ours, logs / "us.log"):
            with (
                running(them, theirs, logs / "them.log"),
                others(logs, forest(0), ROWS, running, ports) as more,
            ):
                equal = same_predictions(ours.url, theirs.url)
                found = compare([ours, theirs, *more])
            requests_, failed, mixed, longest = swap_under_load(services, ours.url, numbers)
    table = Table("server", "connections", "requests/s", "p50 ms", "p99 ms")
    for (name, connections), measured in found.items():
        numbers_ = (measured.per_second, measured.milliseconds(50), measured.milliseconds(99))
        table.add_row(name, str(connections), *(f"{number:,.1f}" for number in numbers_))
    console.print(f"One row of {COLUMNS} columns, a forest of 50 trees, one process each.", table)
    figures = [
        *judged(found),
        at_least(f"same predictions as {THEM}, to the last bit", equal, "", 1),
        at_most(f"failed of {requests_:,} requests during {SWAPS} swaps", failed, "", 0),
        at_most("answers that mix two versions", mixed, "", 0),
        at_most("longest wait for the new version", longest, "s", 5),
    ]
    keep("serving", figures)
    if any(figure.holds is False for figure in figures):
        raise SystemExit(1)


def port_of(server: Server) -> str:
    """Return the port of a server that is yet to start."""
    return server.url.rpartition(":")[2]


if __name__ == "__main__":
    main()
