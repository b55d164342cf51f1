"""Prove the containers: everything comes up healthy, one lifecycle ends with a champion, and it is served.

    make compose-smoke

Builds the images, starts docker-compose.yaml under a project name, with secrets and on ports of its own, runs
the football model's lifecycle with the profile ``ci-smoke``, approves it over REST as a person would, asks
the model server, and tries what must not be allowed. At the end everything is removed, volumes included; if
something did not happen, the logs of all containers are in the folder that is named, and the exit code is 1.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import requests
from rich.console import Console

sys.path.insert(0, str(Path(__file__).parent))
from make_env import main as make_env
from make_env import named
from podium.errors import PodiumError
from podium.operations.airflow_client import AirflowClient
from podium.settings import PROJECT_ROOT
from podium.stack.rehearsal import ask_for_example, run_lifecycle, unpaused

MODEL, DAG = "soccer-match-outcome", "lifecycle_soccer_match_outcome"
PROJECT = "podium-smoke"
# Of its own tags, so that a project that runs beside it keeps its images; with all that a model may need.
BUILD = {
    "PODIUM_IMAGE": "podium:smoke",
    "PODIUM_SERVING_IMAGE": "podium-serving:smoke",
    "AIRFLOW_REQUIREMENTS": "requirements.txt -r requirements-boost.txt",
    "SERVING_REQUIREMENTS": "requirements-serving.txt -r requirements-boost.txt",
}
EXTRAS = "import catboost, lightgbm, sklearn, xgboost"
# What the model server has no business with.
BEHIND = {"store": 9000, "api-server": 8080, "scheduler": 8793}
REASON = "A wiring check on a registry that is thrown away."
console = Console(highlight=False)


def main() -> None:
    """Prove it."""
    begun = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="podium-smoke-"))
    env_file = folder / "env"
    make_env(env_file)
    ports = {name: free_port() for name in ("AIRFLOW_PORT", "MLFLOW_PORT", "SERVING_PORT")}
    compose = Compose(env_file, {name: str(port) for name, port in ports.items()})
    try:
        compose("up", "--detach", "--build", "--wait")
        console.print(f"everything is healthy after {time.monotonic() - begun:.0f} s")
        for part in ("scheduler", "model-server"):
            compose.inside(part, "python3", "-c", EXTRAS)
            compose.inside(part, "podium", "--help", stdout=subprocess.DEVNULL)
        console.print("every extra can be imported, and every image has the command podium")
        keep_apart(compose)
        addresses = {name: f"http://127.0.0.1:{port}" for name, port in ports.items()}
        secrets = named(env_file.read_text(encoding="utf-8"))
        promote(addresses["AIRFLOW_PORT"], secrets)
        serve(addresses, secrets)
        refuse(addresses, secrets)
    except BaseException:
        with (folder / "containers.log").open("w", encoding="utf-8") as log:
            compose("logs", "--no-color", stdout=log)
        console.print(f"The logs of the containers: {folder / 'containers.log'}")
        raise
    finally:
        compose("down", "--volumes", "--timeout", "20")
        for image in (BUILD["PODIUM_IMAGE"], BUILD["PODIUM_SERVING_IMAGE"]):
            subprocess.run(["docker", "image", "rm", image], check=False, capture_output=True)
        env_file.unlink()
    folder.rmdir()
    console.print(f"[green]Proved[/green] in {time.monotonic() - begun:.0f} s.")


class Compose:
    """``docker compose`` on our file, as a project of its own."""

    def __init__(self, env_file: Path, settings: dict[str, str]) -> None:
        self._command = ["docker", "compose", "--project-name", PROJECT, "--env-file", str(env_file)]
        self._env = os.environ | settings | BUILD | {"PODIUM_EPHEMERAL": "true", "GIT_COMMIT": git_commit()}

    def __call__(self, *arguments: str, stdout: object = None, stderr: object = None) -> None:
        """Run a subcommand.

        Raises:
            PodiumError: It failed.
        """
        done = subprocess.run(  # type: ignore[call-overload]
            [*self._command, *arguments],
            cwd=PROJECT_ROOT,
            env=self._env,
            stdout=stdout,
            stderr=stderr,
            check=False,
        )
        if done.returncode:
            raise PodiumError(f"docker compose {arguments[0]} ended with {done.returncode}")

    def inside(self, part: str, *command: str, **output: object) -> None:
        """Run a command in a container.

        Raises:
            PodiumError: It failed.
        """
        self("exec", "-T", part, *command, **output)


def git_commit() -> str:
    """Return the commit that is checked out."""
    return subprocess.check_output(["git", "rev-parse", "HEAD"], cwd=PROJECT_ROOT, text=True).strip()


def keep_apart(compose: Compose) -> None:
    """See that the model server reaches MLflow, and none of the parts behind it.

    Raises:
        PodiumError: It reaches more or less.
    """
    connect = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=5)"
    reach = ("model-server", "python3", "-c", connect)
    compose.inside(*reach, "mlflow", "5000")
    for part, port in BEHIND.items():
        try:
            compose.inside(*reach, part, str(port), stderr=subprocess.DEVNULL)
        except PodiumError:
            continue
        raise PodiumError(f"the model server reaches {part}:{port}, which it has no business with")
    console.print(f"the model server reaches MLflow, and none of {', '.join(BEHIND)}")
    ask = "from podium.services import connect_server as c; raise SystemExit(c().ledger.may_append())"
    compose.inside("model-server", "python3", "-c", ask)
    console.print("the model server may append no event to the ledger")


def free_port() -> int:
    """Return a loopback port that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def promote(airflow: str, secrets: dict[str, str]) -> None:
    """Run the lifecycle as the operator, and approve as the approver."""
    operator, approver = (
        AirflowClient(airflow, name, secrets[f"AIRFLOW_{name.upper()}_PASSWORD"])
        for name in ("operator", "approver")
    )
    with unpaused(operator, DAG):
        run_id = run_lifecycle(operator, approver, DAG, {"profile": "ci-smoke"}, REASON)
    if operator.task_states(DAG, run_id).get("announce") != "success":
        raise PodiumError(f"{DAG}/{run_id} ended without a promotion")


def serve(addresses: dict[str, str], secrets: dict[str, str]) -> None:
    """Ask the model server, with the example as MLflow's reader sees it."""
    os.environ |= {
        "MLFLOW_TRACKING_URI": addresses["MLFLOW_PORT"],
        "MLFLOW_TRACKING_USERNAME": "reader",
        "MLFLOW_TRACKING_PASSWORD": secrets["MLFLOW_READER_PASSWORD"],
        "MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD": "false",  # the store is not published
    }
    ask_for_example(addresses["SERVING_PORT"], MODEL, token=secrets["SERVING_TOKEN"])


def refuse(addresses: dict[str, str], secrets: dict[str, str]) -> None:
    """Try what nobody may do.

    Raises:
        PodiumError: Somebody may.
    """
    alias = {"name": MODEL, "alias": "champion", "version": "1"}
    move = f"{addresses['MLFLOW_PORT']}/api/2.0/mlflow/registered-models/alias"
    reader = ("reader", secrets["MLFLOW_READER_PASSWORD"])
    tried = {
        "move a champion as MLflow's reader": requests.post(move, json=alias, auth=reader, timeout=30),
        "move a champion without a login": requests.post(move, json=alias, timeout=30),
        "ask the model server without its token": requests.post(
            f"{addresses['SERVING_PORT']}/predict", json=[], timeout=30
        ),
        "see Airflow's Dags without a login": requests.get(
            f"{addresses['AIRFLOW_PORT']}/api/v2/dags", timeout=30
        ),
    }
    for what, answer in tried.items():
        if answer.status_code not in (requests.codes.unauthorized, requests.codes.forbidden):
            raise PodiumError(f"nobody may {what}, but the answer is {answer.status_code}")
        console.print(f"refused ({answer.status_code}): to {what}")


if __name__ == "__main__":
    try:
        main()
    except (PodiumError, requests.RequestException) as error:
        console.print(f"[red]not proved:[/red] {error}", markup=True)
        sys.exit(1)
