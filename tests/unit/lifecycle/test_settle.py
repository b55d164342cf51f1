"""Champions moved outside Podium are reverted or accepted by people."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from podium.errors import (
    BytesChanged,
    ChampionChanged,
    Frozen,
    NotFound,
    Outage,
    PodiumError,
    Refused,
)
from podium.ledger.events import Event, EventKind, NewEvent
from podium.ledger.store import Ledger
from podium.lifecycle import approval
from podium.lifecycle.approval_policy import Person
from podium.lifecycle.asked import Asked
from podium.lifecycle.settle import Settlement, settle_request
from podium.model_file.loading import load_spec
from podium.model_file.spec import ModelSpec
from podium.names import Tag
from podium.services import Services
from support.moved_outside import (
    approved,
    ask,
    assert_settled,
    look,
    make_by_hand,
    move_by_hand,
    since_promotion,
)
from support.steps import (
    FIRST,
    answer,
    asked_now,
    new_run,
    newest,
    nominate_unjudged,
    promote,
    roll_back,
)
from support.store import changed_bytes, stored_files

ToyFile = Callable[..., Path]


@pytest.fixture
def two(spec: ModelSpec, toy_file: ToyFile) -> ModelSpec:
    """The same model, accepted by two of three people."""
    return load_spec(
        toy_file(name=spec.name, approval__approvers=["amy", "ben", "cat"], approval__required=2)
    )


def point_nowhere(mlflow_uri: str, spec: ModelSpec) -> None:
    """Set the alias past MLflow's own check, as a restored or edited database would have it."""
    with closing(sqlite3.connect(mlflow_uri.removeprefix("sqlite:///"))) as connection, connection:
        changed = connection.execute(
            "UPDATE registered_model_aliases SET version = 99 WHERE name = ? AND alias = 'champion'",
            (spec.name,),
        )
        assert changed.rowcount == 1


def test_an_alias_that_points_nowhere_is_recorded_and_can_be_reverted_only(
    services: Services, spec: ModelSpec, mlflow_uri: str
) -> None:
    point_nowhere(mlflow_uri, spec)
    found = look(services, spec)
    assert found is not None
    assert "its champion was moved from v2 to v99, which does not exist" in found.reason
    assert look(services, spec) is None
    with pytest.raises(NotFound, match="v99"):
        ask(services, spec, Settlement.ACCEPT)
    assert since_promotion(services, spec) == ["moved_outside", "settlement_refused"]
    assert ask(services, spec, Settlement.REVERT).version == 2
    assert services.registry.champion(spec.name) == 2
    assert_settled(services, spec)


@pytest.mark.parametrize("to_version", [1, None])
def test_the_model_file_can_have_it_reverted_at_once(
    services: Services, spec: ModelSpec, toy_file: ToyFile, to_version: int | None
) -> None:
    strict = load_spec(toy_file(name=spec.name, champion_moved_outside="revert"))
    move_by_hand(services, strict, to_version)
    done = look(services, strict)
    assert done is not None
    assert (done.event, done.version, done.from_version) == ("outside_move_reverted", 2, to_version)
    assert (done.actor, done.reason) == ("podium", "the model file has champion_moved_outside: revert")
    assert services.registry.aliases(strict.name) == {"champion": 2, "previous_champion": 1}
    assert since_promotion(services, strict) == ["moved_outside", "revert_started", "outside_move_reverted"]
    assert_settled(services, strict)
    assert roll_back(services, strict).version == 1


def test_what_was_seen_before_the_model_file_said_revert_is_reverted_too(
    services: Services, spec: ModelSpec, toy_file: ToyFile
) -> None:
    move_by_hand(services, spec, 1)
    look(services, spec)
    strict = load_spec(toy_file(name=spec.name, champion_moved_outside="revert"))
    done = look(services, strict)
    assert done is not None
    assert done.event == "outside_move_reverted"
    assert since_promotion(services, strict) == ["moved_outside", "revert_started", "outside_move_reverted"]


def test_moved_back_by_hand_is_settled(services: Services, spec: ModelSpec) -> None:
    move_by_hand(services, spec, 1)
    look(services, spec)
    move_by_hand(services, spec, 2)
    done = look(services, spec)
    assert done is not None
    assert (done.event, done.version, done.from_version) == ("outside_move_reverted", 2, 1)
    assert (done.actor, done.reason) == ("unknown", "moved back outside Podium")
    assert_settled(services, spec)
    assert roll_back(services, spec).version == 1


def test_an_approver_reverts_for_a_reason_and_once(services: Services, spec: ModelSpec) -> None:
    move_by_hand(services, spec, 1)
    look(services, spec)
    run = new_run()
    done = ask(services, spec, Settlement.REVERT, reason="nobody asked for v1", run=run)
    assert (done.event, done.version, done.from_version) == ("outside_move_reverted", 2, 1)
    assert (done.actor, done.reason, done.run) == ("amy", "nobody asked for v1", run)
    assert ask(services, spec, Settlement.REVERT, run=run) == done
    assert services.registry.aliases(spec.name) == {"champion": 2, "previous_champion": 1}
    assert_settled(services, spec)
    with pytest.raises(Refused, match="no move outside Podium waits to be settled; the champion is v2"):
        ask(services, spec, Settlement.REVERT)


@pytest.mark.parametrize("first", ["retry", "reconcile"])
def test_a_revert_that_was_stopped_before_it_was_recorded_keeps_the_approvers_name(
    services: Services, spec: ModelSpec, monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    move_by_hand(services, spec, 1)
    look(services, spec)
    run = new_run()

    append = Ledger.append

    def away(ledger: Ledger, new: NewEvent) -> Event:
        if new.event is EventKind.OUTSIDE_MOVE_REVERTED:
            raise Outage("the ledger database did not answer")
        return append(ledger, new)

    with monkeypatch.context() as patched:
        patched.setattr(Ledger, "append", away)
        with pytest.raises(Outage):
            ask(services, spec, Settlement.REVERT, reason="nobody asked for v1", run=run)
    assert services.registry.champion(spec.name) == 2
    # Whoever looks first, the retry or reconcile: it is on record as hers.
    if first == "reconcile":
        look(services, spec)
    done = ask(services, spec, Settlement.REVERT, reason="nobody asked for v1", run=run)
    assert (done.event, done.version, done.from_version) == ("outside_move_reverted", 2, 1)
    assert (done.actor, done.reason, done.run) == ("amy", "nobody asked for v1", run)
    assert since_promotion(services, spec) == ["moved_outside", "revert_started", "outside_move_reverted"]
    assert_settled(services, spec)


def test_an_approver_accepts_and_the_champion_is_what_was_set(services: Services, spec: ModelSpec) -> None:
    move_by_hand(services, spec, 1)
    outside = look(services, spec)
    assert outside is not None
    run = new_run()
    done = ask(services, spec, Settlement.ACCEPT, run=run)
    assert (done.event, done.version, done.from_version) == ("outside_move_accepted", 1, 2)
    assert (done.actor, done.details) == ("amy", {"outside_move": outside.seq})
    assert ask(services, spec, Settlement.ACCEPT, run=run) == done
    assert services.registry.aliases(spec.name) == {"champion": 1, "previous_champion": 2}
    assert services.registry.version(spec.name, 1).tags[Tag.LIFECYCLE_STAGE] == "Production"
    assert_settled(services, spec)
    assert roll_back(services, spec).version == 2


@pytest.mark.parametrize("settlement", Settlement)
def test_what_was_not_seen_yet_or_has_moved_on_since_is_not_settled_blindly(
    services: Services, spec: ModelSpec, settlement: Settlement
) -> None:
    move_by_hand(services, spec, 1)
    with pytest.raises(Refused, match="no move outside Podium waits"):
        ask(services, spec, settlement)
    look(services, spec)
    move_by_hand(services, spec, None)
    with pytest.raises(Refused, match="the champion is none"):
        ask(services, spec, settlement)
    assert since_promotion(services, spec) == ["settlement_refused", "moved_outside", "settlement_refused"]
    assert newest(services, spec).actor == "amy"


@pytest.mark.parametrize("settlement", Settlement)
@pytest.mark.parametrize("cleared", [True, False])
def test_a_move_outside_is_settled_only_by_who_saw_it(
    services: Services, spec: ModelSpec, settlement: Settlement, cleared: bool
) -> None:
    # Nothing was to settle when amy asked; whoever clears her run later settles nothing in her name.
    run, asked = new_run(), asked_now()
    if cleared:
        with pytest.raises(Refused, match="no move outside Podium waits"):
            ask(services, spec, settlement, run=run, asked=asked)
        asked = replace(asked, queued_at=None)
    move_by_hand(services, spec, 1)
    look(services, spec)
    for _ in range(2):
        with pytest.raises(
            Refused, match="this run was refused on" if cleared else "could not know|does not change that"
        ):
            ask(services, spec, settlement, run=run, asked=asked)
    assert services.registry.champion(spec.name) == 1
    assert since_promotion(services, spec).count("settlement_refused") == 1
    assert not {"acceptance_given", "revert_started"} & set(since_promotion(services, spec))
    assert ask(services, spec, settlement).event.startswith("outside_move_")


def test_a_run_that_accepted_one_move_accepts_no_other(services: Services, two: ModelSpec) -> None:
    move_by_hand(services, two, 1)
    look(services, two)
    run, asked = new_run(), asked_now()
    first = ask(services, two, Settlement.ACCEPT, run=run, asked=asked)
    cleared = replace(asked, queued_at=None)
    # The same run again: the same acceptance, by one person.
    assert ask(services, two, Settlement.ACCEPT, run=run, asked=cleared) == first
    for to_version in (None, 1):
        move_by_hand(services, two, to_version)
        look(services, two)
    for _ in range(2):
        with pytest.raises(Refused, match="could not know|does not change that"):
            ask(services, two, Settlement.ACCEPT, run=run, asked=cleared)
    assert ask(services, two, Settlement.ACCEPT, "ben").event == "acceptance_given"
    assert services.ledger.find(f"settled:{run}") is None


def test_a_settlement_asked_for_ahead_of_time_or_cleared_before_its_first_try_is_refused(
    services: Services, spec: ModelSpec
) -> None:
    move_by_hand(services, spec, 1)
    look(services, spec)
    now = datetime.now(UTC)
    with pytest.raises(Refused, match="nobody can know the champion of a later moment"):
        ask(services, spec, Settlement.ACCEPT, asked=Asked(now + timedelta(hours=1), now))
    with pytest.raises(Refused, match="cleared before its first try was recorded"):
        ask(services, spec, Settlement.ACCEPT, asked=Asked(now, None))
    assert services.registry.champion(spec.name) == 1


def test_acceptances_of_other_bytes_do_not_count_nor_do_those_that_name_none(
    services: Services, two: ModelSpec
) -> None:
    number = make_by_hand(services, two, FIRST)
    move_by_hand(services, two, number)
    found = look(services, two)
    assert found is not None
    # As Podium recorded it before the bytes were named.
    services.ledger.append(
        NewEvent(
            event=EventKind.ACCEPTANCE_GIVEN,
            model=two.name,
            version=number,
            actor="cat",
            key=f"acceptance:{found.seq}:cat",
            details={"outside_move": found.seq},
        )
    )
    with changed_bytes(stored_files(services, two.name, number), "added"):
        assert ask(services, two, Settlement.ACCEPT, "amy").event == "acceptance_given"
    assert ask(services, two, Settlement.ACCEPT, "ben").event == "acceptance_given"
    done = ask(services, two, Settlement.ACCEPT, "cat")
    assert (done.event, done.actor) == ("outside_move_accepted", "ben, cat")


def test_accepting_takes_as_many_people_as_approving(services: Services, two: ModelSpec) -> None:
    move_by_hand(services, two, 1)
    look(services, two)
    first = ask(services, two, Settlement.ACCEPT)
    assert (first.event, first.actor) == ("acceptance_given", "amy")
    # The same person, once more: still one.
    assert ask(services, two, Settlement.ACCEPT) == first
    with pytest.raises(Frozen):
        roll_back(services, two)
    # The alias was moved on: what amy accepted was something else.
    move_by_hand(services, two, None)
    look(services, two)
    assert ask(services, two, Settlement.ACCEPT, "ben").event == "acceptance_given"
    move_by_hand(services, two, 1)
    look(services, two)
    assert ask(services, two, Settlement.ACCEPT, "cat").event == "acceptance_given"
    done = ask(services, two, Settlement.ACCEPT, "amy")
    assert (done.event, done.actor, done.version) == ("outside_move_accepted", "cat, amy", 1)
    assert_settled(services, two)


@pytest.mark.parametrize(
    ("who", "reason", "why"),
    [
        (None, "it was meant to be so", "the person who asks is unknown"),
        (Person("eve"), "it was meant to be so", "eve is not an approver .approvers: amy"),
        (Person("eve", frozenset({"amy"})), "it was meant to be so", "eve is not an approver"),
        (Person("amy"), "  short     ", "at least 10 are required"),
    ],
)
@pytest.mark.parametrize("settlement", Settlement)
def test_only_an_approver_settles_and_for_a_reason(
    toy_spec: ModelSpec, settlement: Settlement, who: Person | None, reason: str, why: str
) -> None:
    with pytest.raises(PodiumError, match=why):
        settle_request(toy_spec, settlement, asks=who, reason=reason, run="r")


def test_accepting_a_version_that_podium_never_registered_makes_its_manifest(
    services: Services, spec: ModelSpec
) -> None:
    number = make_by_hand(services, spec, FIRST)
    move_by_hand(services, spec, number)
    look(services, spec)
    done = ask(services, spec, Settlement.ACCEPT)
    assert (done.version, done.from_version) == (3, 2)
    registered = services.ledger.history(spec.name)[0]
    assert done.details["manifest"] == registered.details["manifest"]
    assert done.details["manifest_digest"] == registered.details["manifest_digest"]
    assert done.details["signature"] == registered.details["signature"]
    assert_settled(services, spec)
    # From here on it is a former champion like any other: proven by that manifest before it comes back.
    assert roll_back(services, spec, to_version=1).version == 1
    assert services.registry.aliases(spec.name) == {"champion": 1, "previous_champion": 2}


def test_an_accepted_version_is_held_to_the_bytes_that_were_accepted(
    services: Services, spec: ModelSpec
) -> None:
    number = make_by_hand(services, spec, FIRST)
    move_by_hand(services, spec, number)
    look(services, spec)
    ask(services, spec, Settlement.ACCEPT)
    move_by_hand(services, spec, 2)
    look(services, spec)
    with (
        changed_bytes(stored_files(services, spec.name, number), "added"),
        pytest.raises(BytesChanged, match=r"v3 is not what was registered: extra/code\.py was added"),
    ):
        ask(services, spec, Settlement.REVERT)
    assert ask(services, spec, Settlement.REVERT).version == number


def test_a_registered_version_whose_bytes_were_changed_is_not_accepted(
    services: Services, spec: ModelSpec
) -> None:
    move_by_hand(services, spec, 1)
    look(services, spec)
    with changed_bytes(stored_files(services, spec.name, 1), "flipped"), pytest.raises(BytesChanged):
        ask(services, spec, Settlement.ACCEPT)
    assert since_promotion(services, spec) == ["moved_outside", "settlement_refused"]


def test_a_deleted_alias_can_be_accepted_and_a_rollback_brings_a_champion_back(
    services: Services, spec: ModelSpec
) -> None:
    move_by_hand(services, spec, None)
    look(services, spec)
    done = ask(services, spec, Settlement.ACCEPT)
    assert (done.version, done.from_version) == (None, 2)
    assert services.registry.aliases(spec.name) == {"previous_champion": 2}
    assert_settled(services, spec)
    back = roll_back(services, spec)
    assert (back.version, back.from_version) == (2, None)
    assert services.registry.aliases(spec.name) == {"champion": 2, "previous_champion": 1}


@pytest.mark.parametrize("settlement", Settlement)
def test_a_frozen_model_moves_again_once_it_is_settled(
    services: Services, spec: ModelSpec, settlement: Settlement
) -> None:
    run = approved(services, spec)
    move_by_hand(services, spec, None)
    with pytest.raises(Frozen, match="the champion is none, but the ledger says v2"):
        promote(services, spec, run)
    look(services, spec)
    with pytest.raises(Frozen):
        promote(services, spec, run)
    assert services.registry.champion(spec.name) is None
    ask(services, spec, settlement)
    if settlement is Settlement.REVERT:
        assert promote(services, spec, run).version == 1
    else:
        with pytest.raises(ChampionChanged, match="against champion v2, but the champion is now none"):
            promote(services, spec, run)
        assert services.registry.champion(spec.name) is None


def test_an_approval_given_while_the_champion_was_moved_is_void(services: Services, spec: ModelSpec) -> None:
    run = new_run()
    nominate_unjudged(services, spec, FIRST, run)
    request = approval.open_request(services, spec.approval, spec.name, run)
    move_by_hand(services, spec, 1)
    decision = approval.judge(
        services, spec.approval, request, answer(), services.registry.champion(spec.name)
    )
    assert (decision.event, decision.reason) == ("voided", "the champion was v2 and is v1 now")
