"""The present, read as few events: each fold says of them what it says of the whole history."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from podium.ledger import history, store
from podium.ledger.events import CHAMPION_MOVES, Event, EventKind, NewEvent
from podium.ledger.store import Ledger
from podium.lifecycle.approval import open_requests

MOST = 4
RUNS = ("a/1", "a/2", "b/1")
KINDS = [kind for kind in EventKind if kind is not EventKind.SHADOW_SCORED]
REQUEST: dict[str, Any] = {"requester": None, "manifest": "m", "gates": "g", "expires_after_seconds": 60}
Life = Sequence[NewEvent]


@st.composite
def lives(draw: st.DrawFn) -> Life:
    """Any sequence of events, also those that no step would write."""
    version, maybe = st.integers(1, MOST), st.none() | st.integers(1, MOST)
    model = f"toy-{uuid.uuid4().hex[:12]}"
    events = []
    for kind in draw(st.lists(st.sampled_from(KINDS), max_size=25)):
        details: dict[str, Any] = {}
        if kind is EventKind.APPROVAL_REQUESTED:
            details = REQUEST
        elif kind in (EventKind.ADOPTED, EventKind.OUTSIDE_MOVE_ACCEPTED):
            details = draw(st.sampled_from([{}, {"manifest": [], "example": {"answer": [1]}}]))
        elif kind is EventKind.REGISTERED or kind in history.GATES:
            details = draw(
                st.sampled_from([{}, {"profile": "smoke"}, {"profile": "ci-smoke", "manifest": []}])
            )
        to = (
            draw(maybe)
            if kind in (EventKind.OUTSIDE_MOVE_ACCEPTED, EventKind.MOVED_OUTSIDE)
            else draw(version)
        )
        run = draw(st.sampled_from(RUNS))
        events.append(NewEvent(kind, model, to, draw(maybe), run=run, details=details))
    return events


def said(events: Sequence[Event]) -> dict[str, Any]:
    """What the folds say of the present."""
    return {
        "champion": history.champion_move(events),
        "candidate": history.candidate(events),
        "since": [history.candidate_since(events, version) for version in range(1, MOST + 1)],
        "aliases": history.aliases(events),
        "unfinished": history.unfinished_move(events),
        "stopped": [history.stopped_move(events, version) for version in (None, 1, 2)],
        "outside": history.outside_move(events),
        "foreign": history.is_foreign(events),
        "profiles": history.newest_of_profiles(events),
        "open": open_requests(events),
        "newest": events[-1] if events else None,
    }


def said_of(events: Sequence[Event], version: int) -> dict[str, Any]:
    """What the folds say of a version."""
    return {
        "registration": history.registration(events, version),
        "profile": history.profile_of(events, version),
        "example": history.example_of(events, version),
        "report": history.gate_report(events, version),
        "away": history.rolled_away(events, version),
        "was": history.was_champion(events, version),
        "stage": history.lifecycle_stage(events, version),
    }


@pytest.mark.parametrize("newest_moves", [2, 100])
def test_the_present_says_what_the_whole_history_says(ledger_url: str, newest_moves: int) -> None:
    ledger = Ledger(ledger_url)

    @settings(
        suppress_health_check=[HealthCheck.function_scoped_fixture],
        max_examples=15,
        deadline=None,
        phases=[Phase.explicit, Phase.generate],
    )
    @given(life=lives())
    def holds(life: Life) -> None:
        if not life:
            return
        recorded, model = [ledger.append(new) for new in life], life[0].model
        whole, present = ledger.history(model), ledger.present(model)
        assert whole == recorded
        assert said(present) == said(whole)
        former = history.former_champions(whole)
        assert history.former_champions(present) in [former[:count] for count in range(bool(former), 99)]
        for version in range(1, MOST + 1):
            about = ledger.present(model, version)
            assert said(about) == said(whole)
            assert said_of(about, version) == said_of(whole, version)
            assert history.was_champion(about, version) == (version in former)
        middle = recorded[len(recorded) // 2]
        before = [event for event in recorded if event.at <= middle.at]
        assert said(ledger.present(model, at=middle.at)) == said(before)
        of_run = [event for event in whole if event.run == RUNS[0]]
        assert ledger.of_run(model, RUNS[0]) == of_run
        assert [event for event in ledger.present(model, run=RUNS[0]) if event.run == RUNS[0]] == of_run

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "NEWEST_MOVES", newest_moves)
        holds()


def test_what_was_not_asked_for_is_never_taken_for_nothing(ledger_url: str) -> None:
    ledger = Ledger(ledger_url)
    model = f"toy-{uuid.uuid4().hex[:12]}"
    ledger.append(NewEvent(EventKind.REGISTERED, model, 1, details={"manifest": [], "profile": None}))
    present = ledger.present(model)
    for fold in (history.registration, history.gate_report, history.rolled_away, history.was_champion):
        with pytest.raises(LookupError, match="nobody asked the ledger for the events of version 1"):
            fold(present, 1)
    assert history.registration(ledger.present(model, 1, None), 1) is not None


def test_behind_many_rollbacks_the_way_back_is_found(ledger_url: str) -> None:
    ledger = Ledger(ledger_url)
    model = f"toy-{uuid.uuid4().hex[:12]}"
    ledger.append(NewEvent(EventKind.PROMOTED, model, 1))
    ledger.append(NewEvent(EventKind.PROMOTED, model, 2, 1))
    for version in range(3, 60):
        ledger.append(NewEvent(EventKind.PROMOTED, model, version, 2))
        ledger.append(NewEvent(EventKind.ROLLED_BACK, model, 2, version))
    present = ledger.present(model)
    assert history.former_champions(present) == [1]
    assert sum(event.event in CHAMPION_MOVES for event in present) == 116


def test_events_that_say_where_models_stand_are_few(ledger_url: str) -> None:
    ledger = Ledger(ledger_url)
    model = f"toy-{uuid.uuid4().hex[:12]}"
    counts = {}
    for version in range(1, 301):
        run = f"lifecycle_toy/{version}"
        for kind in (EventKind.REGISTERED, EventKind.GATES_PASSED, EventKind.NOMINATED, EventKind.PROMOTED):
            ledger.append(NewEvent(kind, model, version, version - 1 or None, run=run))
        counts[version] = len(ledger.present(model, version, version - 1))
    assert counts[150] == counts[300] < 115
    assert ledger.models() == sorted({*ledger.models(), model})
