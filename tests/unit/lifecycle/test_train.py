"""Train: equal inputs once, and what the run keeps."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import pytest

from podium.errors import DataError, PodiumError, Refused, RequesterUnknown, TrainerError
from podium.lifecycle import register as register_module
from podium.lifecycle import train as train_module
from podium.model_file.loading import load_spec
from podium.model_file.spec import ModelSpec
from podium.registry.model_files import load_model
from podium.services import Services
from podium.training import holdout
from podium.versions import verified
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
    # One that was turned down ends as ever: a newer candidate's run clears it for that.
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
