"""A model that another Dag trains: its run is taken, judged on the model file's holdout, and promoted."""

from __future__ import annotations

import uuid
from datetime import datetime
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import pytest
import yaml
from mlflow import MlflowClient

from podium.errors import CannotAdopt, DataError, NotFound, PodiumError, Refused
from podium.lifecycle import approval
from podium.lifecycle.approval_policy import NOBODY_KNOWN
from podium.lifecycle.nominate import nominate_version
from podium.lifecycle.register import register_version
from podium.lifecycle.train import train
from podium.lifecycle.validate import validate_version
from podium.model_file.loading import load_spec
from podium.model_file.spec import ModelSpec
from podium.names import Tag
from podium.services import Services
from podium.serving.loaded_version import load_version
from podium.training import announce
from support.elsewhere import AS_OF, elsewhere_toy, train_elsewhere
from support.steps import answer, new_run, promote
from support.toy import write_toy_rows

NOTHING_ASKED: dict[str, Any] = dict.fromkeys(("as_of", "mlflow_run", "version", "params", "profile"))


@pytest.fixture
def spec(services: Services, tmp_path: Path) -> ModelSpec:
    mlflow.set_tracking_uri(services.registry.tracking_uri)
    write_toy_rows(tmp_path / "toy.csv", first_day="2024-01-01")
    name = f"elsewhere-{uuid.uuid4().hex[:8]}"
    path = tmp_path / f"{name}.yaml"
    path.write_text(yaml.safe_dump(elsewhere_toy(name=name)))
    return load_spec(path)


@pytest.fixture
def rows(spec: ModelSpec, tmp_path: Path) -> pd.DataFrame:
    return pd.read_csv(tmp_path / "toy.csv")


def taken(services: Services, spec: ModelSpec, run_id: str | None, run: str | None = None) -> str:
    form = {**NOTHING_ASKED, "mlflow_run": run_id}
    return train(services, spec, datetime(2030, 1, 1), form, run or new_run(), started_again=False)


def judged(services: Services, spec: ModelSpec, run_id: str, run: str) -> tuple[int, bool]:
    number = register_version(services, spec, taken(services, spec, run_id, run), run)
    return number, validate_version(services, spec, number, run).passed


def test_a_run_of_another_dag_is_judged_on_the_model_files_holdout_and_promoted(
    services: Services, spec: ModelSpec, rows: pd.DataFrame
) -> None:
    run_id, run = train_elsewhere(spec.name, rows), new_run()
    number, passed = judged(services, spec, run_id, run)
    assert passed
    tags = services.registry.version(spec.name, number).tags
    assert tags[Tag.AS_OF] == "2025-06-01T00:00:00"
    assert tags[Tag.TRAINED_ON] == "2024-01-01 to 2025-02-20 (417 rows)"
    assert tags[Tag.JUDGED_ON] == "2025-02-21 to 2025-05-31 (100 rows)"
    nominate_version(services, spec.name, run)
    request = approval.open_request(services, spec.approval, spec.name, run, "olga")
    approval.judge(services, spec.approval, request, answer(), None)
    assert promote(services, spec, run).version == number
    events = services.ledger.present(spec.name, number)
    assert load_version(services, events, spec.name, number, max_rows=10).number == number
    # The same run once more is the same version.
    assert judged(services, spec, run_id, new_run())[0] == number


def test_rows_on_both_sides_are_refused_by_the_leak_gate(
    services: Services, spec: ModelSpec, rows: pd.DataFrame
) -> None:
    run_id, run = train_elsewhere(spec.name, rows, until="2025-03-10"), new_run()
    _, passed = judged(services, spec, run_id, run)
    assert not passed
    refused = services.ledger.of_run(spec.name, run)[-1]
    failed = [result["gate"] for result in refused.details["results"] if result["status"] == "failed"]
    assert failed == ["no holdout rows equal a training row in all inputs"]


def test_who_asked_is_known_or_nobody_may_approve(
    services: Services, spec: ModelSpec, rows: pd.DataFrame
) -> None:
    run_id, run = train_elsewhere(spec.name, rows), new_run()
    judged(services, spec, run_id, run)
    nominate_version(services, spec.name, run)
    request = approval.open_request(services, spec.approval, spec.name, run, NOBODY_KNOWN)
    given = approval.judge(services, spec.approval, request, answer(), None)
    assert given.event == "answer_invalid"
    assert "nobody knows who started the training" in given.reason
    assert "trigger the lifecycle yourself with its mlflow_run" in given.reason
    waived = spec.approval.model_copy(update={"prevent_self_approval": False})
    assert approval.judge(services, waived, request, answer(), None).event == "approved"


def test_a_run_that_lacks_something_is_refused_with_what_and_how(
    services: Services, spec: ModelSpec, rows: pd.DataFrame, tmp_path: Path
) -> None:
    plain = train_elsewhere(spec.name, rows, announced=False)
    with pytest.raises(NotFound, match=r"no tag podium.inputs_digest: podium.training.announce gives"):
        taken(services, spec, plain)
    other_types = train_elsewhere(spec.name, rows, told=rows.head(9).assign(x=1))
    with pytest.raises(CannotAdopt, match="x is int64 there and float64 in toy.csv"):
        taken(services, spec, other_types)
    half = train_elsewhere(spec.name, rows)
    MlflowClient().delete_tag(half, Tag.TRAINED_ON)
    with pytest.raises(CannotAdopt, match="has no tag podium.trained_on: podium.training.announce"):
        taken(services, spec, half)
    by_pickle = train_elsewhere(spec.name, rows, serialization_format="pickle")
    with pytest.raises(CannotAdopt, match=r"is a pickle .* write pickle:"):
        judged(services, spec, by_pickle, new_run())
    form = {**NOTHING_ASKED, "params": {"strength": 2}}
    with pytest.raises(PodiumError, match="trained by another Dag, which has its own params: leave it empty"):
        train(services, spec, AS_OF, form, new_run(), started_again=False)


def test_what_cannot_be_announced_is_refused_where_it_is_trained(
    services: Services, spec: ModelSpec, rows: pd.DataFrame, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="column day has 1 rows of as_of"):
        train_elsewhere(spec.name, rows, until="2025-06-02")
    with pytest.raises(DataError, match="has no zone"):
        train_elsewhere(spec.name, rows, as_of=AS_OF.replace(tzinfo=None))
    with pytest.raises(DataError, match="trained_on has no column x; available: day, y"):
        train_elsewhere(spec.name, rows, told=rows[["day", "y"]])
    with pytest.raises(DataError, match="trained_on has no rows"):
        train_elsewhere(spec.name, rows, told=rows.head(0))
    mlflow.set_experiment("another")
    with mlflow.start_run(), pytest.raises(CannotAdopt, match=f"set_experiment\\('{spec.name}'\\) before"):
        announce(spec.name, as_of=AS_OF, trained_on=rows)
    mlflow.set_experiment(spec.name)
    with mlflow.start_run(), pytest.raises(CannotAdopt, match="logged 0 models, and one is wanted"):
        announce(spec.name, as_of=AS_OF, trained_on=rows)
    with pytest.raises(CannotAdopt, match="no active MLflow run"):
        announce(spec.name, as_of=AS_OF, trained_on=rows)


def test_a_run_without_an_asset_event_takes_the_newest_training_that_waits(
    services: Services, spec: ModelSpec, rows: pd.DataFrame
) -> None:
    with pytest.raises(Refused, match="no training has been announced yet; the asset trained toy elsewhere"):
        taken(services, spec, None)
    run_id, run = train_elsewhere(spec.name, rows), new_run()
    assert taken(services, spec, None) == run_id
    register_version(services, spec, run_id, run)
    with pytest.raises(Refused, match=f"the newest announced training, {run_id}, is a version already"):
        taken(services, spec, None)
