"""Rows are counted in the pass in which they are scored: after the scores, once, and at no score's cost."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest

from podium.errors import Outage
from podium.ledger.store import Ledger
from podium.metrics.reference import Reference
from podium.model_file.spec import ModelSpec
from podium.monitoring.run import monitor_window
from podium.scoring import counting as counting_module
from podium.scoring import run as run_module
from podium.services import Services
from podium.stack.layout import Layout
from support.database import as_superuser
from support.scored import hour, kept, new_champion, rows, score, scored_model, scored_spec, write


def scores(folder: Path) -> pd.DataFrame:
    return pq.read_table(folder / "scores").to_pandas()


def judged_rows(services: Services, spec: ModelSpec, number: int) -> int:
    judged = monitor_window(services, spec, hour(number), "monitor/1")
    return next(one.observation.rows for one in judged if one.observation.window == hour(number))


def test_the_counts_are_written_after_the_scores_and_a_killed_run_leaves_the_rows_to_monitoring(
    services: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = scored_model(services)
    path = write(tmp_path, "a.csv", rows(50, [1], seed=1))
    score(services, spec)

    def killed(*_: Any) -> None:
        assert len(scores(tmp_path)) == 60
        raise KeyboardInterrupt

    write(tmp_path, "a.csv", rows(60, [1], seed=2))
    os.utime(path, (1, 1))
    with monkeypatch.context() as patch:
        patch.setattr(counting_module, "keep_scored", killed)
        with pytest.raises(KeyboardInterrupt):
            score(services, spec)
    # The counts of the file before are there, and count for nothing.
    assert kept(services.ledger, spec) == [(1, "a", True)]
    assert judged_rows(services, spec, 1) == 60


def test_a_partition_that_cannot_be_written_is_not_counted(
    services: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = scored_model(services)
    write(tmp_path, "a.csv", rows(50, [1], seed=1))

    def away(*_: Any) -> None:
        raise Outage("the store is away")

    monkeypatch.setattr("podium.scoring.outputs._replace", away)
    with pytest.raises(Outage):
        score(services, spec)
    assert kept(services.ledger, spec) == []


def test_without_the_ledger_the_scores_are_written_and_monitoring_reads_the_rows(
    services: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    spec = scored_model(services)
    write(tmp_path, "a.csv", rows(50, [1], seed=1))

    def away(*_: Any) -> None:
        raise Outage("the ledger database did not answer: gone")

    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "tell", away)
        assert score(services, spec) == 50
    assert (
        "a is not counted, so monitoring reads it itself: the counts are not written: the ledger"
        in caplog.text
    )
    with monkeypatch.context() as patch:
        patch.setattr(counting_module, "reference_on_record", away)
        assert score(services, spec) == 50
    assert (
        "is not counted for monitoring: the ledger database did not answer: gone. Scoring continues"
        in caplog.text
    )
    assert (len(scores(tmp_path)), kept(services.ledger, spec)) == (50, [])
    assert judged_rows(services, spec, 1) == 50


def test_whatever_goes_wrong_beside_the_scores_are_written(
    services: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    spec = scored_model(services, scoring={"chunk_rows": 20})
    write(tmp_path, "a.csv", rows(50, [1], seed=1))

    def broken(*_: Any) -> None:
        raise RuntimeError("odd")

    monkeypatch.setattr(counting_module, "counted_frame", broken)
    assert score(services, spec) == 50
    assert caplog.text.count("a is not counted, so monitoring reads it itself: odd. Scoring continues") == 1
    assert (len(scores(tmp_path)), kept(services.ledger, spec)) == (50, [])


def test_two_runs_at_once_on_one_partition_count_it_once(services: Services, tmp_path: Path) -> None:
    spec = scored_model(services)
    write(tmp_path, "a.parquet", rows(3000, [1, 2, 3], seed=1))
    together = threading.Barrier(4)

    def run(number: int) -> int:
        # Their counts have one place; two that write scores to one place hinder each other.
        output = spec.scoring and spec.scoring.model_copy(update={"output": f"scores{number}"})
        together.wait()
        return score(services, spec.model_copy(update={"scoring": output}))

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(run, range(4))) == [3000] * 4
    assert kept(services.ledger, spec) == [(1, "a", True)]
    assert sum(judged_rows(services, spec, number) for number in (1, 2, 3)) == 3000


def test_a_source_without_times_is_scored_and_said_once_to_be_not_counted(
    services: Services, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spec = scored_model(services, scoring={"chunk_rows": 10})
    write(tmp_path, "a.parquet", rows(50, [1], seed=1).drop(columns="day"))
    assert score(services, spec) == 50
    told = [record.getMessage() for record in caplog.records if "is not counted" in record.getMessage()]
    assert told == [
        f"{spec.name} v1, a is not counted, so monitoring reads it itself: there is no column 'day' "
        "(data.time_column). Scoring continues."
    ]
    assert kept(services.ledger, spec) == []


def test_a_file_that_is_written_while_it_is_scored_is_not_counted(
    services: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    spec = scored_model(services)
    path = write(tmp_path, "a.csv", rows(50, [1], seed=1))
    really = run_module.score_to

    def written(*arguments: Any) -> Any:
        done = really(*arguments)
        os.utime(path, (1, 1))
        return done

    monkeypatch.setattr(run_module, "score_to", written)
    assert score(services, spec) == 50
    assert "it has changed since it was read" in caplog.text
    assert kept(services.ledger, spec) == []


def without_section(spec: ModelSpec) -> ModelSpec:
    return spec.model_copy(update={"monitoring": None})


def of_servers(spec: ModelSpec) -> ModelSpec:
    assert spec.monitoring is not None
    return spec.model_copy(update={"monitoring": spec.monitoring.model_copy(update={"rows": "server"})})


def with_unique_inputs(spec: ModelSpec) -> ModelSpec:
    return scored_spec(spec.name, rules={"x": {"unique": True}})


@pytest.mark.parametrize("changed", [without_section, of_servers, with_unique_inputs])
def test_nothing_is_counted_that_monitoring_does_not_take(
    services: Services, tmp_path: Path, changed: Callable[[ModelSpec], ModelSpec]
) -> None:
    spec = changed(scored_model(services))
    write(tmp_path, "a.csv", rows(50, [1], seed=1))
    assert score(services, spec) == 50
    assert kept(services.ledger, spec) == []
    if changed is with_unique_inputs:
        assert judged_rows(services, spec, 1) == 50


def test_a_version_without_bins_is_not_counted(
    services: Services, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spec = scored_model(services)
    new_champion(services, spec, Reference({}, (), unknown="the training data is gone"))
    write(tmp_path, "a.csv", rows(50, [1], seed=1))
    with caplog.at_level(logging.INFO):
        assert score(services, spec) == 50
    assert "v2 has no bins yet: nothing is counted for monitoring before its first window" in caplog.text
    assert kept(services.ledger, spec) == []


def test_a_partition_of_too_many_windows_is_not_counted(
    services: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    spec = scored_model(services)
    monkeypatch.setattr(counting_module, "_MOST_CELLS", 3000)
    write(tmp_path, "a.csv", rows(500, range(200), seed=1))
    assert score(services, spec) == 500
    assert "windows of '0 * * * *'" in caplog.text
    assert kept(services.ledger, spec) == []


def test_counts_of_a_partition_are_deleted_after_a_hundred_days(
    services: Services, layout: Layout, tmp_path: Path
) -> None:
    spec = scored_model(services)
    for name in ("a", "b"):
        write(tmp_path, f"{name}.csv", rows(50, [1], seed=1))
    score(services, spec)
    old = "UPDATE scored_partitions SET at = at - interval '101 days' WHERE partition = 'a'"
    as_superuser(layout, f"{old} AND model = '{spec.name}'", "ledger")
    score(services, spec, "b")
    assert kept(services.ledger, spec) == [(1, "b", True)]
    assert judged_rows(services, spec, 1) == 100
