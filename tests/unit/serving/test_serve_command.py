"""``podium serve`` as people run it, by the document: two processes, hostile loads, the end."""

from __future__ import annotations

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
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import httpx
import numpy as np
import pandas as pd
import psutil
import pytest
import uvicorn
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from sqlalchemy import make_url
from typer.testing import CliRunner

from podium.cli.main import app
from podium.ledger.servers import servers_of
from podium.ledger.store import Ledger
from podium.registry.client import Registry
from podium.services import Services
from podium.settings import PROJECT_ROOT, Settings
from support.database import execute
from support.patience import PATIENCE_SECONDS
from support.serving import make_champion, register_model

DOCUMENT = (PROJECT_ROOT / "docs" / "serving.md").read_text()
BLOCKS = re.findall(r"```sh\n(.*?)```", DOCUMENT, re.DOTALL)
HOUSES = pd.DataFrame({"size": np.arange(40.0, 80.0), "place": ["centre", "north"] * 20})
MIB = 2**20


@dataclass
class Running:
    process: subprocess.Popen[str]
    url: str
    temporary: Path

    def memory(self) -> float:
        """Resident memory of all processes, in MiB."""
        family = [
            psutil.Process(self.process.pid),
            *psutil.Process(self.process.pid).children(recursive=True),
        ]
        return sum(process.memory_info().rss for process in family) / MIB


@pytest.fixture(scope="module")
def running(
    ledger_url: str, ledger_server_url: str, mlflow_uri: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    """The document's first command, on a free port."""
    folder, temporary = tmp_path_factory.mktemp("serve"), tmp_path_factory.mktemp("temporary")
    environment = {
        **os.environ,
        "MLFLOW_TRACKING_URI": mlflow_uri,
        # All that a model server has of the ledger.
        "PODIUM_LEDGER_SERVER_URL": ledger_server_url,
        "PYTHONPATH": str(PROJECT_ROOT / "include"),
        "TMPDIR": str(temporary),
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MLFLOW_TRACKING_URI", mlflow_uri)
        patch.setenv("PODIUM_LEDGER_URL", ledger_url)
        patch.setenv("PODIUM_LEDGER_SERVER_URL", ledger_server_url)
        services = Services(settings=Settings(), registry=Registry(mlflow_uri), ledger=Ledger(ledger_url))
        model = make_pipeline(
            make_column_transformer((OneHotEncoder(), ["place"]), remainder="passthrough"), LinearRegression()
        ).fit(HOUSES, HOUSES["size"] * 3000)
        make_champion(services, "house-prices", register_model(services, "house-prices", model, HOUSES))
        assert BLOCKS[0] == ".venv/bin/podium serve house-prices --port 8000 --workers 2\n"
        command = BLOCKS[0].replace("8000", "0").split()[1:]
        with subprocess.Popen(
            [sys.executable, "-c", "from podium.cli.main import app; app()", *command],
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                yield Running(process, address(process), temporary)
            finally:
                process.terminate()
                process.wait(PATIENCE_SECONDS)


def address(process: subprocess.Popen[str]) -> str:
    """Read the log until it says where the server listens; what follows is read so that it never waits."""
    assert process.stderr is not None
    log: list[str] = []
    for line in process.stderr:
        log.append(line)
        if found := re.search(r"running on (http://127\.0\.0\.1:[1-9]\d*)", line):
            threading.Thread(target=process.stderr.read, daemon=True).start()
            until = time.monotonic() + PATIENCE_SECONDS
            while not is_ready(found[1]):
                assert time.monotonic() < until
                time.sleep(0.2)
            return found[1]
    raise AssertionError("".join(log))


def is_ready(url: str) -> bool:
    """Whether both processes are: connections go to either."""
    try:
        return all(httpx.get(f"{url}/ready", timeout=PATIENCE_SECONDS).status_code == 200 for _ in range(8))
    except httpx.TransportError:
        return False


def test_the_document_is_followed_literally(running: Running, tmp_path: Path) -> None:
    told = []
    for block in BLOCKS[1:]:
        commands = block.replace("http://127.0.0.1:8000", running.url)
        done = subprocess.run(
            ["sh", "-e", "-c", commands], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{commands}\n{done.stdout}\n{done.stderr}"
        told.append(done.stdout)
    assert json.loads(told[0])["predictions"] == pytest.approx([120.5 * 3000, 64.0 * 3000])
    assert told[1].count('{"predictions":[') == 5
    assert '"version":1' in told[2]
    (example,) = re.findall(r"```json\n(.*?)\n```", DOCUMENT)
    assert told[3] == example


def test_its_processes_say_together_as_one_server_what_they_serve(running: Running, ledger_url: str) -> None:
    told = "SELECT count(DISTINCT server), count(version) FROM servers WHERE model = 'house-prices'"
    until = time.monotonic() + PATIENCE_SECONDS
    while (found := execute(ledger_url, told)) != [(1, 2)]:
        assert time.monotonic() < until, found
        time.sleep(0.2)
    (server,) = servers_of(Ledger(ledger_url), ["house-prices"])["house-prices"]
    assert (server.versions, server.problem, server.silent) == ((1,), "", False)
    assert server.name.startswith(f"{socket.gethostname()}:")


def test_every_option_is_documented() -> None:
    told = CliRunner().invoke(app, ["serve", "--help"], env={"COLUMNS": "200", "TERM": "dumb"}).stdout
    documented = set(re.findall(r"^\| `(--[\w-]+)` \|", DOCUMENT, re.MULTILINE))
    assert documented == set(re.findall(r"(--[\w-]+)", told)) - {"--help"}


def test_it_listens_on_loopback_only(running: Running) -> None:
    port = int(running.url.rsplit(":", 1)[1])
    family = [
        psutil.Process(running.process.pid),
        *psutil.Process(running.process.pid).children(recursive=True),
    ]
    listening = {
        connection.laddr
        for process in family
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert {place.ip for place in listening if place.port == port} == {"127.0.0.1"}


def test_metrics_are_the_sum_of_all_processes(running: Running) -> None:
    def answered() -> float:
        text = httpx.get(f"{running.url}/metrics").text
        found = re.search(
            r'^podium_rows_total{model="house-prices",version="1"} ([\d.]+)$', text, re.MULTILINE
        )
        return float(found[1]) if found else 0.0

    before = answered()
    for _ in range(20):
        httpx.post(f"{running.url}/predict", json=[{"size": 50.0, "place": "north"}] * 3).raise_for_status()
    assert answered() == before + 60


LARGE: dict[str, bytes] = {
    "spaces": b" " * (50 * MIB),
    "lists": b"[" + b"[]," * (5 * MIB) + b"[]]",
    "objects": b"[" + b"{}," * (5 * MIB) + b"{}]",
    "a million columns": b"[{" + b",".join(b'"%d":1' % place for place in range(1_000_000)) + b"}]",
    "one text": b'[{"size": 1, "place": "' + b"a" * (10 * MIB) + b'"}]',
}


def test_many_large_bodies_at_once_take_bounded_memory(running: Running) -> None:
    def send(content: Any) -> None:
        answer = httpx.post(
            f"{running.url}/predict",
            content=content,
            headers={"Content-Type": "application/json"},
            timeout=PATIENCE_SECONDS,
        )
        assert answer.status_code in (400, 413, 503), answer.text
        statuses.append(answer.status_code)

    statuses: list[int] = []
    before, most = running.memory(), 0.0
    sent = [body for body in LARGE.values() for _ in range(2)] + [iter([LARGE["spaces"]])]
    threads = [threading.Thread(target=send, args=(content,)) for content in sent]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        most = max(most, running.memory())
        small = httpx.post(
            f"{running.url}/predict", json=[{"size": 5.0, "place": "north"}], timeout=PATIENCE_SECONDS
        )
        assert small.status_code == 200
    assert len(statuses) == len(sent)
    assert set(statuses) <= {400, 408, 413, 503}
    # For each of two processes: eight bodies of at most 16 MiB, and what becomes of one of them.
    assert most - before < 1024, f"{before:.0f} MiB before, {most:.0f} MiB at most"


def test_what_cannot_be_served_is_said_at_once(services: Services) -> None:
    for arguments, message in (
        ([""], "models.0"),
        (["a", "a"], "each model once"),
        (["a", "b", "--version", "3"], "--version needs exactly one model"),
    ):
        told = CliRunner().invoke(app, ["serve", *arguments])
        assert told.exit_code == 1
        assert message in told.output


def test_a_server_that_could_append_to_the_ledger_is_warned_of(
    services: Services, ledger_url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def told(**places: str) -> str:
        caplog.clear()
        for name in ("PODIUM_LEDGER_URL", "PODIUM_LEDGER_SERVER_URL"):
            monkeypatch.delenv(name, raising=False)
        # The command hands its options to the server's processes in the environment.
        with patch.dict(os.environ, places):
            done = CliRunner().invoke(app, ["serve", "toy"])
        assert done.exit_code == 0, done.stderr
        return caplog.text

    monkeypatch.setattr(uvicorn, "run", lambda *_, **__: None)
    for_servers = services.settings.ledger_server_url
    assert for_servers is not None
    both = {"PODIUM_LEDGER_URL": ledger_url, "PODIUM_LEDGER_SERVER_URL": for_servers.get_secret_value()}
    assert told(**both) == ""
    warning = "role podium can append events, even approvals. Set PODIUM_LEDGER_SERVER_URL"
    assert warning in told(PODIUM_LEDGER_URL=ledger_url)
    assert warning in told(PODIUM_LEDGER_SERVER_URL=ledger_url)
    away = make_url(ledger_url).set(port=1).render_as_string(hide_password=False)
    assert "in the ledger could not be checked: the ledger database did not" in told(PODIUM_LEDGER_URL=away)


def answer_of(url: str) -> int:
    """Ask by a connection of its own."""
    return httpx.post(f"{url}/predict", json=[{"size": 50.0, "place": "north"}]).status_code


def test_a_killed_process_is_replaced_and_what_it_left_is_removed(running: Running) -> None:
    # One folder of each process, with its copy of the model, and one with what both count.
    before = {*running.temporary.glob("podium-serve-*")}
    copies = {path.parent.parent for path in running.temporary.glob("podium-serve-*/*/MLmodel")}
    assert (len(before), len(copies)) == (3, 2)
    killed, _ = (
        child
        for child in psutil.Process(running.process.pid).children()
        if "spawn_main" in " ".join(child.cmdline())
    )
    killed.kill()

    def copies_now() -> set[Path]:
        return {path.parent.parent for path in running.temporary.glob("podium-serve-*/*/MLmodel")}

    until = time.monotonic() + PATIENCE_SECONDS
    while len(copies_now()) != 2 or copies_now() == copies:
        assert time.monotonic() < until
        # What takes its place leaves the requests to the other one until it has loaded the model.
        assert {answer_of(running.url) for _ in range(20)} == {200}
        time.sleep(0.1)
    for _ in range(100):
        assert answer_of(running.url) == 200
        time.sleep(0.02)
    assert len({*running.temporary.glob("podium-serve-*")}) == 3


def test_on_sigterm_it_answers_what_it_has_ends_and_leaves_nothing_behind(running: Running) -> None:
    url = httpx.URL(running.url)
    body = json.dumps([{"size": 50.0, "place": "north"}]).encode()
    with socket.create_connection((url.host, url.port), timeout=PATIENCE_SECONDS) as connection:
        head = f"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body[:10])
        httpx.get(f"{running.url}/health").raise_for_status()
        running.process.send_signal(signal.SIGTERM)
        time.sleep(1)
        connection.sendall(body[10:])
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")
    running.process.wait(20)
    assert not psutil.pid_exists(running.process.pid)
    assert list(running.temporary.iterdir()) == []
