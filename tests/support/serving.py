"""Champions for the tests of the model server, and the server itself in a thread."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx
import mlflow
import pandas as pd
import uvicorn
from sqlalchemy import make_url

from podium.ledger.events import EventKind, NewEvent
from podium.ledger.store import Ledger
from podium.metrics.reference import Reference
from podium.names import Alias, Tag
from podium.registry.manifest import downloaded, read_manifest
from podium.registry.model_files import read_signature
from podium.services import Services
from podium.serving.app import create_app
from podium.serving.http import UVICORN
from podium.serving.settings import ServingSettings
from podium.training.saving import log_model, usable
from support.patience import PATIENCE_SECONDS


def register_model(
    services: Services,
    name: str,
    model: Any,
    inputs: pd.DataFrame,
    *,
    classifies: bool = False,
    trusted: Sequence[str] = (),
    reference: Reference | None = None,
    **details: Any,
) -> int:
    """Register a fitted model as a training run would, and record its manifest."""
    mlflow.set_experiment(name)
    with usable(model, classifies=classifies, requirements=()) as trained, mlflow.start_run() as run:
        log_model(trained, inputs, ["mlflow"], trusted, reference)
    return register_run(services, name, run.info.run_id, **details)


def register_run(services: Services, name: str, run_id: str, **more: Any) -> int:
    """Register the model that a run logged, and record its manifest."""
    run = mlflow.get_run(run_id)
    tags = {Tag.INPUTS_DIGEST: run.info.run_id}
    version = services.registry.register(
        name,
        run.info.run_id,
        run.outputs.model_outputs[0].model_id,
        {str(tag): text for tag, text in tags.items()},
    )
    with downloaded(services.registry, name, version.number) as folder:
        manifest, signature = read_manifest(folder), read_signature(folder)
    manifested = {"manifest": manifest.as_json(), "manifest_digest": manifest.digest()}
    details = {**manifested, "signature": signature, **more}
    services.ledger.append(NewEvent(EventKind.REGISTERED, name, version.number, details=details))
    return version.number


def make_champion(services: Services, name: str, number: int) -> None:
    """Make a version champion, on record."""
    before = services.registry.champion(name)
    services.ledger.append(
        NewEvent(EventKind.PROMOTED, name, number, from_version=before, run=f"test/{number}")
    )
    services.registry.set_alias(name, Alias.CHAMPION, number)


class Server:
    """A running model server."""

    def __init__(self, url: str, app: Any) -> None:
        self.url = url
        self.app = app
        self.client = httpx.Client(base_url=url, timeout=PATIENCE_SECONDS)

    def wait_until_ready(self) -> None:
        self.wait_for(lambda: self.client.get("/ready").status_code == 200, "ready")

    def wait_for_version(self, number: int, prefix: str = "") -> None:
        self.wait_for(lambda: self.client.get(f"{prefix}/version").json()["version"] == number, f"v{number}")

    def wait_for(self, true: Any, what: str) -> None:
        until = time.monotonic() + PATIENCE_SECONDS
        while not true():
            assert time.monotonic() < until, f"{what}: {self.client.get('/models').text}"
            time.sleep(0.02)


@contextmanager
def versions_that_answer(server: Server, records: list[dict[str, Any]]) -> Iterator[list[int]]:
    """Ask for predictions all the time, and list the versions that answer, each time that they change."""
    seen: list[int] = []
    stop = threading.Event()

    def ask() -> None:
        with httpx.Client(base_url=server.url, timeout=PATIENCE_SECONDS) as client:
            while not stop.wait(0.2):
                answer = client.post("/predict", json=records)
                assert answer.status_code in ({200} if seen else {200, 503}), answer.text
                if answer.is_success and [answer.json()["version"]] != seen[-1:]:
                    seen.append(answer.json()["version"])

    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(ask)
        try:
            yield seen
        finally:
            stop.set()
            asking.result()


def as_server(services: Services) -> Services:
    """The same registry, and the same ledger at the same address for the role of model servers."""
    assert services.settings.ledger_server_url is not None
    login = make_url(services.settings.ledger_server_url.get_secret_value())
    assert login.username == "podium_server"
    url = services.ledger.engine.url.set(username=login.username, password=login.password)
    ledger = Ledger(url.render_as_string(hide_password=False))
    return Services(services.settings, registry=services.registry, ledger=ledger)


@contextmanager
def serving(services: Services, *models: str, **settings: Any) -> Iterator[Server]:
    """Serve models on a free port of loopback, in a thread of this process, by the role of model servers."""
    chosen = ServingSettings(models=models, **{"poll_seconds": 0.2, **settings})
    app = create_app(chosen, as_server(services))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        config = uvicorn.Config(app, log_level="warning", **UVICORN)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        running = Server(f"http://127.0.0.1:{listening.getsockname()[1]}", app)
        try:
            yield running
        finally:
            server.should_exit = True
            thread.join(PATIENCE_SECONDS)
            running.client.close()
