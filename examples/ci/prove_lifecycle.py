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
from rich.console import Console

from podium.errors import PodiumError
from podium.model_file.loading import find_spec
from podium.model_file.spec import ModelSpec
from podium.names import version_name
from podium.operations.airflow_client import AirflowClient
from podium.services import connect
from podium.settings import PROJECT_ROOT, models_dir
from podium.stack import control
from podium.stack.layout import Paths
from podium.stack.rehearsal import ask_for_example, run_lifecycle, unpaused
from podium.stack.running_stack import Stack, running_stack

PROFILE = "ci-smoke"
REASON = "A wiring check on a registry that is thrown away."

console = Console(highlight=False)


def main(model: str) -> None:
    """Prove it for one model."""
    begun = time.monotonic()
    spec = find_spec(models_dir(), model)
    state = PROJECT_ROOT / ".podium" / "ci"
    control.clean(Paths(state))
    with running_stack(state, extra_airflow_env={"PODIUM_EPHEMERAL": "true"}, console=console) as stack:
        os.environ |= {**stack.client_env(), "PODIUM_EPHEMERAL": "true"}
        promote(stack, spec)
        serve(spec)
    control.clean(Paths(state))
    console.print(
        f"[green]Proved[/green] in {time.monotonic() - begun:.0f} s: {model} can be promoted and served."
    )


def promote(stack: Stack, spec: ModelSpec) -> None:
    """Run the lifecycle, and approve when it asks."""
    operator, approver = (
        AirflowClient(stack.airflow_url, name, stack.passwords[name]) for name in ("operator", "approver")
    )
    dag_id = spec.lifecycle_dag_id
    with unpaused(operator, dag_id):
        run_id = run_lifecycle(operator, approver, dag_id, {"profile": PROFILE}, REASON)
    champion = connect().registry.champion(spec.name)
    if champion is None:
        raise PodiumError(f"{spec.name} has no champion after {dag_id}/{run_id}")
    console.print(f"champion of {spec.name}: {version_name(champion)}")


def serve(spec: ModelSpec) -> None:
    """Serve the champion, and ask it for the example that it was registered with."""
    with model_server(spec.name) as (url, process):
        ask_for_example(url, spec.name, server=process)
        requests.get(f"{url}/health", timeout=10).raise_for_status()


@contextmanager
def model_server(model: str) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Run ``podium serve``; shows its log where it does not do what it should."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryFile("w+") as log:
        command = [str(Path(sys.executable).parent / "podium"), "serve", model, "--port", str(port)]
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            yield url, process
        except (PodiumError, requests.RequestException):
            log.seek(0)
            console.print(log.read(), markup=False)
            raise
        finally:
            process.terminate()
            process.wait(30)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(f"usage: {sys.argv[0]} MODEL")
    try:
        main(sys.argv[1])
    except (PodiumError, requests.RequestException) as error:
        console.print(f"[red]not proved:[/red] {error}\nThe logs are in .podium/ci/logs.")
        sys.exit(1)
