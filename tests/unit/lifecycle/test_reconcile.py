"""Champions moved outside Podium: found and recorded once; stopped moves are finished."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from podium.errors import (
    BytesChanged,
    Frozen,
    Outage,
)
from podium.ledger.events import EventKind, NewEvent
from podium.ledger.store import Ledger
from podium.lifecycle import rollback
from podium.lifecycle.approval_policy import Person
from podium.lifecycle.reconcile import reconcile_all
from podium.lifecycle.settle import Settlement
from podium.model_file.loading import load_spec
from podium.model_file.spec import ModelSpec
from podium.names import Alias
from podium.registry.client import Registry
from podium.reporting.status import model_statuses
from podium.services import Services
from support.mlflow_client import raw
from support.moved_outside import approved, ask, assert_settled, look, move_by_hand, since_promotion
from support.steps import (
    FIRST,
    SECOND,
    asked_now,
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
        refused = {"the model file": [], "an approver": ["settlement_refused"] * 2}[by]
        assert since_promotion(services, spec) == ["moved_outside", *refused]
        with pytest.raises(Frozen):
            roll_back(services, spec)


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


@pytest.mark.parametrize("details", [{}, {"digest": 3}], ids=str)
def test_what_nobody_can_fold_stops_no_other_model(
    services: Services, spec: ModelSpec, toy_file: ToyFile, details: dict[str, Any]
) -> None:
    healthy = load_spec(toy_file(name=f"{spec.name}-healthy"))
    promote_as_of(services, healthy, FIRST)
    raw(services.registry).delete_registered_model_alias(healthy.name, "champion")
    services.ledger.append(NewEvent(EventKind.GATES_PASSED, spec.name, 1, details=details))
    found, errors = reconcile_all(services, [spec, healthy])
    assert [event.model for event in found] == [healthy.name]
    assert [f"{spec.name}: its record cannot be read" in str(error) for error in errors] == [True]


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
            rollback.rollback(services, request, asked_now())
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
        assert rollback.rollback(services, request, asked_now()).version == 1
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
