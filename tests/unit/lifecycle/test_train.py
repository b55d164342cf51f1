"""Train: equal inputs once, and what the run keeps."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import pytest
from sklearn.dummy import DummyRegressor

from podium.errors import DataError, PodiumError, Refused, RequesterUnknown, TrainerError
from podium.lifecycle import register as register_module
from podium.lifecycle import train as train_module
from podium.lifecycle.validate import validate_version
from podium.model_file.loading import load_spec
from podium.model_file.spec import ModelSpec
from podium.registry.model_files import load_model
from podium.reporting.compare import compare_versions
from podium.services import Services
from podium.training import holdout
from podium.versions import verified
from support import toy_trainer
from support.mlflow_client import raw
from support.steps import (
    FIRST,
    SECOND,
    decide,
    kinds,
    new_run,
    nominate,
    nominate_unjudged,
    train,
)
from support.toy import RANKING_TOY, write_number_rows


def test_the_run_keeps_what_people_and_gates_need(
    services: Services, toy_spec: ModelSpec, tmp_path: Path
) -> None:
    trained = train(services, toy_spec)
    run = raw(services.registry).get_run(trained.run_id)
    assert run.data.params == {"strength": "1.0"}
    assert run.data.metrics["holdout.log_loss"] < run.data.metrics["holdout.class_prior.log_loss"]
    artifacts = {item.path for item in raw(services.registry).list_artifacts(trained.run_id)}
    assert {"confusion_matrix.png", "calibration.png", "loss_per_month.png", "holdout"} <= artifacts
    folder = services.registry.download_artifacts(trained.run_id, holdout.FOLDER, tmp_path)
    (rows,) = holdout.batches(folder)
    assert len(rows) == 100
    assert {"x", "y", "day"} == set(rows)
    assert holdout.read_baselines(folder, toy_spec.labels)["class_prior"].shape == (100, 2)


def test_the_model_has_signature_example_and_pinned_requirements(
    services: Services, toy_spec: ModelSpec
) -> None:
    run = new_run()
    nominate(services, toy_spec, FIRST, run)
    events = services.ledger.history(toy_spec.name)
    with verified(services, events, toy_spec.name, 1) as (folder, _):
        model = load_model(folder)
    assert model.metadata.get_input_schema().input_names() == ["x"]
    assert len(model.input_example) == 5
    requirements = (
        Path(mlflow.artifacts.download_artifacts(f"models:/{toy_spec.name}/1")) / "requirements.txt"
    )
    assert "scikit-learn==" in requirements.read_text()
    flavor = model.metadata.flavors["sklearn"]
    assert flavor["serialization_format"] == "skops"


def test_equal_inputs_are_trained_once_and_are_one_version(services: Services, toy_spec: ModelSpec) -> None:
    first, again = train(services, toy_spec), train(services, toy_spec)
    assert again.run_id == first.run_id
    numbers = {
        register_module.register_version(services, toy_spec, trained.run_id, new_run())
        for trained in (first, again, first)
    }
    assert numbers == {1}
    assert kinds(services, toy_spec) == ["registered"]


def test_other_inputs_are_another_run(services: Services, toy_spec: ModelSpec, tmp_path: Path) -> None:
    runs = [
        train(services, toy_spec).run_id,
        train(services, toy_spec, strength=2.0).run_id,
        train(services, toy_spec, SECOND).run_id,
    ]
    rows = pd.read_csv(tmp_path / "toy.csv")
    rows.loc[0, "x"] += 1
    rows.to_csv(tmp_path / "toy.csv", index=False)
    runs.append(train(services, toy_spec).run_id)
    assert len(set(runs)) == 4


FORM: dict[str, Any] = {"mlflow_run": None, "version": None, "profile": None, "params": {}, "as_of": None}


def test_a_run_that_a_backfill_started_again_trains_nothing(services: Services, toy_spec: ModelSpec) -> None:
    with pytest.raises(RequesterUnknown, match="run lifecycle_toy/again was started again by a backfill"):
        train_module.train(services, toy_spec, FIRST, FORM, "lifecycle_toy/again", started_again=True)
    # One that was turned down ends as ever.
    run = new_run()
    nominate_unjudged(services, toy_spec, FIRST, run)
    decide(services, toy_spec, run, "Reject")
    with pytest.raises(Refused, match="was rejected by amy"):
        train_module.train(services, toy_spec, FIRST, FORM, run, started_again=True)


@pytest.mark.parametrize("taken", [{"version": 1}, {"mlflow_run": "abc"}])
@pytest.mark.parametrize("ignored", [{"params": {"strength": 2.0}}, {"as_of": "2025-06-01T00:00:00Z"}])
def test_what_was_trained_before_is_not_asked_for_what_a_training_is(
    services: Services, toy_spec: ModelSpec, taken: dict[str, Any], ignored: dict[str, Any]
) -> None:
    form = {**FORM, **taken, **ignored}
    with pytest.raises(PodiumError, match=f"was trained before: leave {next(iter(ignored))} empty"):
        train_module.train(services, toy_spec, FIRST, form, new_run(), started_again=False)


@pytest.mark.parametrize("year", [1, 1899, 2201, 9999])
def test_a_moment_of_a_year_without_data_is_refused_at_once(
    services: Services, toy_spec: ModelSpec, year: int
) -> None:
    as_of = datetime(year, 1, 1, tzinfo=timezone(timedelta(hours=14 if year < 1000 else -12)))
    with pytest.raises(DataError, match=f"as_of {year:04}-01-01.* is not between the years 1900 and 2200"):
        train_module.train(services, toy_spec, as_of, FORM, new_run(), started_again=False)


def test_an_unknown_param_is_refused_by_name(services: Services, toy_spec: ModelSpec) -> None:
    with pytest.raises(PodiumError, match="params: unknown stength; allowed: strength"):
        train(services, toy_spec, stength=1)


def test_a_param_of_the_form_that_no_param_can_be_is_refused(services: Services, toy_spec: ModelSpec) -> None:
    with pytest.raises(PodiumError, match=r"params.strength: \[\[1\]\]: must be text .* or a list of these"):
        train(services, toy_spec, strength=[[1]])


def test_params_may_be_null_and_lists_and_the_trainer_cannot_change_them(
    services: Services, ranks: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {"layers": [64, None], "depth": None}
    monkeypatch.setattr(toy_trainer, "RETURNED", {})
    update = {"trainer": "support.toy_trainer:return_parts", "params": given}
    trained = train(services, ranks.model_copy(update=update), depth=[0.5])
    assert raw(services.registry).get_run(trained.run_id).data.params == {
        "layers": "[64, None]",
        "depth": "[0.5]",
    }
    assert given["layers"] == [64, None]


def test_a_trainer_that_breaks_the_protocol_is_named(
    services: Services, toy_spec: ModelSpec, toy_file: Callable[..., Path]
) -> None:
    broken = load_spec(toy_file(name=toy_spec.name, trainer="support.toy_trainer:return_nonsense"))
    with pytest.raises(
        TrainerError, match="support.toy_trainer:return_nonsense must return a TrainedModel, not str"
    ):
        train(services, broken)
    reserved = load_spec(toy_file(name=toy_spec.name, trainer="support.toy_trainer:claim_to_be_champion"))
    with pytest.raises(TrainerError, match="a baseline must not be called champion"):
        train(services, reserved)
    crashing = load_spec(toy_file(name=toy_spec.name, trainer="support.toy_trainer:crash"))
    with pytest.raises(TrainerError, match="support.toy_trainer:crash: KeyError: 'no such param'"):
        train(services, crashing)
    labels = load_spec(toy_file(name=toy_spec.name, trainer="support.toy_trainer:rename_labels"))
    with pytest.raises(TrainerError, match=r"model knows the labels \['NO', 'YES'\], the model file lists"):
        train(services, labels)


@pytest.fixture
def ranks(toy_spec: ModelSpec, tmp_path: Path) -> ModelSpec:
    """A ranking with rankers' names, in its trainer, its params and its gates."""
    write_number_rows(tmp_path)
    gates = [
        {"metric": "trainer.hit@1", "greater_is_better": True, "threshold": 0.3},
        {"metric": "ndcg", "against": "the shop's own order", "min_improvement": 0.1},
    ]
    trainer = "support.toy_trainer:report_as_rankers_do"
    params = {"k@": 3, "..": "up", "kept": "n" * 6668, "p" * 300: 1}
    content = RANKING_TOY | {"name": toy_spec.name, "trainer": trainer, "gates": gates, "params": params}
    return ModelSpec.model_validate(content)


def test_names_that_mlflow_refuses_are_kept_and_judged(services: Services, ranks: ModelSpec) -> None:
    run = new_run()
    trained = train(services, ranks)
    stored = raw(services.registry).get_run(trained.run_id).data
    assert (stored.metrics["trainer.hit_x0040_1"], stored.params["k_x0040_"]) == (0.4, "3")
    version = register_module.register_version(services, ranks, trained.run_id, run)
    report = validate_version(services, ranks, version, run)
    assert report.passed, report.sentence()
    assert [result.value for result in report.results if result.gate.startswith("trainer.")] == [0.4]
    assert {"the shop's own order", "n" * 300} <= set(report.scores.references)
    (side,) = compare_versions(services, ranks, "trainer.hit@1").sides
    assert side.metrics["trainer.ndcg@3"] == 0.5
    assert (side.params["k@"], side.params[".."], len(side.params)) == ("3", "up", 4)
    # MLflow keeps no more of a value and of a name.
    assert (len(side.params["kept"]), max(map(len, side.params))) == (6000, 250)


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        ({"metrics": {"loss": None}}, "metrics: loss: None is not a number"),
        ({"metrics": {"loss": "0.4"}}, "metrics: loss: '0.4' is not a number"),
        ({"metrics": {1: 0.4}}, "metrics: 1 is not a name: it must be text, not empty"),
        ({"baselines": {"": DummyRegressor()}}, "baselines: '' is not a name"),
        ({"baselines": [DummyRegressor()]}, "baselines must be a mapping by name, not list"),
    ],
)
def test_what_cannot_be_logged_is_refused_in_a_sentence(
    services: Services,
    ranks: ModelSpec,
    monkeypatch: pytest.MonkeyPatch,
    returned: dict[str, Any],
    said: str,
) -> None:
    monkeypatch.setattr(toy_trainer, "RETURNED", returned)
    spec = ranks.model_copy(update={"trainer": "support.toy_trainer:return_parts"})
    with pytest.raises(TrainerError, match=re.escape(f"support.toy_trainer:return_parts: {said}")):
        train(services, spec)
