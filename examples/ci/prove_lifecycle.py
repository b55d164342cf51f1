"""Prove that a model can be trained, judged, approved, promoted and served, on a registry made for that.

    python examples/ci/prove_lifecycle.py soccer-match-outcome

Starts the embedded stack in a folder of its own, runs the model's whole lifecycle with the profile
``ci-smoke`` (a few rows: what is proved is the wiring, not the model), approves it as a person would, serves
the champion and asks it. Exit code 1: some of it did not happen; then the folder stays, with its logs.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import requests
from mlflow.artifacts import load_dict
from rich.console import Console

from podium.airflow_client import AirflowClient
from podium.demo import Run, unpaused
from podium.errors import PodiumError, version_name
from podium.parts import connect
from podium.settings import PROJECT_ROOT, models_dir
from podium.spec import ModelSpec, find_spec
from podium.stack import Stack, operations, running_stack
from podium.stack.layout import Paths

PROFILE = "ci-smoke"
SERVER_SECONDS = 60

console = Console(highlight=False)


def main(model: str) -> None:
    """Prove it for one model."""
    begun = time.monotonic()
    spec = find_spec(models_dir(), model)
    state = PROJECT_ROOT / ".podium" / "ci"
    operations.clean(Paths(state))
    with running_stack(state, extra_airflow_env={"PODIUM_EPHEMERAL": "true"}, console=console) as stack:
        os.environ |= {**stack.client_env(), "PODIUM_EPHEMERAL": "true"}
        promote(stack, spec)
        serve(spec)
    operations.clean(Paths(state))
    console.print(
        f"[green]Proved[/green] in {time.monotonic() - begun:.0f} s: {model} can be promoted and served."
    )


def promote(stack: Stack, spec: ModelSpec) -> None:
    """Run the lifecycle, and approve when it asks."""
    operator, approver, admin = (
        AirflowClient(stack.airflow_url, name, stack.passwords[name])
        for name in ("operator", "approver", "admin")
    )
    with unpaused(admin, spec.lifecycle_dag_id):
        run = Run(
            operator, spec.lifecycle_dag_id, operator.trigger(spec.lifecycle_dag_id, {"profile": PROFILE})
        )
        for states in run.follow():
            if states.get("approve") == "awaiting_input":
                reason = {"reason": "A wiring check on a registry that is thrown away."}
                approver.answer(run.dag_id, run.run_id, "approve", "Approve", reason)
    champion = connect().registry.champion(spec.name)
    if champion is None:
        raise PodiumError(f"{spec.name} has no champion after {run.dag_id}/{run.run_id}")
    console.print(f"champion of {spec.name}: {version_name(champion)}")


def serve(spec: ModelSpec) -> None:
    """Serve the champion, and ask it for the example that it was registered with."""
    example = load_dict(f"models:/{spec.name}@champion/serving_input_example.json")["dataframe_split"]
    records = [dict(zip(example["columns"], row, strict=True)) for row in example["data"]]
    with model_server(spec.name) as url:
        requests.get(f"{url}/health", timeout=10).raise_for_status()
        answer = requests.post(f"{url}/predict", json=records, timeout=30)
        answer.raise_for_status()
    said = f"/health and /predict answer; version {answer.headers['X-Model-Version']}: {answer.json()}"
    console.print(said, markup=False, soft_wrap=True)


@contextmanager
def model_server(model: str) -> Iterator[str]:
    """Run ``podium serve`` until it is ready."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryFile("w+") as log:
        command = [str(Path(sys.executable).parent / "podium"), "serve", model, "--port", str(port)]
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            wait_until_ready(url, process)
            yield url
        except (PodiumError, requests.RequestException):
            log.seek(0)
            console.print(log.read(), markup=False)
            raise
        finally:
            process.terminate()
            process.wait(30)


def wait_until_ready(url: str, process: subprocess.Popen[bytes]) -> None:
    """Wait for a server.

    Raises:
        PodiumError: It ended, or is not ready in time; says what it says.
    """
    until, said = time.monotonic() + SERVER_SECONDS, "nothing"
    while time.monotonic() < until and process.poll() is None:
        try:
            answer = requests.get(f"{url}/ready", timeout=10)
        except requests.ConnectionError:
            time.sleep(0.2)
            continue
        if answer.ok:
            return
        said = answer.text
        time.sleep(0.2)
    raise PodiumError(f"the model server is not ready: {said}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(f"usage: {sys.argv[0]} MODEL")
    try:
        main(sys.argv[1])
    except PodiumError as error:
        console.print(f"[red]not proved:[/red] {error}")
        sys.exit(1)
