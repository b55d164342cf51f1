"""Champions moved outside Podium: found, recorded once, reverted or accepted; stopped moves are finished."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from podium.errors import (
    BytesChanged,
    CannotRollBack,
    ChampionChanged,
    Frozen,
    NotFound,
    Outage,
    PodiumError,
    Refused,
)
from podium.ledger.events import Event, EventKind, NewEvent
from podium.ledger.store import Ledger
from podium.lifecycle import approval, rollback
from podium.lifecycle.approval_policy import Person
from podium.lifecycle.reconcile import reconcile, reconcile_all
from podium.lifecycle.registry_sync import mirror
from podium.lifecycle.settle import Settlement, settle, settle_request
from podium.model_file.loading import load_spec
from podium.model_file.spec import ModelSpec
from podium.names import Alias, Tag
from podium.registry.client import Registry
from podium.reporting.status import model_statuses
from podium.services import Services
from support.mlflow_client import raw
from support.steps import (
    FIRST,
    SECOND,
    TRAINED,
    answer,
    decide,
    kinds,
    new_run,
    nominate_unjudged,
    promote,
    promote_as_of,
    register,
    roll_back,
)
from support.store import changed_bytes, stored_files

ToyFile = Callable[..., Path]


@pytest.fixture
def spec(services: Services, toy_spec: ModelSpec) -> ModelSpec:
    """The toy with two champions: v1 that was, and v2 that is, as promoting them would leave it."""
    for as_of, former in ((FIRST, None), (SECOND, 1)):
        number = register(services, toy_spec, as_of, new_run())
        services.registry.set_alias(toy_spec.name, Alias.CHAMPION, number)
        services.ledger.append(NewEvent(EventKind.PROMOTED, toy_spec.name, number, former, actor="amy"))
    mirror(services, toy_spec.name)
    return toy_spec


def look(services: Services, spec: ModelSpec) -> Event | None:
    return reconcile(services, spec)


def move_by_hand(services: Services, spec: ModelSpec, to_version: int | None) -> None:
    """As somebody would in MLflow's UI."""
    if to_version is None:
        raw(services.registry).delete_registered_model_alias(spec.name, "champion")
    else:
        raw(services.registry).set_registered_model_alias(spec.name, "champion", str(to_version))


def ask(
    services: Services,
    spec: ModelSpec,
    settlement: Settlement,
    who: str = "amy",
    reason: str = "it was meant to be so",
    run: str | None = None,
) -> Event:
    request = settle_request(spec, settlement, asks=Person(who), reason=reason, run=run or new_run())
    return settle(services, spec, request)


def since_promotion(services: Services, spec: ModelSpec) -> list[str]:
    """What stands in the history after the second promotion."""
    return [str(kind) for kind in kinds(services, spec)[4:]]


def assert_settled(services: Services, spec: ModelSpec) -> None:
    """Looking again finds nothing, and the ledger and the registry agree."""
    events = len(kinds(services, spec))
    assert look(services, spec) is None
    assert len(kinds(services, spec)) == events


def test_a_champion_that_nobody_moved_is_nothing_new(services: Services, spec: ModelSpec) -> None:
    assert_settled(services, spec)
    assert since_promotion(services, spec) == []


def test_a_model_that_was_never_registered_is_nothing_new(services: Services, toy_spec: ModelSpec) -> None:
    assert look(services, toy_spec) is None
    assert kinds(services, toy_spec) == []


@pytest.mark.parametrize(
    ("to_version", "what"),
    [
        (1, "its champion was moved from v2 to v1, outside Podium"),
        (None, "its champion alias, at v2, was deleted, outside Podium"),
    ],
)
def test_a_move_by_hand_is_recorded_once_however_often_it_is_seen(
    services: Services, spec: ModelSpec, to_version: int | None, what: str
) -> None:
    move_by_hand(services, spec, to_version)
    found = look(services, spec)
    assert found is not None
    assert (found.event, found.version, found.from_version) == ("moved_outside", to_version, 2)
    assert found.actor == "unknown"
    assert what in found.reason
    assert "frozen until that is settled" in found.reason
    for _ in range(3):
        assert look(services, spec) is None
    assert since_promotion(services, spec) == ["moved_outside"]
    assert services.registry.champion(spec.name) == to_version


def test_a_first_champion_set_by_hand_is_recorded(services: Services, toy_spec: ModelSpec) -> None:
    register(services, toy_spec, FIRST, new_run())
    move_by_hand(services, toy_spec, 1)
    found = look(services, toy_spec)
    assert found is not None
    assert "moved from none to v1" in found.reason
    assert ask(services, toy_spec, Settlement.REVERT).version is None
    assert services.registry.aliases(toy_spec.name) == {}
    assert_settled(services, toy_spec)


def test_each_further_move_by_hand_is_recorded_too(services: Services, spec: ModelSpec) -> None:
    for to_version in (1, None, 1):
        move_by_hand(services, spec, to_version)
        found = look(services, spec)
        assert found is not None
        assert (found.version, found.from_version) == (to_version, 2)
    assert since_promotion(services, spec) == ["moved_outside"] * 3


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
    assert since_promotion(services, spec) == ["moved_outside"]
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
    assert (done.actor, done.reason) == ("podium", "the model file says champion_moved_outside: revert")
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


@pytest.mark.parametrize("by", ["the model file", "an approver"])
def test_nothing_goes_back_to_a_champion_whose_bytes_were_changed(
    services: Services, spec: ModelSpec, toy_file: ToyFile, by: str
) -> None:
    strict = load_spec(toy_file(name=spec.name, champion_moved_outside="revert"))
    move_by_hand(services, spec, 1)
    if by == "an approver":
        look(services, spec)
    with changed_bytes(stored_files(services, spec.name, 2), "flipped"):
        for _ in range(2):
            with pytest.raises(BytesChanged, match=r"v2 is not what was registered: model\.skops differs"):
                look(services, strict) if by == "the model file" else ask(services, spec, Settlement.REVERT)
        assert services.registry.champion(spec.name) == 1
        assert since_promotion(services, spec) == ["moved_outside"]
        with pytest.raises(Frozen):
            roll_back(services, spec)


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


def test_an_old_intent_makes_no_promotion_of_a_move_by_hand(
    services: Services, spec: ModelSpec, toy_file: ToyFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    hasty = load_spec(toy_file(name=spec.name, approval__valid_for="1s"))
    roll_back(services, hasty)
    run = new_run()
    nominate_unjudged(services, hasty, SECOND, run)
    decide(services, hasty, run)

    def away(registry: Registry, model: str, alias: Alias, number: int) -> None:
        raise Outage("MLflow did not answer")

    with monkeypatch.context() as patched:
        patched.setattr(Registry, "set_alias", away)
        with pytest.raises(Outage):
            promote(services, hasty, run)
    assert kinds(services, hasty)[-1] == "promotion_started"
    time.sleep(1.1)
    move_by_hand(services, hasty, 2)
    found = look(services, hasty)
    assert found is not None
    assert found.event == "moved_outside"
    assert [str(kind) for kind in kinds(services, hasty)[-3:]] == [
        "promotion_started",
        "promotion_refused",
        "moved_outside",
    ]


def test_what_stops_one_model_stops_no_other(
    services: Services, spec: ModelSpec, toy_file: ToyFile, tmp_path: Path
) -> None:
    healthy = load_spec(toy_file(name=f"{spec.name}-healthy"))
    promote_as_of(services, healthy, FIRST)
    raw(services.registry).delete_registered_model_alias(healthy.name, "champion")
    reverting = spec.model_copy(update={"champion_moved_outside": "revert"})
    move_by_hand(services, spec, 1)
    with changed_bytes(stored_files(services, spec.name, 2), "flipped"):
        found, errors = reconcile_all(services, [reverting, healthy])
    assert [(event.model, event.event.value) for event in found] == [(healthy.name, "moved_outside")]
    assert [type(error) for error in errors] == [BytesChanged]
    frozen = {item.model: item.needs() for item in model_statuses(services)}[healthy.name]
    assert frozen == ["frozen: champion moved outside Podium, the ledger says v1; settle_champion settles it"]


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
    assert since_promotion(services, spec) == ["moved_outside"]


def test_accepting_takes_as_many_people_as_approving(
    services: Services, spec: ModelSpec, toy_file: ToyFile
) -> None:
    two = load_spec(toy_file(name=spec.name, approval__approvers=["amy", "ben", "cat"], approval__required=2))
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
        (None, "it was meant to be so", "who asks is not known"),
        (Person("eve"), "it was meant to be so", "eve is not an approver .approvers: amy"),
        (Person("eve", frozenset({"amy"})), "it was meant to be so", "eve is not an approver"),
        (Person("amy"), "  short     ", "the reason needs at least 10 characters"),
    ],
)
@pytest.mark.parametrize("settlement", Settlement)
def test_only_an_approver_settles_and_for_a_reason(
    toy_spec: ModelSpec, settlement: Settlement, who: Person | None, reason: str, why: str
) -> None:
    with pytest.raises(PodiumError, match=why):
        settle_request(toy_spec, settlement, asks=who, reason=reason, run="r")


def make_by_hand(services: Services, spec: ModelSpec, as_of: datetime) -> int:
    """A version that Podium never registered, from a model that it trained."""
    trained = TRAINED[as_of]
    made = raw(services.registry).create_model_version(
        spec.name, f"models:/{trained.model_id}", run_id=trained.run_id, model_id=trained.model_id
    )
    return int(made.version)


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
    assert since_promotion(services, spec) == ["moved_outside"]


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


def approved(services: Services, spec: ModelSpec, as_of: datetime = FIRST) -> str:
    run = new_run()
    nominate_unjudged(services, spec, as_of, run)
    decide(services, spec, run)
    return run


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


class Killed(BaseException):
    """The process ended here."""


def kill(*_: Any, **__: Any) -> None:
    raise Killed


def promote_killed(services: Services, spec: ModelSpec, at: tuple[type, str]) -> str:
    run = approved(services, spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(*at, kill)
        with pytest.raises(Killed):
            promote(services, spec, run)
    return run


def roll_back_killed(services: Services, spec: ModelSpec, at: tuple[type, str]) -> str:
    run = new_run()
    request = rollback.rollback_request(spec.name, None, asks=Person("olga"), reason="complaints", run=run)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(*at, kill)
        with pytest.raises(Killed):
            rollback.rollback(services, request)
    return run


MOVES = {"promoted": promote_killed, "rolled_back": roll_back_killed}


@pytest.mark.parametrize("result", MOVES)
def test_a_move_that_was_stopped_before_it_was_recorded_is_finished_and_is_none_outside(
    services: Services, spec: ModelSpec, result: str
) -> None:
    run = MOVES[result](services, spec, (Ledger, "append_move"))
    assert services.registry.champion(spec.name) == 1
    assert result not in since_promotion(services, spec)
    # Anybody else waits until it is finished.
    with pytest.raises(Outage, match=f"run {run} moved the champion to v1 and was stopped"):
        roll_back(services, spec)
    assert look(services, spec) is None
    done = services.ledger.find(f"{result}:{run}")
    assert done is not None
    assert (done.event, done.version, done.from_version, done.run) == (result, 1, 2, run)
    assert done.actor == {"promoted": "amy", "rolled_back": "olga"}[result]
    assert since_promotion(services, spec).count(result) == 1
    assert "moved_outside" not in since_promotion(services, spec)
    assert_settled(services, spec)
    previous = {"promoted": {"previous_champion": 2}, "rolled_back": {}}[result]
    assert services.registry.aliases(spec.name) == {"champion": 1, **previous}


@pytest.mark.parametrize("result", MOVES)
def test_a_move_that_was_stopped_before_the_alias_moved_is_left_to_its_retry(
    services: Services, spec: ModelSpec, result: str
) -> None:
    run = MOVES[result](services, spec, (Registry, "set_alias"))
    assert_settled(services, spec)
    assert services.registry.champion(spec.name) == 2
    assert services.ledger.find(f"{result}:{run}") is None
    if result == "promoted":
        assert promote(services, spec, run).version == 1
    else:
        request = rollback.rollback_request(
            spec.name, None, asks=Person("olga"), reason="complaints", run=run
        )
        assert rollback.rollback(services, request).version == 1
    assert_settled(services, spec)


def test_a_move_that_was_stopped_and_then_moved_on_by_hand_is_a_move_outside(
    services: Services, spec: ModelSpec
) -> None:
    run = promote_killed(services, spec, (Ledger, "append_move"))
    move_by_hand(services, spec, None)
    found = look(services, spec)
    assert found is not None
    assert (found.event, found.version, found.from_version) == ("moved_outside", None, 2)
    with pytest.raises(Frozen):
        promote(services, spec, run)


def test_the_mirror_puts_right_what_was_changed_by_hand(services: Services, spec: ModelSpec) -> None:
    registry = services.registry
    nominate_unjudged(services, spec, FIRST, new_run())
    before = {version.number: dict(version.tags) for version in registry.versions(spec.name)}
    aliases = registry.aliases(spec.name)
    assert aliases == {"champion": 2, "candidate": 1, "previous_champion": 1}

    registry.set_alias(spec.name, Alias.CANDIDATE, 2)
    registry.delete_alias(spec.name, Alias.PREVIOUS_CHAMPION)
    registry.set_tags(
        spec.name, 2, {Tag.LIFECYCLE_STAGE: "None", Tag.DECIDED_BY: "eve", Tag.ROLLED_BACK: "x"}
    )
    registry.delete_tags(spec.name, 1, [Tag.APPROVAL_STATUS, Tag.GATES_DIGEST])
    raw(registry).set_model_version_tag(spec.name, "1", "somebodys_own", "stays")
    registry.set_model_tag(spec.name, Tag.LEDGER_HEAD, "forged")
    assert look(services, spec) is None

    assert registry.aliases(spec.name) == aliases
    before[1]["somebodys_own"] = "stays"
    assert {version.number: dict(version.tags) for version in registry.versions(spec.name)} == before
    newest = services.ledger.history(spec.name)[-1]
    assert registry.labels(spec.name).tags[Tag.LEDGER_HEAD] == f"{newest.seq}:{newest.hash}"


def test_the_mirror_never_touches_the_champion(services: Services, spec: ModelSpec) -> None:
    move_by_hand(services, spec, 1)
    mirror(services, spec.name)
    assert services.registry.champion(spec.name) == 1


def test_an_alias_that_must_not_be_there_is_removed(services: Services, toy_spec: ModelSpec) -> None:
    promote_as_of(services, toy_spec, FIRST)
    for alias in (Alias.CANDIDATE, Alias.PREVIOUS_CHAMPION):
        services.registry.set_alias(toy_spec.name, alias, 1)
    look(services, toy_spec)
    assert services.registry.aliases(toy_spec.name) == {"champion": 1}


def test_a_long_reason_fits_into_its_tag(services: Services, toy_spec: ModelSpec) -> None:
    run = new_run()
    nominate_unjudged(services, toy_spec, FIRST, run)
    request = approval.open_request(services, toy_spec.approval, toy_spec.name, run)
    approval.judge(services, toy_spec.approval, request, answer("Reject", reason="no " * 9000), None)
    look(services, toy_spec)
    tag = services.registry.version(toy_spec.name, 1).tags[Tag.DECISION_REASON]
    assert tag == ("no " * 9000)[:1000]


def test_a_former_champion_that_was_deleted_in_mlflow_stops_nothing(
    services: Services, spec: ModelSpec
) -> None:
    raw(services.registry).delete_model_version(spec.name, "1")
    assert_settled(services, spec)
    assert services.registry.aliases(spec.name) == {"champion": 2}
    with pytest.raises(CannotRollBack, match="v1"):
        roll_back(services, spec)
    number = make_by_hand(services, spec, FIRST)
    move_by_hand(services, spec, number)
    look(services, spec)
    ask(services, spec, Settlement.ACCEPT)
    assert services.registry.aliases(spec.name) == {"champion": 3, "previous_champion": 2}
