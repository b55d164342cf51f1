"""Train, register, validate and nominate on the real registry code and a real ledger."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import mlflow
import pandas as pd
import pytest
from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore

from podium.errors import NotFound, NothingToDo, PodiumError, Refused, TrainerError
from podium.ledger.events import EventKind
from podium.lifecycle import approval, validate
from podium.lifecycle import nominate as nominate_module
from podium.lifecycle import register as register_module
from podium.lifecycle.outcome import outcome_of
from podium.model_file.loading import load_spec
from podium.model_file.spec import ModelSpec
from podium.names import RunOutcome, Tag
from podium.registry.manifest import Manifest
from podium.registry.model_files import load_model
from podium.services import Services
from podium.training import holdout
from podium.versions import verified
from support.mlflow_client import raw
from support.steps import (
    FIRST,
    SECOND,
    TRAINED,
    decide,
    kinds,
    live_through,
    new_run,
    nominate,
    nominate_unjudged,
    promote_as_of,
    register,
    roll_back,
    train,
)


def test_the_whole_mission(services: Services, toy_spec: ModelSpec) -> None:
    name = toy_spec.name
    first = live_through(services, toy_spec, FIRST)
    assert (first.version, first.from_version, first.actor) == (1, None, "amy")
    assert services.registry.aliases(name) == {"champion": 1}

    second = live_through(services, toy_spec, SECOND)
    assert (second.version, second.from_version) == (2, 1)
    assert services.registry.aliases(name) == {"champion": 2, "previous_champion": 1}

    back = roll_back(services, toy_spec)
    assert (back.version, back.from_version, back.actor, back.reason) == (1, 2, "olga", "complaints")
    assert services.registry.aliases(name) == {"champion": 1}

    tags = {version.number: version.tags for version in services.registry.versions(name)}
    assert tags[1][Tag.LIFECYCLE_STAGE] == "Production"
    assert tags[2][Tag.LIFECYCLE_STAGE] == "Archived"
    assert tags[2][Tag.APPROVAL_STATUS] == "approved"
    assert tags[2][Tag.DECIDED_BY] == "amy"
    assert tags[2][Tag.DECISION_REASON] == "it is good enough"
    story = ["registered", "gates_passed", "nominated", "approval_requested", "approved"]
    story += ["promotion_started", "promoted"]
    assert kinds(services, toy_spec) == [*story, *story, "rollback_started", "rolled_back"]


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


def test_a_refused_version_keeps_its_report_and_goes_no_further(
    services: Services, toy_spec: ModelSpec, toy_file: Callable[..., Path]
) -> None:
    strict = load_spec(toy_file(name=toy_spec.name, gates=[{"metric": "log_loss", "threshold": 0.0001}]))
    with pytest.raises(Refused, match="v1: refused by 1 of 1 gates: log_loss at most 0.0001"):
        nominate(services, strict, FIRST, new_run())
    version = services.registry.version(strict.name, 1)
    assert version.tags[Tag.VALIDATION_STATUS] == "failed"
    assert "log_loss at most 0.0001" in version.tags[Tag.GATES]
    report = mlflow.artifacts.load_dict(f"runs:/{version.run_id}/gates/v1-against-none/report.json")
    assert report["passed"] is False
    assert services.registry.aliases(strict.name) == {}
    assert kinds(services, strict) == ["registered", "gates_refused"]


def test_the_champion_is_scored_again_on_the_candidates_rows(services: Services, toy_spec: ModelSpec) -> None:
    promote_as_of(services, toy_spec, FIRST)
    run = new_run()
    version = register(services, toy_spec, SECOND, run)
    report = validate.validate_version(services, toy_spec, version, run)
    logged = services.registry.run_metrics(services.registry.version(toy_spec.name, 1).run_id, "holdout.")
    assert report.champion == 1
    assert report.scores.references["champion"] != logged


def test_the_champion_itself_is_nothing_to_promote(services: Services, toy_spec: ModelSpec) -> None:
    promote_as_of(services, toy_spec, FIRST)
    with pytest.raises(NothingToDo, match="v1 is the champion already"):
        nominate(services, toy_spec, FIRST, new_run())


def test_equal_inputs_trained_twice_at_once_are_one_version(services: Services, toy_spec: ModelSpec) -> None:
    twin = TRAINED[SECOND].run_id
    digest = TRAINED[FIRST].tags[Tag.INPUTS_DIGEST]
    raw(services.registry).set_tag(twin, Tag.INPUTS_DIGEST, digest)
    try:
        numbers = {register(services, toy_spec, as_of, new_run()) for as_of in (FIRST, SECOND)}
    finally:
        raw(services.registry).set_tag(twin, Tag.INPUTS_DIGEST, TRAINED[SECOND].tags[Tag.INPUTS_DIGEST])
    assert numbers == {1}
    assert kinds(services, toy_spec) == ["registered"]


def test_registration_keeps_the_manifest_in_the_ledger_on_the_version_and_with_the_run(
    services: Services, toy_spec: ModelSpec
) -> None:
    register(services, toy_spec, FIRST, new_run())
    (registered,) = services.ledger.history(toy_spec.name)
    manifest = Manifest.from_json(registered.details["manifest"])
    assert {"MLmodel", "model.skops", "requirements.txt", "input_example.json"} <= {
        file.path for file in manifest.files
    }
    version = services.registry.version(toy_spec.name, 1)
    assert version.tags[Tag.MANIFEST_DIGEST] == manifest.digest() == registered.details["manifest_digest"]
    kept = mlflow.artifacts.load_dict(f"runs:/{version.run_id}/manifests/v1.json")
    assert kept["files"] == manifest.as_json()
    assert registered.details["signature"]["inputs"]


def test_a_newer_candidate_closes_older_pending_requests(services: Services, toy_spec: ModelSpec) -> None:
    old, answered, new = new_run(), new_run(), new_run()
    nominate_unjudged(services, toy_spec, FIRST, answered)
    decide(services, toy_spec, answered)
    nominate_unjudged(services, toy_spec, FIRST, old)
    approval.open_request(services, toy_spec.approval, toy_spec.name, old)
    nominated = nominate_unjudged(services, toy_spec, SECOND, new)
    assert nominated["superseded"] == [old]
    decision = approval.find_decision(services, old)
    assert decision is not None
    assert decision.event == "superseded"
    assert decision.reason == f"v2 of run {new} is a newer candidate"
    assert services.registry.aliases(toy_spec.name) == {"candidate": 2}
    assert services.registry.version(toy_spec.name, 1).tags[Tag.APPROVAL_STATUS] == "superseded"
    # Run again after it was killed, it still knows whom to tell.
    assert nominate_module.nominate_version(services, toy_spec.name, new) == nominated
    with pytest.raises(Refused, match="v1 was superseded by podium: v2 of run .* To ask again"):
        nominate_module.refuse_decided_run(services, old)
    nominate_module.refuse_decided_run(services, answered)
    nominate_module.refuse_decided_run(services, new)


def test_a_request_that_a_newer_candidate_overtook_is_closed_at_once(
    services: Services, toy_spec: ModelSpec
) -> None:
    old, new = new_run(), new_run()
    nominate_unjudged(services, toy_spec, FIRST, old)
    nominate_unjudged(services, toy_spec, SECOND, new)
    decide_later = approval.open_request(services, toy_spec.approval, toy_spec.name, new)
    approval.open_request(services, toy_spec.approval, toy_spec.name, old)
    decision = approval.find_decision(services, old)
    assert decision is not None
    assert decision.event == "superseded"
    # The older run's nomination is run again: it closes nothing that is newer.
    again = nominate_module.nominate_version(services, toy_spec.name, old)
    assert again["superseded"] == []
    assert approval.open_requests(services.ledger.history(toy_spec.name)) == [decide_later]
    assert services.registry.aliases(toy_spec.name) == {"candidate": 2}


def test_a_nomination_stands_on_the_runs_own_report_in_the_ledger(
    services: Services, toy_spec: ModelSpec
) -> None:
    register(services, toy_spec, FIRST, new_run())
    with pytest.raises(NotFound, match="holds no gate report of run .*: clear its task 'validate'"):
        nominate_module.nominate_version(services, toy_spec.name, new_run())


def test_the_outcome_of_a_run_is_what_the_ledger_says(
    services: Services, toy_spec: ModelSpec, toy_file: Callable[..., Path]
) -> None:
    def outcome(run: str) -> str:
        return outcome_of(services, toy_spec.name, run)

    refused, rejected, approved, again = (new_run() for _ in range(4))
    strict = load_spec(toy_file(name=toy_spec.name, gates=[{"metric": "log_loss", "threshold": 0.0001}]))
    with pytest.raises(Refused):
        nominate(services, strict, FIRST, refused)
    assert outcome(refused) == RunOutcome.REFUSED_BY_GATES
    nominate_unjudged(services, toy_spec, FIRST, rejected)
    decide(services, toy_spec, rejected, "Reject")
    assert outcome(rejected) == RunOutcome.REJECTED
    nominate_unjudged(services, toy_spec, FIRST, approved)
    with pytest.raises(PodiumError, match="nobody has approved"):
        outcome(approved)
    decide(services, toy_spec, approved)
    assert outcome(approved) == RunOutcome.PROMOTE
    promote_as_of(services, toy_spec, FIRST)
    with pytest.raises(NothingToDo):
        nominate_unjudged(services, toy_spec, FIRST, again)
    assert outcome(again) == RunOutcome.NOTHING_TO_PROMOTE
    assert EventKind.PROMOTION_REFUSED in kinds(services, toy_spec)


def test_a_prompt_of_the_same_name_is_left_alone(services: Services, toy_spec: ModelSpec) -> None:
    client = raw(services.registry)
    client.register_prompt(name=toy_spec.name, template="Say hello to {{name}}")
    with pytest.raises(PodiumError, match=f"{toy_spec.name}: MLflow has a prompt of this name"):
        register(services, toy_spec, FIRST, new_run())
    assert [prompt.version for prompt in client.search_prompt_versions(toy_spec.name)] == [1]
    assert kinds(services, toy_spec) == []


def test_a_tag_is_one_request(
    services: Services, toy_spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = register(services, toy_spec, FIRST, new_run())
    asked: list[str] = []
    for call in ("get_registered_model", "set_model_version_tag"):
        real = getattr(SqlAlchemyStore, call)
        monkeypatch.setattr(
            SqlAlchemyStore, call, lambda *args, real=real, call=call: (asked.append(call), real(*args))[1]
        )
    services.registry.set_tags(toy_spec.name, version, {"one": "1", "two": "2"})
    assert asked == ["set_model_version_tag"] * 2
    tags = services.registry.version(toy_spec.name, version).tags
    assert (tags["one"], tags["two"]) == ("1", "2")
