"""Promote and roll back: what is refused, and why, on the real registry code and a real ledger."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import mlflow
import pytest
import yaml

from podium.errors import (
    BytesChanged,
    CannotRollBack,
    ChampionChanged,
    DecisionVoid,
    Frozen,
    NotApproved,
    NothingToDo,
    Outage,
    Refused,
)
from podium.ledger.events import Event, EventKind, NewEvent
from podium.ledger.store import Ledger
from podium.lifecycle import approval, rollback, validate
from podium.lifecycle import nominate as nominate_module
from podium.lifecycle import promote as promote_module
from podium.lifecycle.approval_policy import Person
from podium.lifecycle.registry_sync import mirror
from podium.model_file.loading import load_spec
from podium.model_file.spec import ModelSpec
from podium.names import Alias, Tag
from podium.registry.client import Registry
from podium.services import Services
from support.mlflow_client import raw
from support.steps import (
    FIRST,
    SECOND,
    TRAINED,
    decide,
    kinds,
    new_run,
    nominate,
    nominate_unjudged,
    pass_gates,
    promote,
    promote_as_of,
    register,
    roll_back,
)
from support.store import changed_bytes, stored_files


def newest(services: Services, spec: ModelSpec) -> Event:
    return services.ledger.history(spec.name)[-1]


TAMPERED = {
    "flipped": r"model\.skops differs \(.* bytes, sha256 .*; registered with",
    "missing": r"model\.skops is missing",
    "added": r"extra/code\.py was added",
}


def test_nobody_is_promoted_without_a_decision(services: Services, toy_spec: ModelSpec) -> None:
    run = new_run()
    nominate_unjudged(services, toy_spec, FIRST, run)
    approval.open_request(services, toy_spec.approval, toy_spec.name, run)
    with pytest.raises(NotApproved, match="nobody has approved"):
        promote(services, toy_spec, run)
    assert services.registry.champion(toy_spec.name) is None
    assert newest(services, toy_spec).event == "promotion_refused"


def test_tags_approve_nothing_and_are_put_right(services: Services, toy_spec: ModelSpec) -> None:
    run = new_run()
    nominate_unjudged(services, toy_spec, FIRST, run)
    services.registry.set_tags(
        toy_spec.name, 1, {Tag.APPROVAL_STATUS: "approved", Tag.DECIDED_BY: "eve", Tag.LIFECYCLE_STAGE: "x"}
    )
    with pytest.raises(NotApproved):
        promote(services, toy_spec, run)
    decide(services, toy_spec, run, "Reject")
    mirror(services, toy_spec.name)
    tags = services.registry.version(toy_spec.name, 1).tags
    assert tags[Tag.APPROVAL_STATUS] == "rejected"
    assert tags[Tag.DECIDED_BY] == "amy"
    assert tags[Tag.LIFECYCLE_STAGE] == "None"


def test_a_rejected_version_is_not_promoted_and_no_candidate(services: Services, toy_spec: ModelSpec) -> None:
    run = new_run()
    nominate_unjudged(services, toy_spec, FIRST, run)
    assert services.registry.aliases(toy_spec.name) == {"candidate": 1}
    decide(services, toy_spec, run, "Reject")
    with pytest.raises(Refused, match="v1 was rejected by amy: it is good enough"):
        promote(services, toy_spec, run)
    mirror(services, toy_spec.name)
    assert services.registry.aliases(toy_spec.name) == {}


def test_promoting_twice_moves_once(services: Services, toy_spec: ModelSpec) -> None:
    run = new_run()
    nominate_unjudged(services, toy_spec, FIRST, run)
    decide(services, toy_spec, run)
    first = promote(services, toy_spec, run)
    assert promote(services, toy_spec, run) == first
    assert kinds(services, toy_spec).count(EventKind.PROMOTED) == 1


def test_an_old_run_that_runs_again_changes_nothing(services: Services, toy_spec: ModelSpec) -> None:
    old = new_run()
    nominate_unjudged(services, toy_spec, FIRST, old)
    decide(services, toy_spec, old)
    promote(services, toy_spec, old)
    promote_as_of(services, toy_spec, SECOND)
    aliases = services.registry.aliases(toy_spec.name)
    nominate_unjudged(services, toy_spec, FIRST, old)
    with pytest.raises(NothingToDo, match="this run made v1 the champion on .* moved since"):
        promote(services, toy_spec, old)
    assert services.registry.aliases(toy_spec.name) == aliases == {"champion": 2, "previous_champion": 1}


def test_a_decision_of_one_run_promotes_nothing_of_another(services: Services, toy_spec: ModelSpec) -> None:
    approved, other = new_run(), new_run()
    nominate_unjudged(services, toy_spec, FIRST, approved)
    decide(services, toy_spec, approved)
    # The approved run is run again, and has another version to show now: its decision is about the old one.
    version = register(services, toy_spec, SECOND, approved)
    pass_gates(services, toy_spec, version, approved)
    nominate_module.nominate_version(services, toy_spec.name, approved)
    assert promote(services, toy_spec, approved).version == 1
    nominate_unjudged(services, toy_spec, SECOND, other)
    with pytest.raises(NotApproved):
        promote(services, toy_spec, other)
    with pytest.raises(NotApproved):
        promote_module.promote(services, "another-model", approved)


def test_of_two_approved_at_once_the_second_is_told_who_was_first(
    services: Services, toy_spec: ModelSpec
) -> None:
    one, two = new_run(), new_run()
    nominate_unjudged(services, toy_spec, FIRST, one)
    decide(services, toy_spec, one)
    nominate_unjudged(services, toy_spec, SECOND, two)
    decide(services, toy_spec, two)
    promote(services, toy_spec, two)
    with pytest.raises(ChampionChanged, match=r"against champion none, but .* now v2 \(promoted by amy on"):
        promote(services, toy_spec, one)
    assert services.registry.champion(toy_spec.name) == 2
    assert newest(services, toy_spec).event == "promotion_refused"


def test_a_champion_moved_by_hand_freezes_promotion_and_rollback(
    services: Services, toy_spec: ModelSpec
) -> None:
    promote_as_of(services, toy_spec, FIRST)
    promote_as_of(services, toy_spec, SECOND)
    run = new_run()
    register(services, toy_spec, FIRST, run)
    pass_gates(services, toy_spec, 1, run)
    nominate_module.nominate_version(services, toy_spec.name, run)
    decide(services, toy_spec, run)
    services.registry.set_alias(toy_spec.name, Alias.CHAMPION, 1)
    with pytest.raises(
        Frozen, match="the champion is v1, but the ledger says v2: it was moved outside Podium"
    ):
        promote(services, toy_spec, run)
    with pytest.raises(Frozen, match="settle_champion"):
        roll_back(services, toy_spec)
    assert services.registry.champion(toy_spec.name) == 1
    assert kinds(services, toy_spec)[-2:] == ["promotion_refused", "rollback_refused"]


@pytest.mark.parametrize("what", TAMPERED)
def test_approved_and_then_changed_in_the_store_is_refused_with_the_file_named(
    services: Services, toy_spec: ModelSpec, what: str
) -> None:
    run = new_run()
    nominate_unjudged(services, toy_spec, FIRST, run)
    decide(services, toy_spec, run)
    with (
        changed_bytes(stored_files(services, toy_spec.name, 1), what),
        pytest.raises(BytesChanged, match=f"v1 is not what was registered: {TAMPERED[what]}"),
    ):
        promote(services, toy_spec, run)
    assert services.registry.champion(toy_spec.name) is None
    refused = newest(services, toy_spec)
    assert refused.event == "promotion_refused"
    assert "is not what was registered" in refused.reason
    assert promote(services, toy_spec, run).version == 1


@pytest.mark.parametrize("what", TAMPERED)
def test_gates_do_not_load_what_is_not_what_was_registered(
    services: Services, toy_spec: ModelSpec, what: str
) -> None:
    register(services, toy_spec, FIRST, new_run())
    with changed_bytes(stored_files(services, toy_spec.name, 1), what), pytest.raises(BytesChanged):
        validate.validate_version(services, toy_spec, 1, new_run())


def test_an_approval_is_void_after_a_while(
    services: Services, toy_spec: ModelSpec, toy_file: Callable[..., Path]
) -> None:
    hasty = load_spec(toy_file(name=toy_spec.name, approval__valid_for="1s"))
    run = new_run()
    nominate_unjudged(services, hasty, FIRST, run)
    decide(services, hasty, run)
    time.sleep(1.1)
    with pytest.raises(
        DecisionVoid, match="v1: the approval by amy was valid until .*Run the lifecycle again"
    ):
        promote(services, hasty, run)
    assert services.registry.champion(hasty.name) is None


def test_an_approval_is_void_once_the_gates_say_something_else(
    services: Services, toy_spec: ModelSpec, toy_file: Callable[..., Path]
) -> None:
    run = new_run()
    nominate(services, toy_spec, FIRST, run)
    decide(services, toy_spec, run)
    strict = load_spec(toy_file(name=toy_spec.name, gates=[{"metric": "log_loss", "threshold": 0.0001}]))
    validate.validate_version(services, strict, 1, new_run())
    with pytest.raises(DecisionVoid, match="the gates were run again since, with another report: refused by"):
        promote(services, toy_spec, run)


def test_what_was_rolled_back_needs_an_approval_given_after_that(
    services: Services, toy_spec: ModelSpec
) -> None:
    promote_as_of(services, toy_spec, FIRST)
    early, fast, fresh = new_run(), new_run(), new_run()
    for run in (early, fast):
        nominate_unjudged(services, toy_spec, SECOND, run)
        decide(services, toy_spec, run)
    promote(services, toy_spec, fast)
    roll_back(services, toy_spec)
    tags = services.registry.version(toy_spec.name, 2).tags
    assert tags[Tag.ROLLED_BACK] == "by olga: complaints"
    with pytest.raises(DecisionVoid, match="it was rolled back on .* by olga: complaints"):
        promote(services, toy_spec, early)
    assert services.registry.champion(toy_spec.name) == 1
    nominate_unjudged(services, toy_spec, SECOND, fresh)
    decide(services, toy_spec, fresh)
    assert promote(services, toy_spec, fresh).version == 2
    assert Tag.ROLLED_BACK not in services.registry.version(toy_spec.name, 2).tags


def test_a_rollback_needs_a_former_champion(services: Services, toy_spec: ModelSpec) -> None:
    with pytest.raises(CannotRollBack, match="no earlier champion to go back to; the champion is none"):
        roll_back(services, toy_spec)
    promote_as_of(services, toy_spec, FIRST)
    nominate_unjudged(services, toy_spec, SECOND, new_run())
    with pytest.raises(CannotRollBack, match="no earlier champion to go back to; the champion is v1"):
        roll_back(services, toy_spec)
    promote_as_of(services, toy_spec, SECOND)
    with pytest.raises(CannotRollBack, match=r"v7 is no earlier champion; there are: v1\. An approver may"):
        roll_back(services, toy_spec, to_version=7)
    with pytest.raises(NothingToDo, match="v2 is the champion already"):
        roll_back(services, toy_spec, to_version=2)
    assert services.registry.champion(toy_spec.name) == 2
    roll_back(services, toy_spec)
    with pytest.raises(CannotRollBack, match="v2 was itself rolled back on .* by olga: complaints"):
        roll_back(services, toy_spec, to_version=2)


def test_two_rollbacks_that_are_asked_for_at_once_go_back_once(
    services: Services, toy_spec: ModelSpec
) -> None:
    promote_as_of(services, toy_spec, FIRST)
    promote_as_of(services, toy_spec, SECOND)
    promote_as_of(services, toy_spec, FIRST)
    requests = [
        rollback.with_requested_at(
            rollback.rollback_request(
                toy_spec.name, None, asks=Person("olga"), reason="complaints", run=new_run()
            ),
            datetime.now(UTC),
        )
        for _ in range(2)
    ]
    assert rollback.rollback(services, requests[0]).version == 2
    with pytest.raises(ChampionChanged, match="against champion v1, .* is now v2 .rolled back by olga on"):
        rollback.rollback(services, requests[1])
    assert services.registry.champion(toy_spec.name) == 2
    assert newest(services, toy_spec).event == "rollback_refused"


def test_an_intent_is_on_record_for_every_try_that_moves(
    services: Services, toy_spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = new_run(), new_run()
    for run, as_of in ((one, FIRST), (two, SECOND)):
        nominate_unjudged(services, toy_spec, as_of, run)
        decide(services, toy_spec, run)

    def away(registry: Registry, model: str, alias: Alias, number: int) -> None:
        raise Outage("MLflow did not answer")

    def lost(ledger: Ledger, new: NewEvent, after: Event | None) -> Event:
        raise Outage("the ledger database did not answer")

    with monkeypatch.context() as patched:
        patched.setattr(Registry, "set_alias", away)
        for run in (one, two):
            with pytest.raises(Outage):
                promote(services, toy_spec, run)
    with monkeypatch.context() as patched:
        patched.setattr(Ledger, "append_move", lost)
        with pytest.raises(Outage, match="database did not answer"):
            promote(services, toy_spec, one)
    assert services.registry.champion(toy_spec.name) == 1
    with pytest.raises(Outage, match=f"run {one} moved the champion to v1 and was stopped"):
        promote(services, toy_spec, two)
    assert promote(services, toy_spec, one).version == 1
    with pytest.raises(ChampionChanged):
        promote(services, toy_spec, two)


def test_nobody_forces_a_version_alone_where_approving_takes_two(
    services: Services, toy_spec: ModelSpec
) -> None:
    policy = toy_spec.approval.model_copy(update={"approvers": ("amy", "ben"), "required": 2})
    amy = Person("amy")
    request = rollback.rollback_request(toy_spec.name, 2, asks=amy, reason="the only good one", run="r")
    with pytest.raises(CannotRollBack, match="nobody may force a version alone, since approving takes 2"):
        rollback.force_version(request, policy, amy)


def test_only_an_approver_forces_a_version_and_it_is_marked(services: Services, toy_spec: ModelSpec) -> None:
    promote_as_of(services, toy_spec, FIRST)
    register(services, toy_spec, SECOND, new_run())

    def force(name: str, to_version: int | None) -> Event:
        asks = Person(name)
        request = rollback.rollback_request(
            toy_spec.name, to_version, asks=asks, reason="the only good one", run=new_run()
        )
        request = rollback.force_version(request, toy_spec.approval, asks)
        return rollback.rollback(services, request)

    with pytest.raises(CannotRollBack, match="only an approver may force .* and olga is none"):
        force("olga", 2)
    with pytest.raises(CannotRollBack, match="to force a version, name it"):
        force("amy", None)
    forced = force("amy", 2)
    assert (forced.version, forced.from_version, forced.details["forced"]) == (2, 1, True)
    assert services.registry.aliases(toy_spec.name) == {"champion": 2}
    with pytest.raises(CannotRollBack, match="v1 was itself rolled back"):
        force("amy", 1)
    with pytest.raises(CannotRollBack, match="v9"):
        force("amy", 9)


@pytest.mark.parametrize("what", TAMPERED)
def test_a_rollback_target_that_was_changed_in_the_store_is_refused(
    services: Services, toy_spec: ModelSpec, what: str
) -> None:
    promote_as_of(services, toy_spec, FIRST)
    promote_as_of(services, toy_spec, SECOND)
    with (
        changed_bytes(stored_files(services, toy_spec.name, 1), what),
        pytest.raises(CannotRollBack, match=TAMPERED[what]),
    ):
        roll_back(services, toy_spec)
    assert services.registry.champion(toy_spec.name) == 2
    assert newest(services, toy_spec).event == "rollback_refused"


def test_a_champion_that_is_broken_itself_does_not_stop_its_rollback(
    services: Services, toy_spec: ModelSpec
) -> None:
    promote_as_of(services, toy_spec, FIRST)
    promote_as_of(services, toy_spec, SECOND)
    with changed_bytes(stored_files(services, toy_spec.name, 2), "missing"):
        assert roll_back(services, toy_spec).version == 1


def test_a_rollback_target_must_be_ready(
    services: Services, toy_spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    promote_as_of(services, toy_spec, FIRST)
    promote_as_of(services, toy_spec, SECOND)
    real = mlflow.MlflowClient.get_model_version

    def pending(
        client: mlflow.MlflowClient, name: str, number: str
    ) -> mlflow.entities.model_registry.ModelVersion:
        version = real(client, name, number)
        version._status = "PENDING_REGISTRATION"
        return version

    monkeypatch.setattr(mlflow.MlflowClient, "get_model_version", pending)
    with pytest.raises(CannotRollBack, match="v1 is not READY"):
        roll_back(services, toy_spec)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (
            lambda content: content["metadata"].update(input_example_output=[[0.5, 0.5]] * 5),
            r"predicts \[\[.* for its input example, not \[\[0\.5, 0\.5\]",
        ),
        (lambda content: content["metadata"].pop("input_example_output"), "no input example with its output"),
        (
            lambda content: content["signature"].update(
                inputs=json.dumps([{"type": "double", "name": "z", "required": True}])
            ),
            "v1 does not fit the clients of champion v2: it needs z, which clients do not send",
        ),
        (
            lambda content: content["signature"].update(
                inputs=json.dumps([{"type": "string", "name": "x", "required": True}])
            ),
            "it takes x as string, clients send double",
        ),
        (lambda content: content["flavors"].pop("python_function"), "does not load and predict"),
    ],
)
def test_a_rollback_target_must_prove_itself(
    services: Services, toy_spec: ModelSpec, change: Callable[[dict[str, Any]], None], why: str
) -> None:
    trained = TRAINED[FIRST]
    location = raw(services.registry).get_logged_model(trained.model_id).artifact_location
    path = Path(location.removeprefix("file://")) / "MLmodel"
    whole = path.read_text()
    content = yaml.safe_load(whole)
    change(content)
    path.write_text(yaml.safe_dump(content))
    try:
        # Registered as it is now, so its manifest fits: the proof must find what the manifest cannot.
        promote_as_of(services, toy_spec, FIRST)
        promote_as_of(services, toy_spec, SECOND)
        with pytest.raises(CannotRollBack, match=why):
            roll_back(services, toy_spec)
    finally:
        path.write_text(whole)
    assert services.registry.champion(toy_spec.name) == 2


@pytest.mark.parametrize(("asks", "reason"), [(None, "a good reason"), (Person("olga"), "  ")])
def test_a_rollback_needs_a_person_and_a_reason(asks: Person | None, reason: str) -> None:
    with pytest.raises(CannotRollBack, match="who asks is not known|needs a reason"):
        rollback.rollback_request("toy", None, asks=asks, reason=reason, run="r")


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether the whole history was read, and not a tail of it, each time that the ledger is asked for it."""
    asked: list[bool] = []
    real = Ledger.history

    def counted(ledger: Ledger, model: str, **which: Any) -> list[Event]:
        asked.append(not which.get("after"))
        return real(ledger, model, **which)

    monkeypatch.setattr(Ledger, "history", counted)
    return asked


def test_a_move_reads_the_history_once(services: Services, toy_spec: ModelSpec, read: list[bool]) -> None:
    promote_as_of(services, toy_spec, FIRST)
    run = new_run()
    nominate_unjudged(services, toy_spec, SECOND, run)
    decide(services, toy_spec, run)
    read.clear()
    promote(services, toy_spec, run)
    assert read == [True, False]
    read.clear()
    roll_back(services, toy_spec)
    assert read == [True, False]


def test_what_others_record_during_a_move_stays_in_the_tags(
    services: Services, toy_spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    promote_as_of(services, toy_spec, FIRST)
    promote_as_of(services, toy_spec, SECOND)
    run = new_run()
    real = Registry.set_alias

    def meanwhile(registry: Registry, model: str, alias: Alias, number: int) -> None:
        # After the rollback has read the history: the older candidate's gates are run again.
        if alias is Alias.CHAMPION:
            pass_gates(services, toy_spec, 2, run)
            mirror(services, toy_spec.name)
        real(registry, model, alias, number)

    monkeypatch.setattr(Registry, "set_alias", meanwhile)
    services.registry.set_tags(toy_spec.name, 2, {Tag.VALIDATION_STATUS: "pending"})
    roll_back(services, toy_spec)
    assert services.registry.version(toy_spec.name, 2).tags[Tag.VALIDATION_STATUS] == "passed"
    assert (
        services.registry.labels(toy_spec.name)
        .tags[Tag.LEDGER_HEAD]
        .startswith(f"{services.ledger.history(toy_spec.name)[-1].seq}:")
    )
