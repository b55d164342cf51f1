"""Evidence from real models in a real registry, and what is kept of a validation."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.pyfunc import PyFuncModel

from podium.errors import NotFound, Outage
from podium.gates import collection, stored_report
from podium.gates.collection import JUDGED
from podium.gates.report import CONTRACT, GateReport, GateStatus
from podium.lifecycle import validate as validate_module
from podium.model_file.loading import load_spec
from podium.model_file.spec import ModelSpec
from podium.services import Services
from podium.training import holdout
from support.mlflow_client import raw
from support.steps import FIRST, SECOND, TRAINED, kinds, new_run, nominate_unjudged, promote_as_of, register

ROWS = 100
MANY_GATES: list[dict[str, Any]] = [
    {"min_holdout_rows": 50},
    {"metric": "log_loss", "threshold": 0.69},
    {"metric": "log_loss", "against": "champion", "max_regression_abs": 0.05},
    {"metric": "log_loss", "against": "champion", "not_worse": {"margin": 0.1, "resamples": 100}},
    {"metric": "roc_auc", "against": "champion", "not_worse": {"margin": 0.1, "resamples": 100}},
    {"metric": "f1", "threshold": 0.5},
    {"metric": "accuracy", "threshold": 0.3, "slices": {"column": "x", "bins": 3}},
    {"label_coverage": "champion", "of": ["model", "holdout", "predictions"]},
    {"schema": {"x": {"type": "number"}, "y": {"allowed": ["no", "yes"]}}},
    {"max_train_overlap": 0.0},
    {"signature": "compatible"},
    {"cost": "model_size", "max_mb": 5},
    {"cost": "load_time", "max_ratio": 1000},
    {"max_disagreement": 0.5},
]
Answers = Callable[[PyFuncModel, pd.DataFrame], Any]


@pytest.fixture
def strict_spec(toy_spec: ModelSpec, toy_file: Callable[..., Path]) -> ModelSpec:
    return load_spec(toy_file(name=toy_spec.name, gates=MANY_GATES))


def validate(services: Services, spec: ModelSpec, as_of: Any = SECOND) -> GateReport:
    return validate_module.validate_version(
        services, spec, register(services, spec, as_of, new_run()), new_run()
    )


def answer_with(patch: pytest.MonkeyPatch, run_id: str, answers: Answers) -> None:
    """Let the model of one training run answer otherwise to the holdout's rows, but not to its example."""
    predict = PyFuncModel.predict

    def instead(model: PyFuncModel, rows: pd.DataFrame) -> Any:
        theirs = model.metadata.run_id == run_id and len(rows) != len(model.input_example)
        return answers(model, rows) if theirs else predict(model, rows)

    patch.setattr(PyFuncModel, "predict", instead)


def kept(services: Services, spec: ModelSpec, number: int) -> set[str]:
    client, run_id = raw(services.registry), services.registry.version(spec.name, number).run_id
    folders = [item.path for item in client.list_artifacts(run_id, "gates")]
    return {
        item.path.rpartition("/")[2] for folder in folders for item in client.list_artifacts(run_id, folder)
    }


def test_each_model_answers_each_row_exactly_once_however_many_gates_ask(
    services: Services, strict_spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    promote_as_of(services, strict_spec, FIRST)
    monkeypatch.setattr(holdout, "BATCH_ROWS", 30)
    asked: dict[str, list[int]] = defaultdict(list)
    predict = PyFuncModel.predict

    def counting(model: PyFuncModel, rows: pd.DataFrame) -> Any:
        asked[model.metadata.run_id].append(len(rows))
        return predict(model, rows)

    monkeypatch.setattr(PyFuncModel, "predict", counting)
    report = validate(services, strict_spec)
    assert report.sentence() == f"{strict_spec.name} v2: passed all {len(MANY_GATES)} gates"
    once = [30, 30, 30, 10]
    # Five rows are the example that the judged version proves itself with.
    assert asked == {TRAINED[FIRST].run_id: once, TRAINED[SECOND].run_id: [5, *once]}


def test_a_gate_of_seconds_times_both_models(
    services: Services, toy_spec: ModelSpec, toy_file: Callable[..., Path]
) -> None:
    gates = [{"cost": "latency_p95", "max_ratio": 1000}, {"cost": "throughput", "min_ratio": 0.001}]
    spec = load_spec(toy_file(name=toy_spec.name, gates=gates))
    promote_as_of(services, spec, FIRST)
    report = validate(services, spec)
    assert report.passed
    assert all(result.value and result.reference for result in report.results[1:])


def test_a_candidate_that_cannot_answer_one_row_alone_is_refused_where_that_is_timed(
    services: Services, toy_spec: ModelSpec, toy_file: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = load_spec(toy_file(name=toy_spec.name, gates=[{"cost": "latency_p95", "max_ratio": 2}]))

    def together(model: PyFuncModel, rows: pd.DataFrame) -> Any:
        if len(rows) == 1:
            raise ValueError("one row has no spread")
        return np.full((len(rows), 2), 0.5)

    answer_with(monkeypatch, TRAINED[SECOND].run_id, together)
    report = validate(services, spec)
    assert not report.passed
    assert report.results[0].note == "cannot be scored on these rows: ValueError: one row has no spread"


def test_a_champion_that_cannot_be_scored_is_an_outage_not_an_answer(
    services: Services, toy_spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    promote_as_of(services, toy_spec, FIRST)
    before = kinds(services, toy_spec)

    def crash(model: PyFuncModel, rows: pd.DataFrame) -> Any:
        raise ValueError("no such feature")

    answer_with(monkeypatch, TRAINED[FIRST].run_id, crash)
    what = f"champion {toy_spec.name} v1 cannot be scored on these rows: ValueError: no such feature"
    with pytest.raises(Outage, match=f"{what}, so there is nothing to compare with"):
        validate(services, toy_spec)
    assert kinds(services, toy_spec) == [*before, "registered"]


def test_a_champion_without_an_example_is_compared_with_all_the_same(
    services: Services, toy_spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    promote_as_of(services, toy_spec, FIRST)
    real = collection.example_problem

    def none_of_the_champion(model: PyFuncModel, *recorded: Any) -> str:
        of_champion = model.metadata.run_id == TRAINED[FIRST].run_id
        return "has no input example" if of_champion else real(model, *recorded)

    monkeypatch.setattr(collection, "example_problem", none_of_the_champion)
    report = validate(services, toy_spec)
    assert (report.champion, report.passed) == (1, True), report.sentence()


def test_a_candidate_that_cannot_be_scored_is_refused_with_the_reason(
    services: Services, strict_spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    promote_as_of(services, strict_spec, FIRST)

    def crash(model: PyFuncModel, rows: pd.DataFrame) -> Any:
        raise ValueError("no such feature")

    answer_with(monkeypatch, TRAINED[SECOND].run_id, crash)
    report = validate(services, strict_spec)
    assert not report.passed
    assert report.results[0].kind == CONTRACT
    assert report.results[0].note == "cannot be scored on these rows: ValueError: no such feature"
    assert kinds(services, strict_spec)[-1] == "gates_refused"


@pytest.mark.parametrize("strange", [np.nan, np.inf])
def test_a_candidate_whose_answers_are_no_numbers_is_refused(
    services: Services, strict_spec: ModelSpec, monkeypatch: pytest.MonkeyPatch, strange: float
) -> None:
    promote_as_of(services, strict_spec, FIRST)
    answers = np.full((ROWS, 2), 0.5)
    answers[7] = strange
    answer_with(monkeypatch, TRAINED[SECOND].run_id, lambda *_: answers)
    report = validate(services, strict_spec)
    assert report.results[0].note == "1 of 100 predictions are not finite"
    relative = [result.status for result in report.results if "champion by more" in result.gate]
    assert relative == [GateStatus.FAILED] * 3


@pytest.mark.parametrize("answer", [np.zeros((ROWS, 3)), "maybe"])
def test_a_candidate_that_answers_in_another_shape_is_refused(
    services: Services, toy_spec: ModelSpec, monkeypatch: pytest.MonkeyPatch, answer: Any
) -> None:
    answer_with(monkeypatch, TRAINED[SECOND].run_id, lambda *_: answer)
    report = validate(services, toy_spec)
    assert not report.passed
    assert "cannot be scored on these rows" in report.results[0].note


def test_a_candidate_that_changed_its_mind_about_its_example_is_refused(
    services: Services, toy_spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    predict = PyFuncModel.predict
    monkeypatch.setattr(PyFuncModel, "predict", lambda model, rows: predict(model, rows)[:, ::-1])
    report = validate(services, toy_spec)
    assert not report.passed
    assert "for its input example" in report.results[0].note


def test_a_store_that_does_not_answer_is_an_outage_not_a_refusal(
    services: Services, toy_spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(model: PyFuncModel, rows: pd.DataFrame) -> Any:
        raise ConnectionError("no route to host")

    answer_with(monkeypatch, TRAINED[SECOND].run_id, unreachable)
    with pytest.raises(Outage, match="no route to host"):
        validate(services, toy_spec)


def test_the_candidate_that_would_be_replaced_is_scored_where_a_gate_asks(
    services: Services, toy_spec: ModelSpec, toy_file: Callable[..., Path]
) -> None:
    gates = [{"metric": "log_loss", "against": "candidate", "max_regression_abs": 0.05}]
    spec = load_spec(toy_file(name=toy_spec.name, gates=gates))
    first = validate(services, spec, FIRST)
    assert first.results[1].status is GateStatus.NO_CHAMPION
    nominate_unjudged(services, spec, FIRST, new_run())
    # Held against itself it would always pass.
    assert validate(services, spec, FIRST).results[1].status is GateStatus.NO_CHAMPION
    second = validate(services, spec)
    assert second.results[1].status is GateStatus.PASSED
    assert second.results[1].reference == pytest.approx(second.scores.references["candidate"]["log_loss"])
    assert "candidate now" in second.markdown()
    assert "candidate" not in validate(services, toy_spec).scores.references


def test_all_that_was_judged_is_kept_with_the_training_run(
    services: Services, strict_spec: ModelSpec
) -> None:
    promote_as_of(services, strict_spec, FIRST)
    report = validate(services, strict_spec)
    version = services.registry.version(strict_spec.name, 2)
    assert kept(services, strict_spec, 2) == {
        "report.json", "report.md", "predictions.parquet", "measurements.json",
        "reliability.png", "bootstrap_3.png", "bootstrap_4.png", "slices_6.png",
    }  # fmt: skip
    for path in ("gates/v2-against-v1/report.json", "promotion_result.json"):
        content = mlflow.artifacts.load_dict(f"runs:/{version.run_id}/{path}")
        assert GateReport.from_json(content) == report
        assert content["sentence"] == report.sentence()
    shown = mlflow.artifacts.load_text(f"runs:/{version.run_id}/gates/v2-against-v1/report.md")
    assert shown == report.markdown()
    sides = stored_report.kept_sides(services.registry, version, strict_spec, champion=1)
    assert set(sides) == {JUDGED, "champion"}
    assert sides[JUDGED].classes == ("no", "yes")
    assert sides[JUDGED].predictions.shape == (ROWS, 2)
    assert sides["champion"].signature["inputs"]
    assert sides[JUDGED].cost is not None
    assert sides[JUDGED].cost.model_size == report.results[12].value
    with pytest.raises(NotFound):
        stored_report.kept_sides(services.registry, version, strict_spec, champion=7)


def test_the_same_validation_twice_is_the_same_report(services: Services, strict_spec: ModelSpec) -> None:
    promote_as_of(services, strict_spec, FIRST)
    assert validate(services, strict_spec).digest() == validate(services, strict_spec).digest()
