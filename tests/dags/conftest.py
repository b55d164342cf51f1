"""Parse the project's Dags in a process of their own, as Airflow does, with a database of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from podium.settings import PROJECT_ROOT
from support.patience import PATIENCE_SECONDS

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def run_script(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., dict[str, Any]]:
    """Run a script of this folder as Airflow would, with more environment; returns what it prints as JSON."""
    airflow_home = tmp_path_factory.mktemp("airflow")

    def run(script: str, **more: str) -> dict[str, Any]:
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(airflow_home),
            "AIRFLOW_HOME": str(airflow_home),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "false",
            "AIRFLOW__CORE__DAGS_FOLDER": str(PROJECT_ROOT / "dags"),
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(PROJECT_ROOT / "plugins"),
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{airflow_home}/airflow.db",
            "PYTHONPATH": f"{PROJECT_ROOT / 'include'}:{PROJECT_ROOT / 'plugins'}",
            **more,
        }
        done = subprocess.run(
            [sys.executable, str(HERE / script)],
            env=environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return found

    return run


@pytest.fixture(scope="session")
def parse_dags(run_script: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """Parse all Dag files with the model files of a folder; returns what ``parse_dags.py`` found."""
    return lambda models, **more: run_script("parse_dags.py", PODIUM_MODELS_DIR=str(models), **more)


@pytest.fixture(scope="session")
def shipped(parse_dags: Callable[..., dict[str, Any]]) -> dict[str, Any]:
    """What Airflow finds in the project as it is."""
    return parse_dags(PROJECT_ROOT / "include" / "models")
