"""``podium monitor MODEL``: windows of the rows that a model is trained on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import Result
from typer.testing import CliRunner

from podium.cli.main import app

ToyFile = Callable[..., Path]
SECTION = {"windows": "0 0 * * *"}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of a model whose x rises by 2 from the 100th day on; on the 95th nobody wrote rows."""
    monkeypatch.setenv("PODIUM_HOME", str(tmp_path))
    monkeypatch.setenv("PODIUM_MODELS_DIR", str(tmp_path))
    draws = np.random.default_rng(3)
    number = np.repeat(np.arange(110), 40)
    rows = pd.DataFrame(
        {
            "day": (pd.Timestamp("2024-01-01") + pd.to_timedelta(number, unit="D")).strftime("%Y-%m-%d"),
            "x": draws.normal(size=len(number)) + 2.0 * (number >= 100),
            "y": draws.choice(["no", "yes"], len(number)),
        }
    )
    rows[number != 95].to_csv(tmp_path / "toy.csv", index=False)
    return tmp_path


def monitored(*options: str, since: str = "2024-04-01") -> Result:
    arguments = ["monitor", "toy", "--since", since, "--as-of", "2024-05-01", *options]
    return CliRunner().invoke(app, arguments, env={"COLUMNS": "200"})


def toy(toy_file: ToyFile, **section: object) -> None:
    toy_file(monitoring={**SECTION, **section}, holdout={"days": 30})


def test_a_shift_a_gap_and_what_was_not_judged_are_told(project: Path, toy_file: ToyFile) -> None:
    toy(toy_file)
    done = monitored()
    assert done.exit_code == 0, done.stderr
    first = done.stdout.splitlines()[0]
    assert first.startswith("toy: 19 windows from 2024-04-01 to 2024-04-20:")
    assert "1 broken data" in first
    assert "2024-04-05 to 2024-04-06" in done.stdout
    assert "0 rows; the 50 windows before had 40 to 40" in done.stdout
    assert "x moved" in done.stdout
    assert "nothing seen" not in done.stdout.split(":", 2)[2].split("\n", 1)[1]


def test_for_machines_each_window_has_its_numbers_and_twice_the_same(
    project: Path, toy_file: ToyFile
) -> None:
    toy(toy_file)
    done = monitored("--json")
    assert done.exit_code == 0, done.stderr
    windows = json.loads(done.stdout)["windows"]
    assert len(windows) == 19
    assert windows[0]["rows"] == 40
    assert 0 < windows[0]["p"]["x"] <= 1
    assert windows[4]["whole"]["said"] == "broken data"
    assert windows[4]["moved"] == {"said": "not judged", "reason": "the data is broken"}
    alarms = [window["start"][:10] for window in windows if window["moved"]["said"] == "moved"]
    assert "2024-04-10" <= alarms[0] <= "2024-04-15"
    assert monitored("--json").stdout == done.stdout


def test_what_cannot_be_judged_is_said_with_what_to_do(project: Path, toy_file: ToyFile) -> None:
    toy_file(holdout={"days": 30})
    assert "toy: its model file has no section monitoring; see docs/monitoring.md" in monitored().stderr
    toy(toy_file)
    for since in ("2023-01-01", "2030-01-01"):
        done = monitored(since=since)
        assert done.exit_code == 1
        assert f"rows are needed before {since} and after" in " ".join(done.stderr.split())
