"""A regression and a ranking from rows to report."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import ndcg_score

from podium.errors import DataError
from podium.gates import stored_report
from podium.gates.report import GateReport, GateStatus
from podium.lifecycle.register import register_version
from podium.lifecycle.validate import validate_version
from podium.model_file.spec import ModelSpec
from podium.services import Services
from podium.training import holdout
from support.mlflow_client import raw
from support.steps import FIRST, SECOND, TRAINED, live_through, new_run, train
from support.toy import NUMBER_TOY, RANKING_TOY, write_number_rows

FILE = "qa/baseline.json"
NUMBER_GATES: list[dict[str, Any]] = [
    {"metric": "mean_absolute_error", "against": "mean", "min_improvement": 0.1},
    {"metric": "rmspe", "threshold": 0.5},
    {
        "metric": "root_mean_squared_error",
        "against": "champion",
        "not_worse": {"margin": 0.1, "resamples": 100},
    },
    {"metric": "mean_absolute_error", "against": "mean", "not_worse": {"resamples": 100}},
    {"metric": "mean_absolute_error", "threshold": 1.0, "slices": {"column": "country"}},
    {"metric": "mean_absolute_error", "max_slice_difference": 0.3, "slices": {"column": "country"}},
    {"metric": "trainer.r2", "greater_is_better": True, "threshold": 0.5},
    {"metric": "trainer.r2", "greater_is_better": True, "baseline": FILE, "max_regression_rel": 0.5},
    {"metric": "mean_absolute_error", "baseline": FILE, "max_regression_abs": 0.1},
    {"metric": "r2", "threshold": 0.5},
    {
        "schema": {
            "country": {"allowed": ["A", "B", "C"]},
            "y": {"type": "number"},
            "day": {"type": "datetime"},
        }
    },
    {"max_train_overlap": 0.0},
    {"max_train_overlap": 1.0, "columns": ["country"]},
    {"signature": "compatible"},
    {"max_disagreement": 0.1, "tolerance": 0.1},
]


def spec_of(toy: dict[str, Any], **changes: Any) -> ModelSpec:
    return ModelSpec.model_validate({**toy, "name": f"toy-{uuid.uuid4().hex[:8]}", **changes})


@pytest.fixture
def numbers(tmp_path: Path) -> Path:
    write_number_rows(tmp_path)
    (tmp_path / "qa").mkdir()
    (tmp_path / FILE).write_text(json.dumps({"mean_absolute_error": 0.8, "r2": 0.7}))
    return tmp_path


def judge(services: Services, spec: ModelSpec) -> GateReport:
    version = register_version(services, spec, train(services, spec, SECOND).run_id, new_run())
    return validate_version(services, spec, version, new_run())


def test_a_regression_from_its_rows_to_its_report(
    services: Services, numbers: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = spec_of(NUMBER_TOY, gates=NUMBER_GATES)
    monkeypatch.setitem(TRAINED, FIRST, train(services, spec))
    assert live_through(services, spec, FIRST).version == 1
    report = judge(services, spec)
    assert report.sentence() == f"{spec.name} v2: passed all {len(NUMBER_GATES)} gates"
    assert report.champion == 1
    assert set(report.scores.references) == {"champion", "mean"}
    by_rule = dict(zip(map(str, NUMBER_GATES), report.results[1:], strict=True))
    sliced = by_rule[str(NUMBER_GATES[4])]
    assert [part.name for part in sliced.slices] == ["country = A", "country = B", "country = C"]
    assert sum(part.rows for part in sliced.slices) == report.scores.rows == 400
    assert by_rule[str(NUMBER_GATES[7])].reference == 0.7
    assert by_rule[str(NUMBER_GATES[12])].value == 1.0
    version = services.registry.version(spec.name, 2)
    pictures = {
        item.path.rpartition("/")[2]
        for item in raw(services.registry).list_artifacts(version.run_id, "gates/v2-against-v1")
        if item.path.endswith(".png")
    }
    assert pictures == {"bootstrap_2.png", "bootstrap_3.png", "slices_4.png", "slices_5.png"}
    sides = stored_report.kept_sides(services.registry, version, spec, champion=1)
    assert sides["judged"].predictions.shape == (400,)
    assert (sides["judged"].classes, sides["champion"].classes) == ((), ())


def test_rows_that_were_trained_on_are_found_in_the_holdout(services: Services, numbers: Path) -> None:
    rows = pd.read_csv(numbers / "numbers.csv")
    # The newest 40 rows before the second date are old ones with another day.
    newest = rows.index[rows["day"] < "2025-07-01"][-40:]
    for column in ("x", "y", "country"):
        rows.loc[newest, column] = rows[column].to_numpy()[:40]
    rows.to_csv(numbers / "numbers.csv", index=False)
    overlap = {"max_train_overlap": 0.05}
    by_all = {**overlap, "columns": ["x", "y", "country", "day"]}
    spec = spec_of(NUMBER_TOY, gates=[overlap, {**overlap, "columns": ["x", "country"]}, by_all])
    report = judge(services, spec)
    assert [result.value for result in report.results[1:]] == [0.1, 0.1, 0.0]
    assert [result.status for result in report.results[1:]] == [GateStatus.FAILED] * 2 + [GateStatus.PASSED]


def test_a_gate_that_training_did_not_know_of_fails_until_there_is_a_new_run(
    services: Services, numbers: Path
) -> None:
    old = spec_of(NUMBER_TOY)
    run = train(services, old, SECOND).run_id
    new = spec_of(NUMBER_TOY, name=old.name, gates=[{"max_train_overlap": 1.0, "columns": ["country"]}])
    version = register_version(services, new, run, new_run())
    result = validate_version(services, new, version, new_run()).results[1]
    assert (result.status, result.note) == (
        GateStatus.FAILED,
        "the training run did not keep these columns; train again",
    )
    assert train(services, new, SECOND).run_id != run


def test_numbers_of_the_trainer_without_end_fail(services: Services, numbers: Path) -> None:
    gates = [
        {"metric": "trainer.up", "greater_is_better": True, "threshold": 0},
        {"metric": "trainer.down", "greater_is_better": False, "threshold": 0},
        {"metric": "trainer.away", "greater_is_better": True, "threshold": 0},
        {"metric": "trainer.nowhere", "greater_is_better": True, "threshold": 0},
    ]
    trainer = "support.toy_trainer:train_without_end"
    report = judge(services, spec_of(NUMBER_TOY, trainer=trainer, gates=gates))
    assert [str(result.value) for result in report.results[1:]] == ["inf", "-inf", "nan", "nan"]
    assert [result.status for result in report.results[1:]] == [GateStatus.FAILED] * 4


def test_a_baseline_file_that_is_not_there_is_a_fault_not_a_pass(services: Services, numbers: Path) -> None:
    (numbers / FILE).unlink()
    spec = spec_of(NUMBER_TOY, gates=[NUMBER_GATES[8]])
    with pytest.raises(DataError, match="baseline file .*qa/baseline.json cannot be read: No such file"):
        judge(services, spec)


def test_columns_of_slices_that_the_rows_lack_fail(services: Services, numbers: Path) -> None:
    gates = [
        {"metric": "r2", "threshold": 0.0, "slices": {"column": "county"}},
        {
            "metric": "support.own_metrics:prediction",
            "greater_is_better": True,
            "threshold": 0,
            "columns": ["z"],
        },
        {"schema": {"county": {}}},
    ]
    report = judge(services, spec_of(NUMBER_TOY, gates=gates))
    assert [result.status for result in report.results[1:]] == [GateStatus.FAILED] * 3
    assert [result.note.partition(":")[2] or result.note for result in report.results[1:]] == [
        "the examples have no column 'county'",
        "prediction has no value: the examples have no column z",
        "there is no column county",
    ]


def test_a_ranking_from_its_rows_to_its_report(services: Services, numbers: Path, tmp_path: Path) -> None:
    gates = [
        {"metric": "ndcg", "against": "mean", "not_worse": {"resamples": 100}},
        {"metric": "mean_reciprocal_rank", "against": "mean", "min_improvement": 0.05},
        {"metric": "ndcg", "threshold": 0.5, "slices": {"column": "x", "bins": 2}},
    ]
    spec = spec_of(RANKING_TOY, gates=gates)
    report = judge(services, spec)
    assert report.sentence() == f"{spec.name} v1: passed all 3 gates"
    version = services.registry.version(spec.name, 1)
    (rows,) = holdout.batches(services.registry.download_artifacts(version.run_id, holdout.FOLDER, tmp_path))
    scores = stored_report.kept_sides(services.registry, version, spec, champion=None)["judged"].predictions
    lists = [rows.index[rows["list"] == name] for name in rows["list"].unique()]
    expected = [
        ndcg_score([rows["relevance"][places]], [scores[places]])
        for places in lists
        if rows["relevance"][places].any()
    ]
    assert report.scores.candidate["ndcg"] == pytest.approx(np.mean(expected))


def test_a_row_that_belongs_to_no_list_is_named(services: Services, numbers: Path) -> None:
    rows = pd.read_csv(numbers / "lists.csv")
    rows.loc[5, "list"] = None
    rows.to_csv(numbers / "lists.csv", index=False)
    with pytest.raises(DataError, match="lists.csv: column list: row 5 belongs to no list"):
        train(services, spec_of(RANKING_TOY))
