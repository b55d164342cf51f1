"""An MLflow server over HTTP that takes a login, as production's does."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests

from podium.operations.mlflow_server import ADMIN, auth_config, own_folder, server_command
from podium.settings import PROJECT_ROOT
from podium.stack.environment import base_env
from support.patience import PATIENCE_SECONDS


@dataclass(frozen=True)
class GuardedMlflow:
    """Where it is, and who may do all.

    Attributes:
        artifacts: The folder that it keeps artifacts in.
    """

    uri: str
    username: str
    password: str
    artifacts: Path


PASSWORD = "a long secret 4711"


def guarded_environment(folder: Path, database: Path) -> dict[str, str]:
    """Make what the server finds in its folder, and return its environment."""
    config = folder / "auth.ini"
    config.write_text(auth_config(f"sqlite:///{folder}/auth.db"))
    return base_env(os.environ) | {
        "MLFLOW_AUTH_CONFIG_PATH": str(config),
        "MLFLOW_AUTH_ADMIN_USERNAME": ADMIN,
        "MLFLOW_AUTH_ADMIN_PASSWORD": PASSWORD,
        "MLFLOW_FLASK_SERVER_SECRET_KEY": "for tests",
        "MLFLOW_ENABLE_WORKSPACES": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_BACKEND_STORE_URI": f"sqlite:///{database}",
        "HOME": str(own_folder(folder)),
        "PYTHONPATH": str(PROJECT_ROOT / "include"),
    }


@contextmanager
def guarded_mlflow(folder: Path, database: Path) -> Iterator[GuardedMlflow]:
    """Run it with a database of runs and its artifacts in a folder."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = GuardedMlflow(f"http://127.0.0.1:{port}", ADMIN, PASSWORD, folder / "artifacts")
    environment = guarded_environment(folder, database)
    command = server_command("127.0.0.1", port, str(server.artifacts))
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd=environment["HOME"])
        try:
            _wait(process, server.uri, folder / "server.log")
            yield server
        finally:
            process.terminate()
            process.wait(PATIENCE_SECONDS)


def _wait(process: subprocess.Popen[bytes], uri: str, log: Path) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            if requests.get(f"{uri}/health", timeout=5).ok:
                return
        except requests.RequestException:
            time.sleep(0.1)
    raise AssertionError(f"MLflow did not come up:\n{log.read_text()[-3000:]}")
