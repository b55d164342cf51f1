from __future__ import annotations

import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from podium.errors import Outage, PodiumError
from podium.ledger import (
    Event,
    EventKind,
    Ledger,
    NewEvent,
    champion_move,
    former_champions,
    lifecycle_stage,
    migrate,
)


@pytest.fixture
def ledger(ledger_url: str) -> Ledger:
    return Ledger(ledger_url)


@pytest.fixture
def model() -> str:
    return f"model-{uuid.uuid4().hex[:8]}"


def moves(ledger: Ledger, model: str, *steps: tuple[EventKind, int, int | None]) -> list[Event]:
    for kind, version, from_version in steps:
        ledger.append(NewEvent(kind, model, version, from_version))
    return ledger.history(model)


PROMOTED, ROLLED_BACK = EventKind.PROMOTED, EventKind.ROLLED_BACK


def test_events_come_back_in_order_as_they_were_written(ledger: Ledger, model: str) -> None:
    new = NewEvent(
        EventKind.REJECTED, model, 2, 1, actor="amy", reason="päärs ≠ apples", run="d/r", details={"a": [1]}
    )
    ledger.append(NewEvent(EventKind.REGISTERED, model, 2))
    ledger.append(new)
    first, second = ledger.history(model)
    assert (first.event, second.event) == (EventKind.REGISTERED, EventKind.REJECTED)
    assert first.seq < second.seq
    assert (second.actor, second.reason, second.details) == ("amy", "päärs ≠ apples", {"a": [1]})
    assert model in ledger.models()


def test_a_keyed_event_is_written_once_also_by_many_at_once(ledger: Ledger, model: str) -> None:
    def write(number: int) -> Event:
        return ledger.append(NewEvent(EventKind.APPROVED, model, number, key=f"decision:{model}"))

    with ThreadPoolExecutor(8) as pool:
        written = list(pool.map(write, range(16)))
    assert len(set(written[i].seq for i in range(16))) == 1
    assert len(ledger.history(model)) == 1


def test_history_until_a_moment(ledger: Ledger, model: str) -> None:
    first = ledger.append(NewEvent(EventKind.REGISTERED, model, 1))
    ledger.append(NewEvent(EventKind.REGISTERED, model, 2))
    assert [event.version for event in ledger.history(model, until=first.at)] == [1]
    assert ledger.history(model, until=first.at - timedelta(seconds=1)) == []


def test_the_champion_is_a_fold_over_the_moves(ledger: Ledger, model: str) -> None:
    assert champion_move(ledger.history(model)) is None
    events = moves(ledger, model, (PROMOTED, 1, None), (PROMOTED, 3, 1), (ROLLED_BACK, 1, 3))
    move = champion_move(events)
    assert move is not None
    assert (move.version, move.from_version) == (1, 3)


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([], []),
        ([(PROMOTED, 1, None)], []),
        ([(PROMOTED, 1, None), (PROMOTED, 2, 1), (PROMOTED, 5, 2)], [2, 1]),
        ([(PROMOTED, 1, None), (PROMOTED, 2, 1), (ROLLED_BACK, 1, 2)], []),
        ([(PROMOTED, 1, None), (PROMOTED, 2, 1), (PROMOTED, 3, 2), (ROLLED_BACK, 2, 3)], [1]),
        ([(PROMOTED, 1, None), (PROMOTED, 2, 1), (PROMOTED, 3, 2), (ROLLED_BACK, 1, 3)], [2]),
        ([(PROMOTED, 1, None), (PROMOTED, 2, 1), (ROLLED_BACK, 1, 2), (PROMOTED, 2, 1)], [1]),
    ],
)
def test_former_champions_newest_first(
    ledger: Ledger, model: str, steps: list[tuple[EventKind, int, int | None]], expected: list[int]
) -> None:
    assert former_champions(moves(ledger, model, *steps)) == expected


def test_the_lock_lets_one_in_at_a_time(ledger: Ledger, model: str) -> None:
    inside: list[int] = []
    most = 0

    def enter(number: int) -> None:
        nonlocal most
        with ledger.lock(model):
            inside.append(number)
            most = max(most, len(inside))
            threading.Event().wait(0.02)
            inside.remove(number)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(enter, range(6)))
    assert most == 1


def test_locks_of_two_models_do_not_meet(ledger: Ledger, model: str) -> None:
    with ledger.lock(model), ledger.lock(f"{model}-other"):
        pass


def test_a_ledger_that_cannot_be_reached_is_an_outage(ledger_url: str) -> None:
    from sqlalchemy import make_url

    nobody_there = make_url(ledger_url).set(port=1).render_as_string(hide_password=False)
    with pytest.raises(Outage, match="the ledger database did not answer"):
        Ledger(nobody_there).find("x")


def test_a_database_without_the_table_is_explained(ledger_url: str) -> None:
    with pytest.raises(PodiumError, match="not as it must be"):
        Ledger(f"{ledger_url}?options=-csearch_path%3Dpg_catalog").find("x")


@pytest.mark.parametrize(
    ("steps", "version", "expected"),
    [
        ([], 1, "None"),
        ([(PROMOTED, 1, None)], 1, "Production"),
        ([(PROMOTED, 1, None), (PROMOTED, 2, 1)], 1, "Archived"),
        ([(PROMOTED, 1, None), (PROMOTED, 2, 1), (ROLLED_BACK, 1, 2)], 2, "Archived"),
    ],
)
def test_the_stage_is_a_fold_too(
    ledger: Ledger, model: str, steps: list[tuple[EventKind, int, int | None]], version: int, expected: str
) -> None:
    assert lifecycle_stage(moves(ledger, model, *steps), version) == expected


def test_migrating_again_changes_nothing(ledger: Ledger, ledger_url: str, model: str) -> None:
    ledger.append(NewEvent(EventKind.REGISTERED, model, 1))
    migrate(ledger_url)
    assert len(ledger.history(model)) == 1


def test_the_url_with_its_password_is_in_no_message(ledger_url: str) -> None:
    from sqlalchemy import make_url

    secret = make_url(ledger_url).password
    assert secret
    wrong = make_url(ledger_url).set(database="nowhere").render_as_string(hide_password=False)
    with pytest.raises(Outage) as caught:
        Ledger(wrong).find("x")
    assert secret not in str(caught.value)
