"""Windows from the counts of batch scoring: the same as from the rows, and without reading them again."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa

from podium.errors import NothingToDo
from podium.metrics.windows import Window
from podium.model_file.spec import ModelSpec
from podium.monitoring import counted as counted_module
from podium.monitoring import rows as rows_module
from podium.monitoring.journal import Judged
from podium.monitoring.recompute import evidence_differences
from podium.monitoring.run import monitor_window
from podium.monitoring.seen import Seen, Watched, observed
from podium.scoring import pinned_version
from podium.scoring.pinned_version import loaded, pin
from podium.services import Services
from podium.stack.layout import Layout
from support.database import as_superuser
from support.scored import (
    BEGAN,
    HOUR,
    hour,
    kept,
    new_champion,
    reference,
    rows,
    score,
    scored_model,
    scored_spec,
    write,
)


def monitor(services: Services, spec: ModelSpec, window: Window) -> Judged:
    judged = monitor_window(services, spec, window, "monitor/1")
    return next(one for one in judged if one.observation.window == window)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The partitions that monitoring opened."""
    names: list[str] = []
    really = rows_module.open_partition

    def noted(source: Any, partition: Any, wanted: Any) -> Any:
        names.append(partition.name)
        return really(source, partition, wanted)

    monkeypatch.setattr(rows_module, "open_partition", noted)
    return names


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The versions that were loaded."""
    names: list[str] = []
    really = pinned_version.load_model

    def noted(folder: Path) -> Any:
        names.append(str(folder))
        return really(folder)

    monkeypatch.setattr(pinned_version, "load_model", noted)
    return names


@contextmanager
def forgotten(layout: Layout) -> Iterator[None]:
    """Let no count be kept."""
    as_superuser(layout, "TRUNCATE scored_partitions CASCADE", "ledger")
    yield


def seen(services: Services, spec: ModelSpec, windows: list[Window], home: Path) -> list[Seen]:
    (version,) = {one.number for one in services.registry.versions(spec.name)}
    with loaded(services, spec, pin(services, spec.name, str(version))) as scorer:
        watched = Watched(spec, version, lambda: scorer, reference())
        return [observed(services.ledger, watched, window, home) for window in windows]


def odd_rows(seed: int) -> list[pd.DataFrame]:
    """Partitions with all that may be odd: texts for numbers, new categories, no times, the repeated hour."""
    draws = np.random.default_rng(seed)
    partitions = []
    for number in range(3):
        # The clock of Berlin says 2 to 3 in the hours 24 and 25. The first two are before the training's end.
        frame = rows(120, [-2, -1, 0, 1, 1, 2, 24, 25, 25, 500], seed=seed * 10 + number)
        x = frame["x"].astype(object)
        x[draws.random(120) < 0.04] = draws.choice(["oops", None, 45.0, 60.0, "1e400"])
        day = frame["day"].dt.tz_convert("Europe/Berlin").map(str).astype(object)
        day[draws.random(120) < 0.05] = draws.choice(["soon", "", "31/12/2025", "0"])
        c = frame["c"].astype(object)
        c[draws.random(120) < 0.03] = draws.choice(["new", None, "other"])
        if seed % 3 == 0:
            # A row that fails has the model asked about flags that are missing, alone: it takes none so.
            x[draws.random(120) < 0.02] = 101.0
            frame["b"] = draws.choice([True, False], 120)
        partitions.append(frame.assign(x=x, day=day, c=c))
    if seed % 3 == 1:
        partitions[1] = partitions[1].drop(columns="b")
    if seed % 3 == 2:
        partitions[2]["b"] = draws.choice([True, False], 120)
    return partitions


@pytest.mark.parametrize(
    ("seed", "chunk_rows"), [(0, 30), (1, 50), (2, 100_000), (3, 50), (4, 30), (5, 100_000)]
)
def test_what_was_counted_is_what_reading_counts(
    services: Services,
    layout: Layout,
    tmp_path: Path,
    opened: list[str],
    caplog: pytest.LogCaptureFixture,
    seed: int,
    chunk_rows: int,
) -> None:
    spec = scored_model(services, scoring={"chunk_rows": chunk_rows})
    for number, frame in enumerate(odd_rows(seed)):
        write(tmp_path, f"{number}.{'csv' if seed % 2 else 'parquet'}", as_table(frame, csv=bool(seed % 2)))
    assert score(services, spec) == 360
    windows = [hour(number) for number in (0, 1, 2, 3, 24, 25, 500)]
    with caplog.at_level(logging.WARNING):
        counted = seen(services, spec, windows, tmp_path)
    assert opened == []
    told = {record.getMessage() for record in caplog.records if "in no window" in record.getMessage()}
    caplog.clear()
    with forgotten(layout), caplog.at_level(logging.WARNING):
        read = seen(services, spec, windows, tmp_path)
    assert len(opened) > len(windows)
    assert told == {record.getMessage() for record in caplog.records if "in no window" in record.getMessage()}
    for one, other in zip(counted, read, strict=True):
        np.testing.assert_equal(vars(one.observation), vars(other.observation))
        assert one.counts == other.counts
    assert [one.observation.rows > 0 for one in read] == [True, True, True, False, True, True, True]
    assert any(one.observation.problems for one in read)


def as_table(frame: pd.DataFrame, *, csv: bool) -> pd.DataFrame:
    """A parquet file holds texts where a csv has anything."""
    return (
        frame if csv else frame.assign(x=frame["x"].map(lambda value: None if value is None else str(value)))
    )


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    """How many partitions were counted before, and how many were read."""
    found = [
        record.getMessage() for record in caplog.records if "counted by batch scoring" in record.getMessage()
    ]
    caplog.clear()
    return [message.partition("counted by batch scoring: ")[2] for message in found]


def test_a_scored_window_opens_no_partition_and_loads_no_model(
    services: Services, tmp_path: Path, opened: list[str], loads: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    spec = scored_model(services)
    for name, hours in (("one", [1, 2]), ("two", [2, 3]), ("three", [7])):
        write(tmp_path, f"{name}.parquet", rows(100, hours, seed=len(name)))
    score(services, spec)
    with caplog.at_level(logging.INFO):
        monitor(services, spec, hour(1))
    assert said(caplog) == ["3 of 3 partitions; by an earlier run of monitoring: 0; read now: 0"]
    loads.clear()
    frames = [pd.read_parquet(file) for file in (tmp_path / "new").iterdir()]
    for number in (2, 3, 4, 7):
        there = sum(
            int(frame["day"].between(hour(number).start, hour(number).end, "left").sum()) for frame in frames
        )
        assert monitor(services, spec, hour(number)).observation.rows == there
    assert (opened, loads) == ([], [])
    assert evidence_differences(services.ledger, [spec.name]) == []


def test_a_partition_that_changed_or_is_new_is_read_once_and_one_that_is_gone_counts_no_more(
    services: Services, tmp_path: Path, opened: list[str]
) -> None:
    spec = scored_model(services)
    for name in ("a", "b", "c"):
        write(tmp_path, f"{name}.csv", rows(50, [1], seed=1))
    score(services, spec)
    assert monitor(services, spec, hour(1)).observation.rows == 150
    write(tmp_path, "a.csv", rows(80, [1, 2], seed=2))
    write(tmp_path, "d.csv", rows(10, [1], seed=3))
    (tmp_path / "new" / "c.csv").unlink()
    first = rows(80, [1, 2], seed=2)["day"] < hour(2).start
    for _ in range(2):
        assert monitor(services, spec, hour(1)).observation.rows == int(first.sum()) + 50 + 10
    assert opened == ["a", "d"]
    # All of its rows were in the other window.
    assert monitor(services, spec, hour(2)).observation.rows == int((~first).sum())
    assert monitor(services, spec, hour(3)).observation.rows == 0
    assert opened == ["a", "d", "a"]
    score(services, spec)
    assert monitor(services, spec, hour(2)).observation.rows == int((~first).sum())
    assert len(opened) == 3


def test_a_partition_is_counted_for_each_version_that_scored_it_and_once_however_often(
    services: Services, tmp_path: Path, opened: list[str]
) -> None:
    spec = scored_model(services)
    write(tmp_path, "a.csv", rows(50, [1], seed=1))
    for _ in range(2):
        score(services, spec)
    new_champion(services, spec)
    # Only the earlier champion scored it.
    assert monitor(services, spec, hour(1)).observation.rows == 50
    assert opened == ["a"]
    assert kept(services.ledger, spec) == [(1, "a", True), (2, "a", False)]
    score(services, spec, version="1")
    score(services, spec)
    assert kept(services.ledger, spec) == [(1, "a", True), (2, "a", True)]
    assert monitor(services, spec, hour(1)).observation.rows == 50
    assert opened == ["a"]


def test_rows_are_read_for_labels_alone_where_scoring_counted_them(
    services: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    spec = scored_model(services, monitoring={"tolerance": 0.5, "labels": {"source": "labels.csv"}})
    frame = rows(60, [1], seed=1)
    write(tmp_path, "a.csv", frame)
    frame[["id"]].assign(y=frame["x"] + 0.5).to_csv(tmp_path / "labels.csv", index=False)
    score(services, spec)
    # It is fitted on the holdout of a training, which these versions have not.
    monkeypatch.setattr("podium.monitoring.run._proxy", lambda *_: None)

    def counted_again(*_: Any) -> None:
        raise AssertionError("it was counted by scoring")

    monkeypatch.setattr("podium.gates.counted_rows.CountedRows.add", counted_again)
    with caplog.at_level(logging.INFO):
        observation = monitor(services, spec, hour(1)).observation
    assert observation.rows == 60
    assert observation.losses is not None
    assert observation.losses.labelled.rows == 60
    assert said(caplog) == ["1 of 1 partitions; by an earlier run of monitoring: 0; read now: 1"]


def test_a_query_counts_if_it_was_scored_after_the_window(
    services: Services, tmp_path: Path, opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROWS_URL", f"sqlite:///{tmp_path}/rows.db")
    engine = sa.create_engine(f"sqlite:///{tmp_path}/rows.db")
    moments = rows(70, [1], seed=1)["day"].dt.strftime("%Y-%m-%d %H:%M:%S")
    rows(70, [1], seed=1).assign(day=moments).to_sql("rows", engine, index=False)
    spec = scored_model(services, scoring={"source": "sql:SELECT * FROM rows", "database": "ROWS_URL"})
    early, late = hour(1).end - HOUR / 2, hour(1).end
    for moment, reads in ((early, ["all"]), (late, [])):
        monkeypatch.setattr("podium.scoring.counting.datetime", Clock(moment))
        score(services, spec)
        opened.clear()
        assert monitor(services, spec, hour(1)).observation.rows == 70
        assert opened == reads
    # Rows that came later count once they are scored.
    rows(5, [1], seed=2).assign(day=moments[:5]).to_sql("rows", engine, index=False, if_exists="append")
    assert monitor(services, spec, hour(1)).observation.rows == 70
    score(services, spec)
    assert monitor(services, spec, hour(1)).observation.rows == 75


class Clock:
    """Says that it is always one moment."""

    def __init__(self, moment: Any) -> None:
        self._moment = moment

    def now(self, _: Any) -> Any:
        return self._moment


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"rules": {"x": {"max": -5.0}}}, "x is not at most -5 in 50 of 50 rows"),
        ({"data": {"time_formats": ["%Y-%m-%d %H:%M:%S%z"]}}, "b is not of type boolean"),
        ({"monitoring": {"windows": "0,30 * * * *"}}, "b is not of type boolean"),
    ],
)
def test_counts_by_another_model_file_are_not_taken(
    services: Services, tmp_path: Path, opened: list[str], changed: dict[str, Any], problem: str
) -> None:
    spec = scored_model(services)
    write(tmp_path, "a.csv", rows(50, [1], seed=1))
    score(services, spec)
    other = scored_spec(spec.name, **changed)
    (found,) = seen(services, other, [hour(1)], tmp_path)
    assert (found.observation.rows, found.observation.problems[0]) == (50, problem)
    assert opened == ["a"]


def test_counts_that_are_damaged_are_read_again_and_replaced(
    services: Services, layout: Layout, tmp_path: Path, opened: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    spec = scored_model(services)
    write(tmp_path, "a.csv", rows(50, [1], seed=1))
    score(services, spec)
    for damage in ("""'{}'""", """replace(content, '"rows": 50', '"rows": 51')"""):
        damaged = f"UPDATE scored_counts SET content = {damage} WHERE model = '{spec.name}'"  # noqa: S608
        as_superuser(layout, damaged, "ledger")
        assert monitor(services, spec, hour(1)).observation.rows == 50
        assert "are not those of its columns, so it is read again" in caplog.text
    assert opened == ["a", "a"]
    caplog.clear()
    assert monitor(services, spec, hour(1)).observation.rows == 50
    assert opened == ["a", "a"]


def test_a_window_of_no_schedule_is_read_and_one_before_the_training_ended_is_not_judged(
    services: Services, tmp_path: Path, opened: list[str]
) -> None:
    spec = scored_model(services)
    write(tmp_path, "a.csv", rows(50, [0, 1], seed=1))
    score(services, spec)
    both = Window(BEGAN, BEGAN + 2 * HOUR)
    assert monitor(services, spec, both).observation.rows == 50
    assert opened == ["a"]
    with pytest.raises(NothingToDo):
        monitor(services, spec, hour(-1))


def test_what_monitoring_counted_is_not_kept_of_a_file_that_is_written_meanwhile(
    services: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = scored_model(services)
    path = write(tmp_path, "a.csv", rows(50, [1], seed=1))
    really = counted_module.CountedWindow.add

    def written(*arguments: Any) -> None:
        os.utime(path, (1, 1))
        really(*arguments)

    monkeypatch.setattr(counted_module.CountedWindow, "add", written)
    assert monitor(services, spec, hour(1)).observation.rows == 50
    assert kept(services.ledger, spec) == []
