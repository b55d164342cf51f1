"""The present as a fold over events, without a database."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podium.ledger import history
from podium.ledger.events import CHAMPION_MOVES, Event, EventKind
from podium.names import Alias

NOMINATED, APPROVED, REJECTED = EventKind.NOMINATED, EventKind.APPROVED, EventKind.REJECTED
PROMOTED, ROLLED_BACK = EventKind.PROMOTED, EventKind.ROLLED_BACK
ACCEPTED, REVERTED = EventKind.OUTSIDE_MOVE_ACCEPTED, EventKind.OUTSIDE_MOVE_REVERTED
OUTSIDE, REGISTERED = EventKind.MOVED_OUTSIDE, EventKind.REGISTERED
STARTED, BACK_STARTED = EventKind.PROMOTION_STARTED, EventKind.ROLLBACK_STARTED
REFUSED, BACK_REFUSED = EventKind.PROMOTION_REFUSED, EventKind.ROLLBACK_REFUSED

Step = tuple[EventKind, int | None, int | None]
AtStep = tuple[EventKind, int | None, str]


def event(
    seq: int,
    kind: EventKind,
    version: int | None,
    from_version: int | None = None,
    *,
    run: str | None = None,
    **details: Any,
) -> Event:
    return Event(
        seq=seq,
        at=datetime(2026, 1, 1, tzinfo=UTC),
        event=kind,
        model="toy",
        version=version,
        from_version=from_version,
        actor="amy",
        reason="",
        run=run,
        key=None,
        details=details,
        previous_hash="",
        hash="",
    )


def moves(*steps: Step) -> list[Event]:
    return [event(seq, *step) for seq, step in enumerate(steps, start=1)]


def in_runs(*steps: AtStep) -> list[Event]:
    return [event(seq, kind, version, run=run) for seq, (kind, version, run) in enumerate(steps, start=1)]


# steps, champion, former champions, rolled away
MOVES: list[tuple[list[Step], int | None, list[int], set[int]]] = [
    ([], None, [], set()),
    ([(REGISTERED, 1, None), (NOMINATED, 1, None), (STARTED, 1, None)], None, [], set()),
    ([(PROMOTED, 1, None)], 1, [], set()),
    ([(PROMOTED, 1, None), (PROMOTED, 3, 1), (ROLLED_BACK, 1, 3)], 1, [], {3}),
    ([(PROMOTED, 1, None), (PROMOTED, 2, 1), (PROMOTED, 5, 2)], 5, [2, 1], set()),
    ([(PROMOTED, 1, None), (PROMOTED, 2, 1), (ROLLED_BACK, 1, 2)], 1, [], {2}),
    ([(PROMOTED, 1, None), (PROMOTED, 2, 1), (PROMOTED, 3, 2), (ROLLED_BACK, 2, 3)], 2, [1], {3}),
    ([(PROMOTED, 1, None), (PROMOTED, 2, 1), (PROMOTED, 3, 2), (ROLLED_BACK, 1, 3)], 1, [2], {3}),
    ([(PROMOTED, 1, None), (PROMOTED, 2, 1), (ROLLED_BACK, 1, 2), (PROMOTED, 2, 1)], 2, [1], set()),
    ([(PROMOTED, 1, None), (PROMOTED, 2, 1), (PROMOTED, 1, 2)], 1, [2], set()),
    # Moved outside: nothing until it is accepted.
    ([(PROMOTED, 1, None), (OUTSIDE, 2, 1)], 1, [], set()),
    ([(PROMOTED, 1, None), (OUTSIDE, 2, 1), (REVERTED, 1, 2)], 1, [], set()),
    ([(PROMOTED, 1, None), (OUTSIDE, 2, 1), (ACCEPTED, 2, 1)], 2, [1], set()),
    ([(PROMOTED, 1, None), (PROMOTED, 2, 1), (OUTSIDE, 1, 2), (ACCEPTED, 1, 2)], 1, [2], set()),
    # The alias was deleted, and that was accepted.
    ([(PROMOTED, 1, None), (PROMOTED, 2, 1), (ACCEPTED, None, 2)], None, [2, 1], set()),
    ([(PROMOTED, 1, None), (ACCEPTED, None, 1), (ROLLED_BACK, 1, None)], 1, [], set()),
    ([(PROMOTED, 1, None), (PROMOTED, 2, 1), (ACCEPTED, None, 2), (ROLLED_BACK, 1, None)], 1, [2], set()),
    ([(PROMOTED, 1, None), (ACCEPTED, None, 1), (PROMOTED, 2, None)], 2, [1], set()),
    # Rolled away, then set by hand all the same.
    ([(PROMOTED, 1, None), (PROMOTED, 2, 1), (ROLLED_BACK, 1, 2), (ACCEPTED, 2, 1)], 2, [1], set()),
]


@pytest.mark.parametrize(("steps", "champion", "former", "away"), MOVES)
def test_who_is_champion_who_was_and_who_was_rolled_away(
    steps: list[Step], champion: int | None, former: list[int], away: set[int]
) -> None:
    events = moves(*steps)
    assert history.champion(events) == champion
    assert history.former_champions(events) == former
    everyone = {version for _, *both in steps for version in both if version}
    assert {version for version in everyone if history.rolled_away(events, version)} == away
    assert {version for version in everyone if history.was_champion(events, version)} == set(former)


def test_the_move_that_made_the_champion_is_the_newest_one() -> None:
    assert history.champion_move([]) is None
    events = moves((PROMOTED, 1, None), (ROLLED_BACK, 2, 1), (OUTSIDE, 3, 2), (REFUSED, 4, 2))
    assert history.champion_move(events) == events[1]
    assert history.rolled_away(events, 1) == events[1]
    assert history.rolled_away(events, 2) is None


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([], None),
        ([(NOMINATED, 1, "a")], 1),
        ([(NOMINATED, 1, "a"), (NOMINATED, 2, "b")], 2),
        ([(NOMINATED, 1, "a"), (APPROVED, 1, "a")], 1),
        ([(NOMINATED, 1, "a"), (APPROVED, 1, "a"), (PROMOTED, 1, "a")], None),
        *(
            ([(NOMINATED, 1, "a"), (kind, 1, "a")], None)
            for kind in (REJECTED, EventKind.EXPIRED, EventKind.SUPERSEDED, EventKind.VOIDED)
        ),
        # What is decided of another run does not matter, also of the same version.
        ([(NOMINATED, 1, "a"), (NOMINATED, 2, "b"), (EventKind.SUPERSEDED, 1, "a")], 2),
        ([(NOMINATED, 1, "a"), (NOMINATED, 1, "b"), (REJECTED, 1, "a")], 1),
        ([(NOMINATED, 1, "a"), (NOMINATED, 2, "b"), (REJECTED, 2, "b")], None),
        ([(NOMINATED, 2, "a"), (PROMOTED, 1, "b")], 2),
        ([(NOMINATED, 2, "a"), (ACCEPTED, 2, "b")], None),
        # Another run promoted it between this run's gates and its nomination.
        ([(PROMOTED, 2, "b"), (NOMINATED, 2, "a")], None),
        ([(PROMOTED, 2, "b"), (NOMINATED, 2, "a"), (ROLLED_BACK, 1, "c")], None),
        ([(ACCEPTED, None, "b"), (NOMINATED, 2, "a")], 2),
    ],
)
def test_the_candidate_is_the_newest_nomination_that_is_still_to_come(
    steps: list[AtStep], expected: int | None
) -> None:
    assert history.candidate(in_runs(*steps)) == expected


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([], {}),
        ([(PROMOTED, 1, None)], {"champion": 1}),
        ([(PROMOTED, 1, None), (PROMOTED, 2, 1)], {"champion": 2, "previous_champion": 1}),
        (
            [(PROMOTED, 1, None), (PROMOTED, 2, 1), (NOMINATED, 3, 2)],
            {"champion": 2, "previous_champion": 1, "candidate": 3},
        ),
        ([(PROMOTED, 1, None), (PROMOTED, 2, 1), (ROLLED_BACK, 1, 2)], {"champion": 1}),
        ([(PROMOTED, 1, None), (ACCEPTED, None, 1)], {"previous_champion": 1}),
    ],
)
def test_an_alias_that_must_not_be_there_is_left_out(steps: list[Step], expected: dict[Alias, int]) -> None:
    assert history.aliases(moves(*steps)) == expected


@pytest.mark.parametrize(
    ("steps", "version", "expected"),
    [
        ([], 1, "None"),
        ([(PROMOTED, 1, None)], 1, "Production"),
        ([(PROMOTED, 1, None)], 2, "None"),
        ([(PROMOTED, 1, None), (NOMINATED, 2, 1)], 2, "Staging"),
        ([(PROMOTED, 1, None), (PROMOTED, 2, 1)], 1, "Archived"),
        ([(PROMOTED, 1, None), (PROMOTED, 2, 1), (NOMINATED, 1, 2)], 1, "Staging"),
        ([(PROMOTED, 1, None), (PROMOTED, 2, 1), (ROLLED_BACK, 1, 2)], 2, "Archived"),
        ([(PROMOTED, 1, None), (OUTSIDE, 2, 1)], 2, "None"),
        ([(PROMOTED, 1, None), (ACCEPTED, None, 1)], 1, "Archived"),
    ],
)
def test_the_stage_is_a_fold_too(steps: list[Step], version: int, expected: str) -> None:
    assert history.lifecycle_stage(moves(*steps), version) == expected


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([], None),
        ([(STARTED, 1, "a")], 1),
        ([(BACK_STARTED, 1, "a")], 1),
        ([(STARTED, 1, "a"), (PROMOTED, 1, "a")], None),
        ([(BACK_STARTED, 1, "a"), (ROLLED_BACK, 1, "a")], None),
        ([(STARTED, 1, "a"), (REFUSED, 1, "a")], None),
        ([(BACK_STARTED, 1, "a"), (BACK_REFUSED, 1, "a")], None),
        ([(STARTED, 1, "a"), (REFUSED, 2, "b")], 1),
        ([(STARTED, 1, "a"), (BACK_REFUSED, 2, "b"), (OUTSIDE, 3, None)], 1),
        # Another move was recorded since, so this one can only be begun anew.
        ([(STARTED, 1, "a"), (ROLLED_BACK, 2, "b")], None),
        ([(STARTED, 1, "a"), (ACCEPTED, 2, "b")], None),
        ([(REFUSED, 1, "a")], None),
        ([(STARTED, 1, "a"), (PROMOTED, 1, "a"), (BACK_STARTED, 2, "b")], 2),
    ],
)
def test_a_move_is_unfinished_until_it_is_recorded_or_refused(
    steps: list[AtStep], expected: int | None
) -> None:
    found = history.unfinished_move(in_runs(*steps))
    assert (found and found.version) == expected


@pytest.mark.parametrize(
    ("steps", "live", "expected"),
    [
        ([(PROMOTED, 1, "a")], 1, None),
        ([(PROMOTED, 1, "a"), (STARTED, 2, "b")], 2, 2),
        ([(PROMOTED, 1, "a"), (BACK_STARTED, 2, "b")], 2, 2),
        # Its alias was not moved yet, or somebody moved it elsewhere since.
        ([(PROMOTED, 1, "a"), (STARTED, 2, "b")], 1, None),
        ([(PROMOTED, 1, "a"), (STARTED, 2, "b")], 3, None),
        ([(PROMOTED, 1, "a"), (STARTED, 2, "b")], None, None),
        ([(PROMOTED, 1, "a"), (STARTED, 1, "b")], 1, None),
    ],
)
def test_a_move_is_stopped_where_its_alias_moved_and_nothing_says_so(
    steps: list[AtStep], live: int | None, expected: int | None
) -> None:
    found = history.stopped_move(in_runs(*steps), live)
    assert (found and found.version) == expected


@pytest.mark.parametrize(
    ("steps", "place"),
    [
        ([], None),
        ([(PROMOTED, 1, None)], None),
        ([(PROMOTED, 1, None), (OUTSIDE, 2, 1)], 2),
        ([(OUTSIDE, None, 1)], 1),
        ([(OUTSIDE, 2, 1), (OUTSIDE, 3, 1)], 2),
        ([(OUTSIDE, 2, 1), (REVERTED, 1, 2)], None),
        ([(OUTSIDE, 2, 1), (ACCEPTED, 2, 1)], None),
        ([(OUTSIDE, 2, 1), (EventKind.ACCEPTANCE_GIVEN, 2, None), (REFUSED, 3, 1)], 1),
        ([(OUTSIDE, 2, 1), (REVERTED, 1, 2), (OUTSIDE, None, 1)], 3),
    ],
)
def test_a_move_outside_waits_until_it_is_settled(steps: list[Step], place: int | None) -> None:
    events = moves(*steps)
    assert history.outside_move(events) == (None if place is None else events[place - 1])


def test_a_version_is_registered_by_the_first_event_that_holds_its_manifest() -> None:
    events = [
        event(1, REGISTERED, 1),
        event(2, REGISTERED, 2, manifest=[]),
        event(3, REGISTERED, 1, manifest=[]),
        event(4, ACCEPTED, 1, manifest=["another"]),
        event(5, ACCEPTED, 3, manifest=[]),
        event(6, ACCEPTED, 4),
        event(7, NOMINATED, 5, manifest=[]),
    ]
    found = {version: history.registration(events, version) for version in range(1, 7)}
    assert {version: item.seq for version, item in found.items() if item} == {1: 3, 2: 2, 3: 5}


@st.composite
def lives(draw: st.DrawFn) -> Sequence[Event]:
    """Any sequence of moves, nominations and decisions, also those that no step would write."""
    version, run = st.integers(1, 4), st.sampled_from(["a", "b", "c"])
    kinds = st.sampled_from([PROMOTED, ROLLED_BACK, ACCEPTED, NOMINATED, REJECTED, APPROVED, OUTSIDE])
    events = []
    for seq, kind in enumerate(draw(st.lists(kinds, max_size=12)), start=1):
        to = draw(st.none() | version) if kind in (ACCEPTED, OUTSIDE) else draw(version)
        current = history.champion(events)
        away = draw(st.just(current) | st.none() | version)
        events.append(event(seq, kind, to, away, run=draw(run)))
    return events


@given(lives())
def test_the_folds_agree_with_each_other(events: Sequence[Event]) -> None:
    champion, former = history.champion(events), history.former_champions(events)
    aliases = history.aliases(events)
    away = {version for version in range(1, 5) if history.rolled_away(events, version)}
    were = {item.version for item in events if item.event in CHAMPION_MOVES}
    assert champion not in former
    assert len(set(former)) == len(former)
    assert not set(former) & set(away)
    assert champion not in away
    assert set(former) <= were
    # Whoever was champion is it still, can be gone back to, or was rolled away from.
    assert were - {None} <= {champion, *former, *away}
    assert len(set(aliases.values())) == len(aliases) or aliases[Alias.CANDIDATE] in former
    if Alias.CANDIDATE in aliases:
        assert aliases[Alias.CANDIDATE] != champion
    for version in range(1, 5):
        stage = history.lifecycle_stage(events, version)
        assert (stage == "Production") == (version == champion)
        assert (stage == "Staging") == (version == aliases.get(Alias.CANDIDATE))


def test_an_adopted_champion_brings_the_one_before_along_and_ends_a_freeze() -> None:
    adopted = moves((OUTSIDE, 3, None), (EventKind.CHAMPION_ADOPTED, 3, 2))
    assert history.champion(adopted) == 3
    assert history.former_champions(adopted) == [2]
    assert history.was_champion(adopted, 2)
    assert history.outside_move(adopted) is None
    assert history.lifecycle_stage(adopted, 2) == "Archived"
    # Rolled away from, the version before is no way back any more.
    back = moves((EventKind.CHAMPION_ADOPTED, 3, 2), (ROLLED_BACK, 2, 3))
    assert history.former_champions(back) == []


def test_a_model_is_foreign_until_podium_sets_an_alias_of_it() -> None:
    assert history.is_foreign(moves((OUTSIDE, 3, None), (EventKind.ADOPTED, 1, None), (REGISTERED, 4, None)))
    for kind in (NOMINATED, *CHAMPION_MOVES):
        assert not history.is_foreign(moves((OUTSIDE, 3, None), (kind, 3, None)))
