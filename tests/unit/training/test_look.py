"""What a look at a table proposes, what is sure of it, and that nothing is guessed silently."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from podium.cli.main import app
from podium.model_file.loading import load_spec
from podium.training import new_model
from podium.training.look import likely_label, likely_task, likely_time, look

DAYS = pd.date_range("2025-01-01", periods=60)
DRAWS = np.random.default_rng(0)


def table(**columns: Any) -> pd.DataFrame:
    return pd.DataFrame({"day": DAYS.strftime("%Y-%m-%d"), "x": DRAWS.normal(size=60), **columns})


@pytest.mark.parametrize(
    ("columns", "proposed", "sure"),
    [
        ({}, "day", True),
        ({"day": DAYS}, "day", True),
        ({"day": DAYS.date}, "day", True),
        ({"day": DAYS.strftime("%d/%m/%Y")}, "day", True),
        ({"day": ["03/04/2025"] * 60}, "day", False),
        ({"day": DAYS.strftime("%Y%m%d").astype(int)}, "day", False),
        ({"day": range(60)}, "-", True),
        ({"seen": DAYS}, "day", False),
        ({"day": [None, *DAYS[1:]]}, "day", False),
    ],
)
def test_the_time_column_is_sure_if_it_is_the_only_one(
    columns: dict[str, Any], proposed: str, sure: bool
) -> None:
    choice = likely_time(look(table(**columns)))
    assert (choice.what, choice.sure) == (proposed, sure)


@pytest.mark.parametrize(
    ("columns", "proposed", "sure"),
    [
        ({"y": [0, 1] * 30}, "y", True),
        ({"Target": [0, 1] * 30, "z": range(60)}, "Target", True),
        ({"y": [0, 1] * 30, "label": [0, 1] * 30}, "label", False),
        ({"left": [0, 1] * 30}, "left", False),
        ({"y": [1] * 60}, "x", False),
    ],
)
def test_a_label_is_sure_by_a_name_that_means_nothing_else(
    columns: dict[str, Any], proposed: str, sure: bool
) -> None:
    choice = likely_label(look(table(**columns)), "day")
    assert (choice.what, choice.sure) == (proposed, sure)
    assert "day" not in choice.others


@pytest.mark.parametrize(
    ("values", "task", "sure"),
    [
        (["a", "b"] * 30, "classification", True),
        ([True, False] * 30, "classification", True),
        ([0.0, 1.0] * 30, "classification", True),
        ([1, 2, 3] * 20, "classification", False),
        (range(60), "regression", True),
        ([f"name {place}" for place in range(60)], "classification", False),
    ],
)
def test_a_task_is_not_sure_of_few_numbers_and_of_many_texts(values: Any, task: str, sure: bool) -> None:
    (*_, label) = look(table(y=list(values)))
    choice = likely_task(label)
    assert (choice.what, choice.sure) == (task, sure)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PODIUM_HOME", str(tmp_path))
    rows = table(
        y=DRAWS.integers(0, 2, 60), tags=[["a"]] * 60, empty=[None] * 60, one="1", plan=["s", "m"] * 30
    )
    rows.to_parquet(tmp_path / "rows.parquet")
    return tmp_path


Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(home: Path) -> Run:
    def invoke(*arguments: str, answers: str = "") -> tuple[int, str]:
        for folder in ("include", "tests"):
            shutil.rmtree(home / folder, ignore_errors=True)
        done = CliRunner().invoke(app, ["new-model", "made", *arguments], input=answers)
        return done.exit_code, f"{done.output}{done.exception or ''}"

    return invoke


def test_what_is_sure_is_written_without_a_question_and_each_proposal_has_its_reason(
    run: Run, home: Path
) -> None:
    code, said = run("--from", "rows.parquet", "--yes")
    assert code == 0, said
    path = home / "include" / "models" / "made.yaml"
    spec, text = load_spec(path), path.read_text()
    assert (spec.data.label, spec.data.time_column, spec.holdout.days) == ("y", "day", 11)
    assert spec.data.inputs == ("x", "plan")
    for line in (
        'time_column: "day" # the only column with moments',
        'label: "y" # its name says so',
        "task: classification # holds 2 different whole numbers",
        "days: 11 # the newest fifth of 59 days",
        "# left out: tags: holds lists or objects",
        "# left out: empty: holds no value",
        "# left out: one: holds one value only",
    ):
        assert line in text, line


def test_of_a_large_table_some_rows_are_looked_at_and_that_is_said(
    run: Run, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(new_model, "_MOST_ROWS", 40)
    code, said = run("--from", "rows.parquet", "--yes")
    assert code == 0, said
    assert "looked at the first 40 rows; others may have other labels, gaps and days" in said
    assert "could not be tried" not in said
    text = (home / "include" / "models" / "made.yaml").read_text()
    assert "# Proposed from the first 40 rows. A training reads all" in text
    assert "newest fifth of 39 days" in text
    monkeypatch.undo()
    monkeypatch.setenv("PODIUM_HOME", str(home))
    code, said = run("--from", "rows.parquet", "--yes")
    assert "looked at" not in said
    assert "Proposed from" not in (home / "include" / "models" / "made.yaml").read_text()


def test_what_is_not_sure_is_refused_or_asked_for(run: Run, home: Path) -> None:
    rows = (
        pd.read_parquet(home / "rows.parquet")
        .rename(columns={"y": "left"})
        .assign(seen=DAYS, stars=[1, 2, 3] * 20)
    )
    rows.to_csv(home / "rows.csv", index=False)
    code, said = run("--from", "rows.csv", "--yes")
    assert (code, "the time is not sure: day is the first of 2 columns" in said) == (1, True), said
    code, said = run("--from", "rows.csv", "--time", "day", "--yes")
    assert (code, "the label is not sure: stars is the last column" in said) == (1, True), said
    code, said = run("--from", "rows.csv", "--time", "day", "--label", "stars", "--yes")
    assert (code, "the task is not sure" in said, "Name it with --task" in said) == (1, True, True), said
    assert not (home / "include").exists()
    code, said = run("--from", "rows.csv", answers="seen\nleft\n")
    assert code == 0, said
    data = load_spec(home / "include" / "models" / "made.yaml").data
    assert (data.time_column, data.label) == ("seen", "left")
    code, said = run("--from", "rows.csv", answers="nowhere\n")
    assert (code, "time: no 'nowhere'; possible: day, seen, -" in said) == (1, True), said


def test_a_password_is_refused_and_not_shown(run: Run) -> None:
    code, said = run("--from", "s3://me:secret@bucket/rows", "--yes")
    assert (code, "s3://me:***@bucket/rows: holds a password" in said, "secret" in said) == (1, True, False)


def test_a_table_without_times_holds_out_a_share(run: Run, home: Path) -> None:
    pd.read_parquet(home / "rows.parquet").drop(columns="day").to_parquet(home / "rows.parquet")
    code, said = run("--from", "rows.parquet", "--yes")
    assert code == 0, said
    spec = load_spec(home / "include" / "models" / "made.yaml")
    assert (spec.data.time_column, spec.holdout.share) == (None, 0.2)
    assert "could not be tried" not in said


def test_a_query_is_looked_at_too_and_days_may_come_first(
    run: Run, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{home}/shop.db"
    monkeypatch.setenv("SHOP_DB_URL", url)
    rows = pd.read_parquet(home / "rows.parquet").drop(columns=["tags", "empty"])
    rows = rows.assign(day=[f"0{1 + place % 9}/0{1 + place // 9}/2025" for place in range(60)])
    with sa.create_engine(url).begin() as connection:
        rows.to_sql("shop", connection, index=False)
    query = ("--from", "sql:SELECT * FROM shop WHERE day < :as_of OR true", "--database", "SHOP_DB_URL")
    code, said = run(*query, "--time", "day", "--yes")
    assert (code, "Name it with --time-format" in said) == (1, True), said
    code, said = run(*query, "--time", "day", "--time-format", "%d/%m/%Y", "--yes")
    assert code == 0, said
    data = load_spec(home / "include" / "models" / "made.yaml").data
    assert (data.time_formats, data.database) == (("%d/%m/%Y",), "SHOP_DB_URL")
    code, said = run(
        "--from", "sql:SELECT * FROM shop", *query[2:], "--time", "day", "--time-format", "%d/%m/%Y"
    )
    assert (code, "has no :as_of" in said) == (1, True), said
