"""``as_of`` beyond the newest row is said before the training, whatever the model is."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from podium.errors import DataError
from podium.model_file.loading import load_spec
from podium.model_file.spec import ModelSpec
from podium.services import Services
from podium.training.data import load_window
from podium.training.freshness import refuse_a_stale_holdout
from podium.training.run import read_window
from support.steps import train

# The toy's rows: one a day from 2024-01-01 to 2025-08-22.
NEWEST = "2025-08-22"


def at(day: str) -> datetime:
    return datetime.fromisoformat(day).replace(tzinfo=UTC)


def said(spec: ModelSpec, day: str, home: Path, caplog: pytest.LogCaptureFixture) -> list[str]:
    caplog.clear()
    with caplog.at_level(logging.INFO, logger="podium.training.freshness"):
        read_window(spec, at(day), home)
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


def test_a_week_is_no_news_and_two_are(
    toy_spec: ModelSpec, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for day in ("2025-06-01", "2025-08-23", "2025-08-29", "2025-08-30"):
        assert said(toy_spec, day, tmp_path, caplog) == []
        refuse_a_stale_holdout(toy_spec, load_window(toy_spec, at(day), tmp_path))
    assert f"{toy_spec.name}: the newest row is of {NEWEST}." in caplog.messages
    assert said(toy_spec, "2025-09-05", tmp_path, caplog) == [
        f"{toy_spec.name}: as_of 2025-09-05 is 14 days after the newest labelled row of toy.csv "
        "(2025-08-22), so the 100 days before it hold 87 rows. Bring newer rows, or run as of 2025-08-23, "
        "which holds out 100"
    ]


def test_what_the_gates_would_refuse_is_not_trained(
    services: Services, toy_spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = (
        r"as_of 2025-10-25 is 64 days after the newest labelled row of toy\.csv \(2025-08-22\), so the 100 "
        r"days before it hold 37 rows, and min_holdout_rows is 50\. The gates would refuse the version, so "
        r"nothing was trained\. Bring newer rows, or run as of 2025-08-23, which holds out 100"
    )
    monkeypatch.setattr("podium.training.run.fit", lambda *_: pytest.fail("trained"))
    with pytest.raises(DataError, match=message):
        train(services, toy_spec, at("2025-10-25"))


@pytest.mark.parametrize(
    "gates",
    [
        [{"min_holdout_rows": 30}],
        [{"min_holdout_rows": 50, "level": "advisory"}, {"signature": "compatible"}],
        # As of the day after the newest row there would be too few as well: the report says it.
        [{"min_holdout_rows": 5000}],
    ],
)
def test_other_gates_are_for_the_report(
    toy_file: Callable[..., Path], toy_spec: ModelSpec, tmp_path: Path, gates: list[dict[str, Any]]
) -> None:
    spec = load_spec(toy_file(name=toy_spec.name, gates=gates))
    refuse_a_stale_holdout(spec, load_window(spec, at("2025-10-25"), tmp_path))


def test_an_empty_holdout_names_the_day_that_works(toy_spec: ModelSpec, tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"no holdout rows as of 2026-06-01 .*run as of 2025-08-23, which holds out 100"
    ):
        load_window(toy_spec, at("2026-06-01"), tmp_path)
    assert len(load_window(toy_spec, at("2025-08-23"), tmp_path).holdout) == 100


def test_a_holdout_by_share_and_rows_without_a_time(
    toy_file: Callable[..., Path], toy_spec: ModelSpec, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    by_share = {"name": toy_spec.name, "holdout": {"share": 0.3}}
    spec = load_spec(toy_file(**by_share))
    assert said(spec, "2025-09-20", tmp_path, caplog) == []
    (warning,) = said(spec, "2026-06-01", tmp_path, caplog)
    assert warning.endswith(
        "is 283 days after the newest labelled row of toy.csv (2025-08-22). Bring newer rows, or run as of "
        "2025-08-23"
    )
    refuse_a_stale_holdout(spec, load_window(spec, at("2026-06-01"), tmp_path))
    data = {"source": "toy.csv", "label": "y", "inputs": ["x"]}
    timeless = load_spec(toy_file(**by_share, data=data))
    assert said(timeless, "2026-06-01", tmp_path, caplog) == []


def test_the_moment_counts_where_the_model_file_says_so(
    toy_file: Callable[..., Path], toy_spec: ModelSpec, tmp_path: Path
) -> None:
    rows = pd.read_csv(tmp_path / "toy.csv")
    rows["day"] = (pd.Timestamp("2025-08-22T23:00") - pd.to_timedelta(rows.index[::-1], "h")).strftime(
        "%FT%T"
    )
    rows.to_csv(tmp_path / "toy.csv", index=False)
    spec = load_spec(toy_file(name=toy_spec.name, data__time_resolution="moment", holdout__days=2))
    with pytest.raises(DataError, match="run as of 2025-08-23, which holds out 48"):
        load_window(spec, at("2025-08-29"), tmp_path)
    assert len(load_window(spec, at("2025-08-23"), tmp_path).holdout) == 48
