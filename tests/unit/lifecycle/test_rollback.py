"""Roll back: what is refused, and why, on the real registry code and a real ledger."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import mlflow
import pytest
import yaml

from podium.errors import (
    CannotRollBack,
    ChampionChanged,
    DecisionVoid,
    Frozen,
    NothingToDo,
)
from podium.ledger.events import Event, EventKind, NewEvent
from podium.lifecycle import nominate as nominate_module
from podium.lifecycle import rollback
from podium.lifecycle.approval_policy import Person
from podium.lifecycle.asked import Asked
from podium.lifecycle.settle import Settlement
from podium.model_file.spec import ModelSpec
from podium.names import Alias, Tag
from podium.services import Services
from support.mlflow_client import raw
from support.moved_outside import ask, look, move_by_hand, since_promotion
from support.steps import (
    FIRST,
    SECOND,
    TRAINED,
    asked_now,
    decide,
    kinds,
    new_run,
    newest,
    nominate_unjudged,
    pass_gates,
    promote,
    promote_as_of,
    register,
    roll_back,
)
from support.store import TAMPERED, changed_bytes, stored_files


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


def test_frozen_is_the_first_reason_given(services: Services, toy_spec: ModelSpec) -> None:
    promote_as_of(services, toy_spec, FIRST)
    register(services, toy_spec, SECOND, new_run())
    services.registry.set_alias(toy_spec.name, Alias.CHAMPION, 2)
    for to_version in (None, 1, 2, 7):
        with pytest.raises(Frozen, match="the champion is v2, but the ledger says v1"):
            roll_back(services, toy_spec, to_version=to_version)
    with pytest.raises(Frozen), rollback.frozen_first(services, toy_spec.name):
        rollback.rollback_request(toy_spec.name, None, asks=Person("olga"), reason="", run="r")
    services.registry.set_alias(toy_spec.name, Alias.CHAMPION, 1)
    with pytest.raises(CannotRollBack, match="reason"), rollback.frozen_first(services, toy_spec.name):
        rollback.rollback_request(toy_spec.name, None, asks=Person("olga"), reason="", run="r")


def test_a_refused_rollback_names_the_newest_former_champion_that_can_serve(
    services: Services, toy_spec: ModelSpec
) -> None:
    for as_of in (FIRST, SECOND):
        promote_as_of(services, toy_spec, as_of)
    run = new_run()
    services.ledger.append(NewEvent(EventKind.PROMOTED, toy_spec.name, 7, 2, run=run, key=f"promoted:{run}"))
    services.ledger.append(NewEvent(EventKind.PROMOTED, toy_spec.name, 2, 7))
    instead = r"the newest former champion that can serve is v1: ask for that one\.$"
    with pytest.raises(CannotRollBack, match=rf"v7: .* not found\. Nothing was moved; {instead}"):
        roll_back(services, toy_spec)
    with pytest.raises(CannotRollBack, match=f"v9 was never champion; .*{instead}"):
        roll_back(services, toy_spec, to_version=9)
    with (
        changed_bytes(stored_files(services, toy_spec.name, 1), "missing"),
        pytest.raises(CannotRollBack, match=r"no former champion can serve \(v1 cannot either\)\.$"),
    ):
        roll_back(services, toy_spec)
    assert newest(services, toy_spec).reason.endswith("(v1 cannot either).")
    assert services.registry.champion(toy_spec.name) == 2


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
    with pytest.raises(
        CannotRollBack, match=r"v7 was never champion; earlier champions: v1\. An approver may"
    ):
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
    asked = asked_now()
    assert roll_back(services, toy_spec, asked=asked).version == 2
    with pytest.raises(ChampionChanged, match="against champion v1, .* is now v2 .rolled back by olga on"):
        roll_back(services, toy_spec, asked=asked)
    assert services.registry.champion(toy_spec.name) == 2
    assert newest(services, toy_spec).event == "rollback_refused"


LATER = timedelta(days=300)


def test_a_rollback_asked_for_ahead_of_time_is_refused_and_clearing_it_changes_nothing(
    services: Services, spec: ModelSpec
) -> None:
    now, run = datetime.now(UTC), new_run()
    with pytest.raises(CannotRollBack, match="nobody can know the champion of a later moment"):
        roll_back(services, spec, asked=Asked(now + LATER, now), run=run)
    # Airflow renews the moment of queueing at each clear, and marks the run as cleared.
    for asked in (asked_now(), Asked(now + LATER, now + 2 * LATER), Asked(now + LATER, None)):
        with pytest.raises(CannotRollBack, match="this run was refused on .* does not change that"):
            roll_back(services, spec, asked=asked, run=run)
    assert services.registry.champion(spec.name) == 2
    assert since_promotion(services, spec) == ["rollback_refused"]


def test_a_cleared_rollback_keeps_its_first_verdict(services: Services, spec: ModelSpec) -> None:
    run, asked = new_run(), asked_now()
    with pytest.raises(CannotRollBack, match="v7 was never champion"):
        roll_back(services, spec, to_version=7, asked=asked, run=run)
    with pytest.raises(CannotRollBack, match=r"does not change that.* Reason: .*v7 was never champion"):
        roll_back(services, spec, to_version=1, asked=replace(asked, queued_at=None), run=run)
    assert services.registry.champion(spec.name) == 2


def test_a_rollback_that_was_cleared_before_its_first_try_is_refused(
    services: Services, spec: ModelSpec
) -> None:
    asked, run = Asked(datetime.now(UTC), None), new_run()
    with pytest.raises(CannotRollBack, match="cleared before its first try was recorded"):
        roll_back(services, spec, asked=asked, run=run)
    # Done by its first try, it may be cleared, and nothing moves again.
    run = new_run()
    done = roll_back(services, spec, run=run)
    assert roll_back(services, spec, asked=asked, run=run) == done


def test_a_rollback_asked_for_while_the_champion_was_moved_outside_is_none_of_the_champion_after_that(
    services: Services, spec: ModelSpec
) -> None:
    move_by_hand(services, spec, None)
    look(services, spec)
    asked = asked_now()
    ask(services, spec, Settlement.REVERT)
    with pytest.raises(CannotRollBack, match="the champion was none, moved outside Podium; that was settled"):
        roll_back(services, spec, asked=asked)
    assert services.registry.champion(spec.name) == 2
    assert roll_back(services, spec).version == 1


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
        return rollback.rollback(services, request, asked_now())

    with pytest.raises(CannotRollBack, match="only an approver may force .* and olga is not one"):
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
        (lambda content: content["metadata"].pop("input_example_output"), "no input example with an output"),
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


@pytest.mark.parametrize(
    ("asks", "reason", "said"),
    [
        (
            None,
            "a good reason",
            "toy: the person who asks is unknown; log in to Airflow and trigger the rollback there",
        ),
        (Person("olga"), " ", "toy: a rollback needs a reason; say why, in words"),
        (Person("olga"), "...", "toy: the reason has 0 letters and digits, at least 1 are required"),
    ],
)
def test_a_rollback_needs_a_person_and_a_reason(asks: Person | None, reason: str, said: str) -> None:
    with pytest.raises(CannotRollBack) as refused:
        rollback.rollback_request("toy", None, asks=asks, reason=reason, run="r")
    assert str(refused.value) == said
