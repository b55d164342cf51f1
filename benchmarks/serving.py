"""The model server beside ``mlflow models serve``, and swaps under load: ``make bench-serving``.

One forest, one machine, one run: both servers have one process, and take turns, so that what else the machine
does slows both. Goals are ratios; the exit code is 1 where one is missed.
"""

from __future__ import annotations

import asyncio
import json
import os
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

import aiohttp
import numpy as np
import pandas as pd
import requests
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

MODEL, COLUMNS, ROUNDS, SECONDS, SWAPS = "forest", 13, 3, 5.0, 20
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
def running(command: list[str], url: str, log: Path) -> Iterator[str]:
    """Run a server until it answers, and end it."""
    with log.open("w") as stream:
        process = subprocess.Popen(command, stdout=stream, stderr=stream, start_new_session=True)
    try:
        until = time.monotonic() + 120
        while not answers(url):
            if process.poll() is not None or time.monotonic() > until:
                raise SystemExit(f"{command[0]} does not answer:\n{log.read_text()[-3000:]}")
            time.sleep(0.2)
        yield url
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(60)


def answers(url: str) -> bool:
    """Tell whether a server answers a request."""
    try:
        return requests.post(f"{url}/invocations", BODY, headers=HEADERS, timeout=30).ok
    except requests.ConnectionError:
        return False


HEADERS = {"Content-Type": "application/json"}


async def measure(url: str, connections: int, seconds: float) -> Measured:
    """Ask for single rows over some connections, each as fast as it is answered."""
    taken: list[float] = []
    begun = time.perf_counter()

    async def client(session: aiohttp.ClientSession) -> None:
        while time.perf_counter() - begun < seconds:
            asked = time.perf_counter()
            async with session.post(f"{url}/invocations", data=BODY, headers=HEADERS) as answer:
                await answer.read()
                answer.raise_for_status()
            taken.append(time.perf_counter() - asked)

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=connections)) as session:
        await asyncio.gather(*(client(session) for _ in range(connections)))
    return Measured(taken, time.perf_counter() - begun)


def compare(ours: str, theirs: str) -> tuple[dict[tuple[str, int], Measured], list[tuple[str, float, bool]]]:
    """Measure both in turns; the rounds are put together."""
    found: dict[tuple[str, int], Measured] = {}
    for connections in (1, 32):
        for _ in range(ROUNDS):
            for name, url in (("podium serve", ours), ("mlflow models serve", theirs)):
                now = asyncio.run(measure(url, connections, SECONDS))
                before = found.get((name, connections), Measured([], 0.0))
                found[name, connections] = Measured(
                    before.seconds + now.seconds, before.elapsed + now.elapsed
                )
    us, them = ({at: found[name, at] for at in (1, 32)} for name in ("podium serve", "mlflow models serve"))
    faster = us[32].per_second / them[32].per_second
    median = us[1].milliseconds(50) / them[1].milliseconds(50)
    slowest = us[32].milliseconds(99) / them[32].milliseconds(99)
    return found, [
        ("requests/s at 32 connections: at least 10 times", faster, faster >= 10),
        ("median at 1 connection: at most 1 times", median, median <= 1),
        ("99th percentile at 32 connections: at most 1/3", slowest, slowest <= 1 / 3),
    ]


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
        os.environ |= {"MLFLOW_TRACKING_URI": uri, "PODIUM_LEDGER_URL": stack.ledger_url}
        services = Services(Settings(), registry=Registry(uri), ledger=Ledger(stack.ledger_url))
        numbers = [
            register_model(
                services, MODEL, forest(seed), ROWS, classifies=True, trusted=["sklearn.tree._tree.Tree"]
            )
            for seed in range(3)
        ]
        make_champion(services, MODEL, numbers[0])
        port, other = free_port(), free_port()
        binaries = Path(sys.executable).parent
        # MLflow starts its server by name.
        os.environ["PATH"] = os.pathsep.join([str(binaries), os.environ["PATH"]])
        us = [str(binaries / "podium"), "serve", MODEL, "--port", str(port)]
        them = [
            *(str(binaries / "mlflow"), "models", "serve", "--model-uri", f"models:/{MODEL}/{numbers[0]}"),
            *("--env-manager", "local", "--port", str(other), "--workers", "1"),
        ]
        logs = Path(folder)
        with running(us, f"http://127.0.0.1:{port}", logs / "us.log") as ours:
            with running(them, f"http://127.0.0.1:{other}", logs / "them.log") as theirs:
                equal = same_predictions(ours, theirs)
                found, goals = compare(ours, theirs)
            requests_, failed, mixed, longest = swap_under_load(services, ours, numbers)
    table = Table("server", "connections", "requests/s", "p50 ms", "p99 ms")
    for (name, connections), measured in found.items():
        numbers_ = (measured.per_second, measured.milliseconds(50), measured.milliseconds(99))
        table.add_row(name, str(connections), *(f"{number:,.1f}" for number in numbers_))
    console.print(f"One row of {COLUMNS} columns, a forest of 50 trees, one process each.", table)
    for goal, ratio, met in (
        *goals,
        ("same predictions, to the last bit", float(equal), equal),
        (f"failed of {requests_:,} requests during {SWAPS} swaps: none", failed, not failed),
        ("answers that mix two versions: none", mixed, not mixed),
        ("longest wait for the new version: at most 5 s", longest, longest <= 5),
    ):
        console.print(f"{'met   ' if met else 'MISSED'} {goal}: {ratio:.3g}", markup=False)
    if failed or mixed or longest > 5 or not equal or not all(met for _, _, met in goals):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
