"""What the one-shot programs of a stack say where they cannot do their work."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from podium.settings import PROJECT_ROOT
from support.patience import PATIENCE_SECONDS

LOAD_SKOPS = """
import sys
from podium.registry.flavours import load_skops
load_skops()
print("skops.io" in sys.modules, "torch" in sys.modules)
import sklearn.externals.array_api_compat.torch
"""
MLFLOW = ("podium", "mlflow-server", "--host", "127.0.0.1", "--port", "1", "--bucket", "mlflow")


@pytest.mark.parametrize(
    ("program", "named"),
    [
        (("podium", "initialise", "stores"), "AIRFLOW_DB_PASSWORD, MLFLOW_DB_PASSWORD"),
        (("podium", "initialise", "registry"), "PODIUM_LEDGER_URL not set"),
        (("podium_airflow.initialise",), "PODIUM_LOOKUP_PASSWORD not set: no account has a default password"),
        (("podium", "backup", "create", "backup"), "PODIUM_POSTGRES_URL"),
        (MLFLOW, "MLFLOW_BACKEND_STORE_URI"),
    ],
)
def test_what_is_missing_is_said_without_a_traceback(
    program: tuple[str, ...], named: str, tmp_path: Path
) -> None:
    # A copy: beside the checkout itself may be the settings of a stack that runs.
    shutil.copytree(PROJECT_ROOT / "include" / "podium", tmp_path / "include" / "podium")
    path = f"{tmp_path / 'include'}:{PROJECT_ROOT / 'plugins'}"
    done = subprocess.run(
        [sys.executable, "-m", *program],
        env={"PYTHONPATH": path, "MLFLOW_TRACKING_URI": "http://127.0.0.1:1"},
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert done.returncode == 1
    assert named in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_skops_is_loaded_without_pytorch_which_is_there_when_it_is_asked_for() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOAD_SKOPS],
        env={"PYTHONPATH": str(PROJECT_ROOT / "include")},
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "True False\n"), done.stderr


def test_the_images_have_the_command_on_their_path() -> None:
    script = PROJECT_ROOT / "deploy" / "podium"
    done = subprocess.run(
        [str(script), "--help"],
        env={
            "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
            "PYTHONPATH": str(PROJECT_ROOT / "include"),
        },
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Usage: podium" in done.stdout
    assert (PROJECT_ROOT / "Dockerfile").read_text().count("COPY deploy/podium /usr/local/bin/podium") == 2
    assert "!deploy/podium" in (PROJECT_ROOT / ".dockerignore").read_text().splitlines()
