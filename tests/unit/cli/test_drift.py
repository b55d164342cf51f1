"""``podium drift``: what is on record of a model's windows."""

from __future__ import annotations

import json
import re
import uuid
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from podium.cli.main import app
from podium.services import Services
from support.monitored import record_windows


@pytest.fixture
def model(services: Services) -> str:
    """A model with two stable days and four whose x rose by four; and two days of its next version."""
    name = f"toy-{uuid.uuid4().hex[:8]}"
    record_windows(services, name, 1, [0.0, 0.0, 4.0, 4.0, 4.0, 4.0])
    record_windows(services, name, 2, [0.0, 0.0])
    return name


def drift(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["drift", *arguments], env={"COLUMNS": "160"})


def test_the_verdicts_are_told_in_a_sentence_and_by_window_and_what_moved_comes_first(model: str) -> None:
    done = drift(model)
    assert done.exit_code == 0, done.output
    first = done.stdout.splitlines()[0]
    assert first.startswith(f"{model}: 8 windows on record: ")
    assert first.endswith("The newest, 2026-03-03 to 2026-03-04 of v2: nothing seen.")
    # Ties are broken by a hash of the name: after the alarm a new detector may see the rise again.
    assert re.search(r"\b[12] moved\b", first)
    assert "x moved" in done.stdout
    assert re.search(r"moved most.*evidence \(alarm at 100%\).*\n.*\n +x .* \d+%", done.stdout)


def test_for_machines_and_since_a_day(model: str, tmp_path: Path) -> None:
    picture = tmp_path / "drift.png"
    done = drift(model, "--since", "2026-03-05", "--json", "--png", str(picture))
    assert done.exit_code == 0, done.output
    windows = json.loads(done.stdout)["windows"]
    assert [(one["version"], one["window"][0][:10]) for one in windows] == [
        (1, "2026-03-05"),
        (1, "2026-03-06"),
        (1, "2026-03-07"),
    ]
    assert windows[0]["rows"] == 40
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_without_windows_it_says_who_judges_them(model: str) -> None:
    done = drift(model, "--since", "2030-01-01")
    assert done.exit_code == 0
    assert f"no window is on record. The Dag monitor_{model.replace('-', '_')} judges them." in done.stdout
