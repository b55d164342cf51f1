"""Rows that batch scoring reads, whose labels come later and in a file of their own."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from podium.errors import DataError
from podium.metrics.windows import Window
from podium.model_file.loading import load_spec
from podium.model_file.spec import ModelSpec
from podium.monitoring.journal import Judged
from podium.monitoring.recompute import evidence_differences
from podium.monitoring.run import monitor_window
from podium.monitoring.verdicts import Said
from podium.services import Services
from support.steps import FIRST, promote_as_of
from support.toy import write_toy_rows

WEEK = timedelta(days=7)
MONDAY = datetime.fromisoformat("2025-06-02T00:00:00+00:00")
ROWS = 60


def week(number: int) -> Window:
    return Window(MONDAY + number * WEEK, MONDAY + (number + 1) * WEEK)


@pytest.fixture
def spec(own_services: Services, toy_file: Callable[..., Path], tmp_path: Path) -> ModelSpec:
    """The toy, which scores a file a week; in the last two of four weeks labels are the other way round."""
    write_toy_rows(tmp_path / "toy.csv", first_day="2024-01-01")
    spec = load_spec(
        toy_file(
            scoring={"source": "new", "output": "scores", "keys": ["id"]},
            monitoring={
                "windows": "0 0 * * 1",
                "min_rows": 5,
                "alarms": {"at_most_one_in": 10},
                "tolerance": 0.3,
                "labels": {"source": "labels.csv"},
            },
        )
    )
    promote_as_of(own_services, spec, FIRST)
    draws = np.random.default_rng(3)
    (tmp_path / "new").mkdir()
    labels = []
    for number in range(4):
        x = draws.normal(size=ROWS)
        y = np.where((x + draws.normal(scale=0.7, size=ROWS) > 0) ^ (number >= 2), "yes", "no")
        ids = np.arange(ROWS) + 1000 * number
        day = f"{MONDAY + number * WEEK:%Y-%m-%d}"
        pd.DataFrame({"id": ids, "day": day, "x": x}).to_csv(tmp_path / "new" / f"{number}.csv", index=False)
        labels.append(pd.DataFrame({"id": ids, "y": y}))
    pd.concat(labels).to_parquet(tmp_path / "all_labels.parquet")
    label(tmp_path, {})
    return spec


def label(folder: Path, by_week: dict[int, int]) -> None:
    """Let so many labels of each week be here."""
    known = pd.read_parquet(folder / "all_labels.parquet")
    place, of_week = known["id"] % 1000, known["id"] // 1000
    here = place < of_week.map(lambda number: by_week.get(int(number), 0))
    known[here].to_csv(folder / "labels.csv", index=False)


def monitor(services: Services, spec: ModelSpec, *weeks: int) -> list[Judged]:
    judged: list[Judged] = []
    for number in weeks:
        judged = monitor_window(services, spec, week(number), f"monitor_toy/{number}")
    return judged


def test_labels_that_come_later_are_looked_at_again_and_a_proxy_stands_for_the_others(
    own_services: Services, spec: ModelSpec, tmp_path: Path
) -> None:
    judged = monitor(own_services, spec, 0, 1)
    assert [one.observation.rows for one in judged] == [ROWS, ROWS]
    assert judged[0].hurts.said is Said.NOT_JUDGED
    assert judged[0].hurts.reason == "labels of 0% of its rows are here: 0 rows, 30 are needed"
    label(tmp_path, {0: 40, 1: 20, 2: 40})
    judged = monitor(own_services, spec, 2)
    assert [one.hurts.said for one in judged] == [Said.NOTHING_SEEN, Said.NOT_JUDGED, Said.RETRAIN]
    first = judged[0].observation.losses
    assert first is not None
    assert (first.labelled.rows, first.rest) == (40, 20)
    # The proxy says of rows like those of the holdout what they cost, so it counts.
    assert 0.2 < first.rest_proxy / first.rest < 0.7
    assert judged[0].harm is not None
    assert 0.2 < judged[0].harm.risk < 0.6
    label(tmp_path, {0: 40, 1: 40, 2: 40, 3: ROWS})
    assert monitor(own_services, spec, 3)[1].hurts.said is Said.NOTHING_SEEN
    assert evidence_differences(own_services.ledger, [spec.name]) == []


def test_of_labels_that_contradict_each_other_the_first_counts_and_it_is_said_how_many_do(
    own_services: Services, spec: ModelSpec, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    label(tmp_path, {0: 40})
    known = pd.read_csv(tmp_path / "labels.csv")
    other = known.head(20).assign(y=known["y"].map({"yes": "no", "no": "yes"}))
    pd.concat([known, other, known.head(5)]).to_csv(tmp_path / "labels.csv", index=False)
    with caplog.at_level(logging.WARNING):
        judged = monitor(own_services, spec, 0)
    said = '20 labels in labels.csv contradict earlier ones of the same rows, the first one of ["0"]'
    assert said in caplog.text
    assert judged[0].hurts.said is Said.NOTHING_SEEN


def test_labels_of_no_row_are_counted_and_the_first_one_is_named(
    own_services: Services, spec: ModelSpec, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    label(tmp_path, {0: 40, 1: 40})
    with caplog.at_level(logging.WARNING):
        monitor(own_services, spec, 0)
    assert "of no row" not in caplog.text
    strangers = pd.DataFrame({"id": [9001, 9002, 9003], "y": "yes"})
    pd.concat([pd.read_csv(tmp_path / "labels.csv"), strangers]).to_csv(tmp_path / "labels.csv", index=False)
    with caplog.at_level(logging.WARNING):
        judged = monitor(own_services, spec, 1)
    assert '3 of 83 labels are of no row of new, the first one of ["9001"]' in caplog.text
    assert judged[0].hurts.said is Said.NOTHING_SEEN


def test_a_window_without_a_feature_is_broken_data_and_changes_no_wealth(
    own_services: Services, spec: ModelSpec, tmp_path: Path
) -> None:
    label(tmp_path, {0: 40, 1: 40, 2: 40})
    monitor(own_services, spec, 0)
    files = sorted((tmp_path / "new").glob("*.csv"))
    there = {file: file.read_text() for file in files}
    for file in files:
        pd.read_csv(file).rename(columns={"x": "other"}).to_csv(file, index=False)
    _, broken = monitor(own_services, spec, 1)
    assert broken.whole.said is Said.BROKEN
    assert "no column 'x'" in broken.whole.reason
    assert broken.hurts.said is broken.moved.said is Said.NOT_JUDGED
    assert evidence_differences(own_services.ledger, [spec.name]) == []
    for file in files:
        file.write_text(there[file])
    mended = monitor(own_services, spec, 1)[1]
    assert mended.whole.said is Said.NOTHING_SEEN
    assert mended.observation.rows == ROWS
    assert evidence_differences(own_services.ledger, [spec.name]) == []


def test_a_file_without_a_feature_breaks_its_own_window_alone(
    own_services: Services, spec: ModelSpec, tmp_path: Path
) -> None:
    label(tmp_path, {0: 40, 2: 40})
    broken = tmp_path / "new" / "1.csv"
    pd.read_csv(broken).drop(columns="x").to_csv(broken, index=False)
    judged = monitor(own_services, spec, 0, 1, 2)
    assert [one.whole.said for one in judged] == [Said.NOTHING_SEEN, Said.BROKEN, Said.NOTHING_SEEN]
    assert [one.observation.rows for one in judged] == [ROWS, 0, ROWS]


def test_rows_without_a_time_are_in_no_window_and_it_is_said_how_many_there_are(
    own_services: Services, spec: ModelSpec, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    some = tmp_path / "new" / "0.csv"
    rows = pd.read_csv(some)
    rows.loc[:2, "day"] = ["soon", "", "31/12/2025"]
    rows.to_csv(some, index=False)
    with caplog.at_level(logging.WARNING):
        judged = monitor(own_services, spec, 0)
    assert judged[0].observation.rows == ROWS - 3
    assert "3 rows of new are in no window: day holds no time of data.time_formats" in caplog.text


@pytest.mark.parametrize("kind", ["moments of Berlin", "texts with their offset"])
def test_rows_of_the_hour_that_daylight_saving_repeats_are_in_two_windows(
    own_services: Services, spec: ModelSpec, tmp_path: Path, kind: str
) -> None:
    hour = pd.to_datetime(["2025-10-26 00:30", "2025-10-26 01:30"]).tz_localize("UTC")
    moments = pd.Series(np.repeat(hour, [40, 10])).dt.tz_convert("Europe/Berlin")
    assert set(moments.dt.hour) == {2}, "by their clock they are the same"
    for file in (tmp_path / "new").iterdir():
        file.unlink()
    rows = pd.DataFrame({"id": range(50), "x": np.linspace(-1, 1, 50)})
    if kind == "moments of Berlin":
        rows.assign(day=moments).to_parquet(tmp_path / "new" / "rows.parquet")
    else:
        rows.assign(day=moments.map(str)).to_csv(tmp_path / "new" / "rows.csv", index=False)
    begin = hour[0].floor("h").to_pydatetime()
    for place, number in enumerate((40, 10)):
        window = Window(begin + place * timedelta(hours=1), begin + (place + 1) * timedelta(hours=1))
        judged = monitor_window(own_services, spec, window, "monitor_toy/hour")
        assert judged[-1].observation.rows == number


def test_a_source_without_the_column_of_times_is_named_with_what_there_is(
    own_services: Services, spec: ModelSpec, tmp_path: Path
) -> None:
    rows = pd.read_csv(tmp_path / "new" / "0.csv")
    rows.drop(columns="day").to_csv(tmp_path / "new" / "0.csv", index=False)
    with pytest.raises(DataError, match=r"no column 'day' \(data.time_column\); available: id, x"):
        monitor(own_services, spec, 0)
