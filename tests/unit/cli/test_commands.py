"""The command as a whole: what it offers, what it says of a slip, and what it costs to start."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from podium.cli import main
from podium.cli.app import app
from podium.settings import PROJECT_ROOT

RUNNER = CliRunner()
HEAVY = {
    "mlflow",
    "pandas",
    "numpy",
    "sklearn",
    "sqlalchemy",
    "alembic",
    "boto3",
    "pydantic_settings",
    "psutil",
}


def imported_by(*words: str, **environment: str) -> set[str]:
    """Return the top-level packages that a command has imported when it ends, however it ends."""
    program = f"""
import atexit, json, sys
names = lambda: sorted({{name.partition(".")[0] for name in sys.modules}})
atexit.register(lambda: print("MODULES", json.dumps(names())))
sys.argv = ["podium", *{list(words)!r}]
from podium.cli.main import app
app()
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(PROJECT_ROOT / "include"), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    line = next(line for line in done.stdout.splitlines() if line.startswith("MODULES "))
    return set(json.loads(line.removeprefix("MODULES ")))


def test_each_file_of_the_room_is_a_command_or_a_group_of_them() -> None:
    files = {path.stem for path in Path(str(main.__file__)).parent.glob("*.py")}
    assert files - {"__init__", "app", "main"} == set(main.__all__) - {"app"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["heartbet"], "Did you mean 'heartbeat'?"),
        (["stack", "upp"], "Did you mean 'up'?"),
        (["backup", "restor"], "Did you mean 'restore'?"),
        (["status", "--jsn"], "--json"),
        (["stack", "up", "--statedir", "x"], "--state-dir"),
    ],
)
def test_a_slip_is_told_with_the_nearest(words: list[str], said: str) -> None:
    done = RUNNER.invoke(app, words, env={"COLUMNS": "200"})
    assert done.exit_code == 2
    assert said in done.output


def test_names_of_models_are_completed_without_mlflow() -> None:
    completing = {"_PODIUM_COMPLETE": "complete_bash", "COMP_WORDS": "podium gates soccer", "COMP_CWORD": "2"}
    done = subprocess.run(
        [sys.executable, "-c", "from podium.cli.main import app; app(prog_name='podium')"],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(PROJECT_ROOT / "include"), **completing},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split() == ["soccer-match-outcome"]
    assert not imported_by("gates", **completing) & {"mlflow", "pandas", "sqlalchemy", "sklearn"}


@pytest.mark.parametrize("words", [("history", "soccer-match-outcome"), ("status",)])
def test_what_people_ask_for_all_day_waits_for_no_heavy_import(words: tuple[str, ...]) -> None:
    away = {
        "PODIUM_LEDGER_URL": "postgresql+psycopg2://podium:secret@127.0.0.1:1/ledger",
        "MLFLOW_TRACKING_URI": "http://127.0.0.1:1",
        "MLFLOW_TRACKING_USERNAME": "podium",
        "MLFLOW_TRACKING_PASSWORD": "secret",
    }
    assert not imported_by(*words, **away) & {"mlflow", "pandas", "numpy", "scipy", "sklearn", "alembic"}


def test_a_health_check_imports_nothing_heavy() -> None:
    assert not imported_by("heartbeat", "nothing") & HEAVY


def test_completion_can_be_installed() -> None:
    assert "--install-completion" in RUNNER.invoke(app, ["--help"], env={"COLUMNS": "200"}).output
