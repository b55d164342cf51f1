"""Train, register, validate, nominate, promote and roll back on the real registry code and a real ledger."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import pytest

from podium import approval, lifecycle, promotion
from podium.approval import Answer
from podium.errors import (
    CannotRollBack,
    ChampionChanged,
    NotApproved,
    NothingToDo,
    Outage,
    PodiumError,
    Refused,
    TrainerError,
)
from podium.ledger import Event, EventKind
from podium.parts import Parts
from podium.registry import Alias, Registry, Tag
from podium.settings import Settings
from podium.spec import ModelSpec, load_spec
from podium.training import TrainedRun, read_holdout, train_model
from support.toy import TOY, write_toy_rows

FIRST = datetime(2025, 6, 1, tzinfo=UTC)
SECOND = datetime(2025, 7, 1, tzinfo=UTC)


def new_run() -> str:
    return f"lifecycle_toy/{uuid.uuid4()}"


def train(parts: Parts, spec: ModelSpec, as_of: datetime = FIRST, **overrides: Any) -> TrainedRun:
    return train_model(spec, parts.settings, as_of, overrides, new_run())


@pytest.fixture(scope="session", autouse=True)
def trained_once(mlflow_uri: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Train the toy as of both dates; what promotion does with a version does not depend on its training."""
    home = tmp_path_factory.mktemp("trained-once")
    write_toy_rows(home / "toy.csv", first_day="2024-01-01")
    settings = Settings(MLFLOW_TRACKING_URI=mlflow_uri, PODIUM_LEDGER_URL="unused", PODIUM_HOME=home)
    spec = ModelSpec.model_validate({**TOY, "name": "trained-once"})
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        TRAINED.update({as_of: train_model(spec, settings, as_of, {}, "once") for as_of in (FIRST, SECOND)})


TRAINED: dict[datetime, TrainedRun] = {}


def nominate(parts: Parts, spec: ModelSpec, as_of: datetime, run: str) -> lifecycle.Nomination:
    trained = TRAINED[as_of]
    version = lifecycle.register_version(parts.registry, parts.ledger, spec, trained, run)
    report = lifecycle.validate_version(parts.registry, parts.ledger, spec, version, run)
    return lifecycle.nominate_version(parts.registry, parts.ledger, report.as_json(), run)


def decide(
    parts: Parts, spec: ModelSpec, nomination: lifecycle.Nomination, run: str, option: str = "Approve"
) -> Event:
    request = approval.open_request(parts.ledger, spec.approval, nomination, run)
    return approval.record_decision(
        parts.ledger, request, Answer(option, "it is good enough", "amy", datetime.now(UTC))
    )


def live_through(parts: Parts, spec: ModelSpec, as_of: datetime) -> Event:
    """All steps, from a trained run to champion."""
    run = new_run()
    decide(parts, spec, nominate(parts, spec, as_of, run), run)
    return promotion.promote(parts.registry, parts.ledger, run)


def promote_as_of(parts: Parts, spec: ModelSpec, as_of: datetime) -> Event:
    """The same without the gates, which take the longest, for tests of what comes after them."""
    run = new_run()
    version = lifecycle.register_version(parts.registry, parts.ledger, spec, TRAINED[as_of], run)
    champion = parts.registry.champion(spec.name)
    decide(parts, spec, lifecycle.Nomination(model=spec.name, version=version, champion=champion), run)
    return promotion.promote(parts.registry, parts.ledger, run)


def roll_back(parts: Parts, spec: ModelSpec, to_version: int | None = None) -> Event:
    request = promotion.rollback_request(
        spec.name, to_version, actor="olga", reason="complaints", run=new_run()
    )
    return promotion.rollback(parts.registry, parts.ledger, request)


def kinds(parts: Parts, spec: ModelSpec) -> list[EventKind]:
    return [event.event for event in parts.ledger.history(spec.name)]


def test_the_whole_mission(parts: Parts, toy_spec: ModelSpec) -> None:
    name = toy_spec.name
    first = live_through(parts, toy_spec, FIRST)
    assert (first.version, first.from_version, first.actor) == (1, None, "amy")
    assert parts.registry.aliases(name) == {"champion": 1}

    second = live_through(parts, toy_spec, SECOND)
    assert (second.version, second.from_version) == (2, 1)
    assert parts.registry.aliases(name) == {"champion": 2, "previous_champion": 1}

    back = roll_back(parts, toy_spec)
    assert (back.version, back.from_version, back.actor, back.reason) == (1, 2, "olga", "complaints")
    assert parts.registry.aliases(name) == {"champion": 1}

    tags = {version.number: version.tags for version in parts.registry.versions(name)}
    assert tags[1][Tag.LIFECYCLE_STAGE] == "Production"
    assert tags[2][Tag.LIFECYCLE_STAGE] == "Archived"
    assert tags[2][Tag.APPROVAL_STATUS] == "approved"
    assert tags[2][Tag.DECIDED_BY] == "amy"
    assert tags[2][Tag.DECISION_REASON] == "it is good enough"
    story = ["registered", "gates_passed", "nominated", "approval_requested", "approved"]
    story += ["promotion_started", "promoted"]
    assert kinds(parts, toy_spec) == [*story, *story, "rollback_started", "rolled_back"]


def test_the_run_keeps_what_people_and_gates_need(parts: Parts, toy_spec: ModelSpec) -> None:
    trained = train(parts, toy_spec)
    run = parts.registry.client.get_run(trained.run_id)
    assert run.data.params == {"strength": "1.0"}
    assert run.data.metrics["holdout.log_loss"] < run.data.metrics["holdout.class_prior.log_loss"]
    artifacts = {item.path for item in parts.registry.client.list_artifacts(trained.run_id)}
    assert {"confusion_matrix.png", "calibration.png", "loss_per_month.png", "holdout"} <= artifacts
    holdout = read_holdout(toy_spec, trained.run_id)
    assert len(holdout.examples) == 100
    assert holdout.examples.inputs.columns.tolist() == ["x"]
    assert holdout.baselines["class_prior"].shape == (100, 2)


def test_the_model_has_signature_example_and_pinned_requirements(parts: Parts, toy_spec: ModelSpec) -> None:
    run = new_run()
    nominate(parts, toy_spec, FIRST, run)
    model = parts.registry.load(toy_spec.name, 1)
    assert model.metadata.get_input_schema().input_names() == ["x"]
    assert len(model.input_example) == 5
    requirements = (
        Path(mlflow.artifacts.download_artifacts(f"models:/{toy_spec.name}/1")) / "requirements.txt"
    )
    assert "scikit-learn==" in requirements.read_text()
    flavor = model.metadata.flavors["sklearn"]
    assert flavor["serialization_format"] == "skops"


def test_equal_inputs_are_trained_once_and_are_one_version(parts: Parts, toy_spec: ModelSpec) -> None:
    first, again = train(parts, toy_spec), train(parts, toy_spec)
    assert again.run_id == first.run_id
    numbers = {
        lifecycle.register_version(parts.registry, parts.ledger, toy_spec, trained, new_run())
        for trained in (first, again, first)
    }
    assert numbers == {1}
    assert kinds(parts, toy_spec) == ["registered"]


def test_other_inputs_are_another_run(parts: Parts, toy_spec: ModelSpec, tmp_path: Path) -> None:
    runs = [
        train(parts, toy_spec).run_id,
        train(parts, toy_spec, strength=2.0).run_id,
        train(parts, toy_spec, SECOND).run_id,
    ]
    rows = pd.read_csv(tmp_path / "toy.csv")
    rows.loc[0, "x"] += 1
    rows.to_csv(tmp_path / "toy.csv", index=False)
    runs.append(train(parts, toy_spec).run_id)
    assert len(set(runs)) == 4


def test_an_unknown_param_is_refused_by_name(parts: Parts, toy_spec: ModelSpec) -> None:
    with pytest.raises(PodiumError, match="params: unknown stength; allowed: strength"):
        train(parts, toy_spec, stength=1)


def test_a_trainer_that_breaks_the_protocol_is_named(
    parts: Parts, toy_spec: ModelSpec, toy_file: Callable[..., Path]
) -> None:
    broken = load_spec(toy_file(name=toy_spec.name, trainer="support.toy_trainer:return_nonsense"))
    with pytest.raises(
        TrainerError, match="support.toy_trainer:return_nonsense must return a TrainedModel, not str"
    ):
        train(parts, broken)
    reserved = load_spec(toy_file(name=toy_spec.name, trainer="support.toy_trainer:claim_to_be_champion"))
    with pytest.raises(TrainerError, match="a baseline must not be called champion"):
        train(parts, reserved)
    crashing = load_spec(toy_file(name=toy_spec.name, trainer="support.toy_trainer:crash"))
    with pytest.raises(TrainerError, match="support.toy_trainer:crash: KeyError: 'no such param'"):
        train(parts, crashing)
    labels = load_spec(toy_file(name=toy_spec.name, labels=["yes", "no", "maybe"]))
    with pytest.raises(TrainerError, match="model knows the labels"):
        train(parts, labels)


def test_a_refused_version_keeps_its_report_and_goes_no_further(
    parts: Parts, toy_spec: ModelSpec, toy_file: Callable[..., Path]
) -> None:
    strict = load_spec(toy_file(name=toy_spec.name, gates=[{"metric": "log_loss", "threshold": 0.0001}]))
    with pytest.raises(Refused, match="v1: refused by 1 of 1 gates: log_loss at most 0.0001"):
        nominate(parts, strict, FIRST, new_run())
    version = parts.registry.version(strict.name, 1)
    assert version.tags[Tag.VALIDATION_STATUS] == "failed"
    assert "log_loss at most 0.0001" in version.tags[Tag.GATES]
    report = mlflow.artifacts.load_dict(f"runs:/{version.run_id}/gates/v1-against-none/report.json")
    assert report["passed"] is False
    assert parts.registry.aliases(strict.name) == {}
    assert kinds(parts, strict) == ["registered", "gates_refused"]


def test_the_champion_is_scored_again_on_the_candidates_rows(parts: Parts, toy_spec: ModelSpec) -> None:
    promote_as_of(parts, toy_spec, FIRST)
    run = new_run()
    trained = TRAINED[SECOND]
    version = lifecycle.register_version(parts.registry, parts.ledger, toy_spec, trained, run)
    report = lifecycle.validate_version(parts.registry, parts.ledger, toy_spec, version, run)
    logged = parts.registry.holdout_metrics(parts.registry.version(toy_spec.name, 1).run_id)
    assert report.champion == 1
    assert report.scores.references["champion"] != logged


def test_the_champion_itself_is_nothing_to_promote(parts: Parts, toy_spec: ModelSpec) -> None:
    promote_as_of(parts, toy_spec, FIRST)
    with pytest.raises(NothingToDo, match="v1 is the champion already"):
        nominate(parts, toy_spec, FIRST, new_run())


def test_nobody_is_promoted_without_a_decision(parts: Parts, toy_spec: ModelSpec) -> None:
    run = new_run()
    nomination = nominate(parts, toy_spec, FIRST, run)
    approval.open_request(parts.ledger, toy_spec.approval, nomination, run)
    with pytest.raises(NotApproved, match="nobody has approved"):
        promotion.promote(parts.registry, parts.ledger, run)
    assert parts.registry.champion(toy_spec.name) is None


def test_tags_approve_nothing(parts: Parts, toy_spec: ModelSpec) -> None:
    run = new_run()
    nominate(parts, toy_spec, FIRST, run)
    parts.registry.set_tags(toy_spec.name, 1, {Tag.APPROVAL_STATUS: "approved"})
    with pytest.raises(NotApproved):
        promotion.promote(parts.registry, parts.ledger, run)


def test_a_rejected_version_is_not_promoted_and_no_candidate(parts: Parts, toy_spec: ModelSpec) -> None:
    run = new_run()
    decide(parts, toy_spec, nominate(parts, toy_spec, FIRST, run), run, "Reject")
    with pytest.raises(Refused, match="v1 was rejected by amy: it is good enough"):
        promotion.promote(parts.registry, parts.ledger, run)
    assert parts.registry.aliases(toy_spec.name) == {}
    assert parts.registry.version(toy_spec.name, 1).tags[Tag.APPROVAL_STATUS] == "rejected"


def test_promoting_twice_moves_once(parts: Parts, toy_spec: ModelSpec) -> None:
    run = new_run()
    decide(parts, toy_spec, nominate(parts, toy_spec, FIRST, run), run)
    first = promotion.promote(parts.registry, parts.ledger, run)
    assert promotion.promote(parts.registry, parts.ledger, run) == first
    assert kinds(parts, toy_spec).count(EventKind.PROMOTED) == 1


def test_an_old_run_that_runs_again_changes_nothing(parts: Parts, toy_spec: ModelSpec) -> None:
    old = new_run()
    decide(parts, toy_spec, nominate(parts, toy_spec, FIRST, old), old)
    promotion.promote(parts.registry, parts.ledger, old)
    promote_as_of(parts, toy_spec, SECOND)
    aliases = parts.registry.aliases(toy_spec.name)
    nominate(parts, toy_spec, FIRST, old)
    with pytest.raises(NothingToDo, match="this run made v1 the champion on .* moved since"):
        promotion.promote(parts.registry, parts.ledger, old)
    assert parts.registry.aliases(toy_spec.name) == aliases == {"champion": 2, "previous_champion": 1}


def test_an_old_request_that_ends_says_nothing_about_a_version_decided_since(
    parts: Parts, toy_spec: ModelSpec
) -> None:
    slow, fast = new_run(), new_run()
    asked = approval.open_request(
        parts.ledger, toy_spec.approval, nominate(parts, toy_spec, FIRST, slow), slow
    )
    approval.record_expiry(parts.ledger, asked)
    decide(parts, toy_spec, nominate(parts, toy_spec, FIRST, fast), fast)
    promotion.promote(parts.registry, parts.ledger, fast)
    expired = approval.find_decision(parts.ledger, slow)
    assert expired is not None
    approval.mirror_decision(parts.registry, parts.ledger, expired)
    tags = parts.registry.version(toy_spec.name, 1).tags
    assert tags[Tag.APPROVAL_STATUS] == "approved"
    assert tags[Tag.LIFECYCLE_STAGE] == "Production"


def test_equal_inputs_trained_twice_at_once_are_one_version(parts: Parts, toy_spec: ModelSpec) -> None:
    first = TRAINED[FIRST]
    twin = replace(first, run_id=TRAINED[SECOND].run_id, model_id=TRAINED[SECOND].model_id)
    numbers = {
        lifecycle.register_version(parts.registry, parts.ledger, toy_spec, trained, new_run())
        for trained in (first, twin)
    }
    assert numbers == {1}


def test_of_two_approved_at_once_the_second_is_told_who_was_first(parts: Parts, toy_spec: ModelSpec) -> None:
    one, two = new_run(), new_run()
    decide(parts, toy_spec, nominate(parts, toy_spec, FIRST, one), one)
    decide(parts, toy_spec, nominate(parts, toy_spec, SECOND, two), two)
    promotion.promote(parts.registry, parts.ledger, two)
    with pytest.raises(ChampionChanged, match=r"against champion none, but .* now v2 \(promoted by amy on"):
        promotion.promote(parts.registry, parts.ledger, one)
    assert parts.registry.champion(toy_spec.name) == 2
    assert kinds(parts, toy_spec)[-1] == "promotion_refused"


def test_a_champion_moved_by_hand_stops_promotion_and_rollback(parts: Parts, toy_spec: ModelSpec) -> None:
    promote_as_of(parts, toy_spec, FIRST)
    promote_as_of(parts, toy_spec, SECOND)
    parts.registry.set_alias(toy_spec.name, Alias.CHAMPION, 1)
    with pytest.raises(ChampionChanged, match="outside Podium"):
        roll_back(parts, toy_spec)
    third = new_run()
    nomination = {"model": toy_spec.name, "version": 2, "champion": 2}
    decide(parts, toy_spec, lifecycle.Nomination(**nomination), third)
    with pytest.raises(ChampionChanged, match="outside Podium"):
        promotion.promote(parts.registry, parts.ledger, third)
    assert parts.registry.champion(toy_spec.name) == 1


class Killed(BaseException):
    """Stands for the end of the process."""


@pytest.mark.parametrize("moment", ["before the alias moves", "after the alias moved", "before tags"])
@pytest.mark.parametrize("move", ["promote", "rollback"])
def test_a_move_killed_half_way_is_finished_by_running_it_again(
    parts: Parts, toy_spec: ModelSpec, monkeypatch: pytest.MonkeyPatch, moment: str, move: str
) -> None:
    promote_as_of(parts, toy_spec, FIRST)
    run = new_run()
    if move == "promote":
        decide(parts, toy_spec, nominate(parts, toy_spec, SECOND, run), run)
    else:
        promote_as_of(parts, toy_spec, SECOND)
    request = promotion.rollback_request(toy_spec.name, None, actor="olga", reason="bad", run=run)

    def go() -> Event:
        if move == "promote":
            return promotion.promote(parts.registry, parts.ledger, run)
        return promotion.rollback(parts.registry, parts.ledger, request)

    real = Registry.set_alias

    def die(self: Registry, model: str, alias: Alias, number: int) -> None:
        if alias is Alias.CHAMPION:
            if moment == "after the alias moved":
                real(self, model, alias, number)
            raise Killed

    with monkeypatch.context() as patched:
        if moment == "before tags":
            patched.setattr(promotion, "_mirror", lambda *_: (_ for _ in ()).throw(Killed()))
        else:
            patched.setattr(Registry, "set_alias", die)
        with pytest.raises(Killed):
            go()
    done = go()
    expected = 2 if move == "promote" else 1
    assert done.version == expected == parts.registry.champion(toy_spec.name)
    assert parts.registry.version(toy_spec.name, expected).tags[Tag.LIFECYCLE_STAGE] == "Production"
    recorded = kinds(parts, toy_spec)
    assert recorded.count(EventKind.PROMOTED) == 2
    assert recorded.count(EventKind.ROLLED_BACK) == (1 if move == "rollback" else 0)
    assert recorded.count(EventKind.ROLLBACK_STARTED) == (1 if move == "rollback" else 0)


def test_a_rollback_needs_a_former_champion(parts: Parts, toy_spec: ModelSpec) -> None:
    with pytest.raises(CannotRollBack, match="no earlier champion to go back to; the champion is none"):
        roll_back(parts, toy_spec)
    promote_as_of(parts, toy_spec, FIRST)
    nominate(parts, toy_spec, SECOND, new_run())
    with pytest.raises(CannotRollBack, match="no earlier champion to go back to; the champion is v1"):
        roll_back(parts, toy_spec)
    promote_as_of(parts, toy_spec, SECOND)
    with pytest.raises(CannotRollBack, match="v7 is no earlier champion; there are: v1"):
        roll_back(parts, toy_spec, to_version=7)
    assert parts.registry.champion(toy_spec.name) == 2
    roll_back(parts, toy_spec)
    with pytest.raises(CannotRollBack, match="v2 was itself rolled back on .* by olga: complaints"):
        roll_back(parts, toy_spec, to_version=2)


def test_a_rollback_target_that_does_not_load_is_refused(
    parts: Parts, toy_spec: ModelSpec, mlflow_uri: str
) -> None:
    promote_as_of(parts, toy_spec, FIRST)
    promote_as_of(parts, toy_spec, SECOND)
    broken = Path(mlflow.artifacts.download_artifacts(f"models:/{toy_spec.name}/1")) / "model.skops"
    whole = broken.read_bytes()
    try:
        broken.unlink()
        with pytest.raises(CannotRollBack, match="v1 does not load"):
            roll_back(parts, toy_spec)
        broken.write_bytes(b"no model")
        with pytest.raises(CannotRollBack, match="v1 does not load and predict"):
            roll_back(parts, toy_spec)
    finally:
        broken.write_bytes(whole)
    assert parts.registry.champion(toy_spec.name) == 2
    assert kinds(parts, toy_spec)[-1] == "rollback_refused"


@pytest.mark.parametrize(("actor", "reason"), [(None, "a good reason"), ("olga", "  ")])
def test_a_rollback_needs_a_person_and_a_reason(actor: str | None, reason: str) -> None:
    with pytest.raises(CannotRollBack, match="who asks is not known|needs a reason"):
        promotion.rollback_request("toy", None, actor=actor, reason=reason, run="r")


def test_a_registry_that_does_not_answer_is_an_outage_and_not_a_refusal(
    parts: Parts, toy_spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    run = new_run()
    decide(parts, toy_spec, nominate(parts, toy_spec, FIRST, run), run)
    away = Registry("http://127.0.0.1:1")
    try:
        with pytest.raises(Outage):
            promotion.promote(away, parts.ledger, run)
        with pytest.raises(Outage):
            lifecycle.validate_version(away, parts.ledger, toy_spec, 1, run)
    finally:
        mlflow.set_tracking_uri(parts.registry.tracking_uri)
    assert "promotion_refused" not in kinds(parts, toy_spec)
    promoted = promotion.promote(parts.registry, parts.ledger, run)
    assert promoted == replace(promoted, version=1)
