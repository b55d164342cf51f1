"""Any change of the record is found, and where; the registry is a witness of its end."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from podium.errors import PodiumError
from podium.ledger.chain import Chain, read_export, walk
from podium.ledger.events import FIRST_PREVIOUS_HASH, Event, EventKind, NewEvent, event_hash
from podium.ledger.store import Ledger
from podium.lifecycle.registry_sync import mirror
from podium.lifecycle.verify import alias_differences, models_to_compare, told_heads
from podium.model_file.spec import ModelSpec
from podium.names import Alias, Tag
from podium.services import Services
from podium.stack.layout import Layout
from support.database import execute
from support.steps import FIRST, SECOND, new_run, nominate_unjudged, promote_as_of, register, roll_back

PROMOTED, ROLLED_BACK = EventKind.PROMOTED, EventKind.ROLLED_BACK
BARE = Event(
    seq=0,
    at=FIRST,
    event=PROMOTED,
    model="toy",
    version=1,
    from_version=None,
    actor="amy",
    reason="päärs ≠ apples, \ud800",
    run="d/r",
    key=None,
    details={"loss": 0.1, "small": 1e-07, "many": [1, None, True, {"x": "\0"}]},
    previous_hash="",
    hash="",
)


@pytest.fixture
def lived(own_services: Services, toy_spec: ModelSpec) -> Services:
    """A ledger of its own and a model with five events: two registered, both promoted, one rolled back."""
    name = toy_spec.name
    register(own_services, toy_spec, FIRST, new_run())
    register(own_services, toy_spec, SECOND, new_run())
    for kind, version, former in ((PROMOTED, 1, None), (PROMOTED, 2, 1), (ROLLED_BACK, 1, 2)):
        own_services.ledger.append(NewEvent(kind, name, version, former, actor="amy", reason="good enough"))
        own_services.registry.set_alias(name, Alias.CHAMPION, version)
    mirror(own_services, name)
    return own_services


@pytest.fixture
def events() -> list[Event]:
    """A chain of nine events."""
    return chained([replace(BARE, seq=seq) for seq in range(1, 10)])


@pytest.fixture
def owner_url(layout: Layout, empty_database: str) -> str:
    return layout.database_url("ledger_owner", empty_database)


def walk_with_heads(services: Services, events: Sequence[Event] | None = None) -> Chain:
    heads = told_heads(services, services.ledger.models())
    return walk(services.ledger.record() if events is None else events, heads)


def chained(events: Sequence[Event]) -> list[Event]:
    """The events with a chain that fits, as somebody who knows how would forge it."""
    previous, forged = FIRST_PREVIOUS_HASH, []
    for event in events:
        linked = replace(event, previous_hash=previous)
        forged.append(replace(linked, hash=event_hash(linked.as_json())))
        previous = forged[-1].hash
    return forged


def test_an_empty_ledger_is_whole(own_ledger: Ledger) -> None:
    assert walk(own_ledger.record()) == Chain(0, FIRST_PREVIOUS_HASH, None)


def test_what_a_model_has_lived_through_is_whole(own_services: Services, toy_spec: ModelSpec) -> None:
    promote_as_of(own_services, toy_spec, FIRST)
    promote_as_of(own_services, toy_spec, SECOND)
    roll_back(own_services, toy_spec)
    events = list(own_services.ledger.record())
    assert len(events) == 18
    assert walk_with_heads(own_services) == Chain(18, events[-1].hash, None)
    assert list(told_heads(own_services, [toy_spec.name])) == [(toy_spec.name, 18, events[-1].hash)]
    assert alias_differences(own_services, toy_spec.name) == []


def another(value: Any) -> Any:
    """Something else of the same kind, as little changed as can be."""
    if value is None:
        return 1
    if isinstance(value, EventKind):
        return EventKind.MOVED_OUTSIDE
    if isinstance(value, str):
        return f"{value} " if len(value) != 64 else value[:-1] + ("0" if value[-1] != "0" else "1")
    if isinstance(value, int):
        return value + 1
    if isinstance(value, dict):
        return {**value, "more": None}
    return value + timedelta(microseconds=1)


def test_a_change_of_any_column_of_any_event_is_found_at_that_event(lived: Services) -> None:
    events = list(lived.ledger.record())
    for place, event in enumerate(events):
        for column in vars(event):
            changed = replace(event, **{column: another(getattr(event, column))})
            chain = walk([*events[:place], changed, *events[place + 1 :]])
            assert chain.events == place
            assert chain.difference == (
                f"event {changed.seq} was changed: its hash does not match its content"
            )


@pytest.mark.parametrize("place", [0, 4, 7])
def test_a_change_with_a_hash_that_fits_is_found_at_the_next_event(events: list[Event], place: int) -> None:
    changed = replace(events[place], reason="forged")
    events[place] = replace(changed, hash=event_hash(changed.as_json()))
    seq = place + 1
    assert walk(events).difference == (
        f"event {seq + 1} does not follow event {seq}: something between them was removed or changed"
    )


@pytest.mark.parametrize(
    ("place", "where"), [(0, "event 2 does not follow the beginning"), (7, "event 9 does not follow event 7")]
)
def test_an_event_that_was_removed_is_missed(events: list[Event], place: int, where: str) -> None:
    del events[place]
    chain = walk(events)
    assert (chain.events, chain.difference) == (
        place,
        f"{where}: something between them was removed or changed",
    )


def test_two_events_that_changed_places_are_found(events: list[Event]) -> None:
    events[4], events[5] = events[5], events[4]
    assert str(walk(events).difference).startswith("event 6 does not follow event 4")


def test_an_event_that_stands_twice_is_found(events: list[Event]) -> None:
    assert str(walk([*events[:5], *events[4:]]).difference).startswith("event 5 does not follow event 5")


def test_an_event_that_is_dated_before_the_one_before_is_found(events: list[Event]) -> None:
    events[5] = replace(events[5], at=events[4].at - timedelta(seconds=1))
    assert walk(chained(events)).difference == "event 6 is dated before event 5"


def test_an_end_that_was_cut_off_is_missed_by_what_the_registry_was_told(
    lived: Services, toy_spec: ModelSpec
) -> None:
    events = list(lived.ledger.record())[:-1]
    assert walk(events).difference is None
    chain = walk_with_heads(lived, events)
    assert (chain.events, chain.head) == (4, events[-1].hash)
    assert chain.difference == (
        f"event 5 is not in the ledger, although MLflow has it on record for {toy_spec.name}"
    )
    assert "is not in the ledger" in str(walk_with_heads(lived, []).difference)


def test_a_chain_that_was_forged_from_a_change_on_is_found_by_what_the_registry_was_told(
    lived: Services, toy_spec: ModelSpec
) -> None:
    events = list(lived.ledger.record())
    events[1] = replace(events[1], actor="eve")
    forged = chained(events)
    assert walk(forged).difference is None
    told = f"event 5 is not the one that MLflow has on record for {toy_spec.name}"
    assert walk_with_heads(lived, forged).difference == told


def test_events_after_what_the_registry_was_told_are_no_difference(
    lived: Services, toy_spec: ModelSpec
) -> None:
    lived.ledger.append(NewEvent(EventKind.REGISTERED, toy_spec.name, 9))
    lived.ledger.append(NewEvent(EventKind.REGISTERED, "never-mirrored", 1))
    assert walk_with_heads(lived).difference is None


def test_each_models_own_head_counts(lived: Services, toy_spec: ModelSpec) -> None:
    other = toy_spec.model_copy(update={"name": f"{toy_spec.name}-b"})
    register(lived, other, FIRST, new_run())
    promote_as_of(lived, other, SECOND)
    told = dict.fromkeys([toy_spec.name, other.name], "")
    assert [model for model, _, _ in told_heads(lived, told)] == [toy_spec.name, other.name]
    events = list(lived.ledger.record())
    assert walk_with_heads(lived, events).difference is None
    assert f"event 5 is not the one that MLflow has on record for {toy_spec.name}" == (
        walk_with_heads(lived, chained([replace(events[0], actor="eve"), *events[1:]])).difference
    )
    lived.registry.set_model_tag(other.name, Tag.LEDGER_HEAD, "not a head")
    assert [model for model, _, _ in told_heads(lived, told)] == [toy_spec.name]


def test_the_walk_goes_on_behind_what_is_wrong(events: list[Event]) -> None:
    events[2] = replace(events[2], actor="eve")
    events[5] = replace(events[5], reason="forged")
    del events[7]
    chain = walk(events, [("toy", 20, "f" * 64)])
    assert (chain.events, chain.head) == (2, events[1].hash)
    assert chain.differences == [
        "event 3 was changed: its hash does not match its content",
        "event 6 was changed: its hash does not match its content",
        "event 9 does not follow event 7: something between them was removed or changed",
        "event 20 is not in the ledger, although MLflow has it on record for toy",
    ]


CHANGES = {
    "UPDATE ledger_events SET reason = reason || ' ' WHERE seq = 3": "event 3 was changed",
    "UPDATE ledger_events SET actor = 'eve' WHERE seq = 5": "event 5 was changed",
    "UPDATE ledger_events SET version = NULL WHERE seq = 1": "event 1 was changed",
    "UPDATE ledger_events SET at = at + interval '1 us' WHERE seq = 3": "event 3 was changed",
    "UPDATE ledger_events SET details = '{}' WHERE seq = 2": "event 2 was changed",
    "UPDATE ledger_events SET details = '3' WHERE seq = 2": "event 2 was changed",
    "UPDATE ledger_events SET key = 'x' WHERE seq = 4": "event 4 was changed",
    "UPDATE ledger_events SET seq = 99 WHERE seq = 5": "event 99 was changed",
    "DELETE FROM ledger_events WHERE seq = 4": "event 5 does not follow event 3",
    "DELETE FROM ledger_events WHERE seq = 5": "event 5 is not in the ledger, although MLflow has it",
}


def test_a_change_in_the_database_by_its_owner_is_found(lived: Services, owner_url: str) -> None:
    execute(owner_url, "CREATE TABLE kept AS TABLE ledger_events")
    for statement, found in CHANGES.items():
        execute(owner_url, statement)
        assert str(walk_with_heads(lived).difference).startswith(found), statement
        execute(owner_url, "TRUNCATE ledger_events; INSERT INTO ledger_events SELECT * FROM kept")
    assert walk_with_heads(lived).difference is None


def test_a_ledger_that_was_emptied_does_not_even_know_its_models(
    lived: Services, toy_spec: ModelSpec, owner_url: str
) -> None:
    execute(owner_url, "TRUNCATE ledger_events")
    heads = told_heads(lived, [toy_spec.name])
    assert "event 5 is not in the ledger, although" in str(walk(lived.ledger.record(), heads).difference)


def test_aliases_that_were_moved_by_hand_are_found(lived: Services, toy_spec: ModelSpec) -> None:
    name = toy_spec.name
    lived.registry.set_alias(name, Alias.CHAMPION, 2)
    lived.registry.set_alias(name, Alias.CANDIDATE, 1)
    assert alias_differences(lived, name) == [
        f"{name}: alias champion is v2, the ledger says v1",
        f"{name}: alias candidate is v1, the ledger says none",
    ]
    lived.registry.delete_alias(name, Alias.CHAMPION)
    lived.registry.delete_alias(name, Alias.CANDIDATE)
    assert alias_differences(lived, name) == [f"{name}: alias champion is none, the ledger says v1"]


def test_a_champion_that_was_set_by_hand_is_found_where_the_ledger_knows_nothing(
    own_services: Services, toy_spec: ModelSpec, owner_url: str
) -> None:
    name = toy_spec.name
    register(own_services, toy_spec, FIRST, new_run())
    execute(owner_url, "TRUNCATE ledger_events")
    assert models_to_compare(own_services, []) == []
    assert models_to_compare(own_services, [name]) == [name]
    own_services.registry.set_alias(name, Alias.CHAMPION, 1)
    assert models_to_compare(own_services, []) == [name]
    assert alias_differences(own_services, name) == [f"{name}: alias champion is v1, the ledger says none"]


@pytest.mark.parametrize("odd", ["somebody's", 'the "best"', "50% \\ off"])
def test_a_champion_of_a_model_with_any_name_is_found(
    own_services: Services, toy_spec: ModelSpec, odd: str
) -> None:
    name = f"{odd} {toy_spec.name}"
    run = own_services.registry.version(
        toy_spec.name, register(own_services, toy_spec, FIRST, new_run())
    ).run_id
    own_services.registry.add_version(name, run, {})
    own_services.registry.set_alias(name, Alias.CHAMPION, 1)
    assert name in models_to_compare(own_services, [])
    assert alias_differences(own_services, name) == [f"{name}: alias champion is v1, the ledger says none"]
    assert (own_services.registry.exists(name), own_services.registry.champion(name)) == (True, 1)
    assert [version.number for version in own_services.registry.versions(name)] == [1]


def test_an_event_of_an_unknown_kind_stops_no_reader_of_a_history(
    lived: Services, toy_spec: ModelSpec, owner_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    execute(owner_url, "UPDATE ledger_events SET event = 'zzz' WHERE seq = 2")
    assert [event.seq for event in lived.ledger.history(toy_spec.name)] == [1, 3, 4, 5]
    assert "event 2 has the kind 'zzz', which this version of Podium does not know" in caplog.text
    mirror(lived, toy_spec.name)


def test_a_move_that_is_being_made_is_explained(lived: Services, toy_spec: ModelSpec) -> None:
    run = new_run()
    nominate_unjudged(lived, toy_spec, SECOND, run)
    lived.ledger.append(NewEvent(EventKind.PROMOTION_STARTED, toy_spec.name, 2, 1, run=run))
    lived.registry.set_alias(toy_spec.name, Alias.CHAMPION, 2)
    (said,) = alias_differences(lived, toy_spec.name)
    assert said.endswith(
        f"the ledger says v1 (run {run} was stopped while moving it; its retry or reconcile finishes that)"
    )


def write_export(path: Path, events: Sequence[Event]) -> Path:
    path.write_text("".join(json.dumps(event.as_json()) + "\n" for event in events))
    return path


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small export with all that a line can hold."""
    events = chained([replace(BARE, seq=seq) for seq in (1, 2, 3)])
    return write_export(tmp_path_factory.mktemp("exported") / "record.jsonl", events)


def test_an_export_is_read_back_as_it_was(lived: Services, tmp_path: Path) -> None:
    events = list(lived.ledger.record())
    path = write_export(tmp_path / "record.jsonl", events)
    assert list(read_export(path)) == events
    assert walk(read_export(path)) == walk(events)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_flipped_bit_of_an_export_is_found_and_where(
    exported: Path, tmp_path: Path, data: st.DataObject
) -> None:
    whole = exported.read_bytes()
    place = data.draw(st.integers(0, len(whole) - 1))
    bit = data.draw(st.integers(0, 7))
    path = tmp_path / "flipped.jsonl"
    path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << bit]) + whole[place + 1 :])
    line = whole[:place].count(b"\n") + 1
    try:
        chain = walk(read_export(path))
    except PodiumError as error:
        told = str(error)
    else:
        told = ""
    if told:
        assert told.startswith(f"{path}, line {line}: ")
    elif chain.difference is None:
        # Another way to write the same, such as a capital letter in an escape: nothing says otherwise now.
        assert list(read_export(path)) == list(read_export(exported))
    else:
        assert chain.events == line - 1


@pytest.mark.parametrize(
    "line",
    [
        b"no JSON",
        b"",
        b"[]",
        b"3",
        b"{}",
        b"null",
        b"\xff\xfe",
        b'{"seq": 2',
        b'{"details": ' + b"[" * 100_000,
    ],
    ids=lambda line: line[:20],
)
def test_a_line_that_is_no_event_is_named(exported: Path, tmp_path: Path, line: bytes) -> None:
    first, _, third = exported.read_bytes().splitlines()
    path = tmp_path / "broken.jsonl"
    path.write_bytes(b"\n".join([first, line, third]))
    with pytest.raises(PodiumError, match=r"broken\.jsonl, line 2: "):
        list(read_export(path))


def test_a_number_that_json_does_not_have_is_named(exported: Path, tmp_path: Path) -> None:
    for number in ("NaN", "1e999", "-Infinity"):
        path = tmp_path / "odd.jsonl"
        path.write_text(exported.read_text().replace("0.1", number, 1))
        with pytest.raises(PodiumError, match=r"odd\.jsonl, line 1: not an event of the ledger"):
            list(read_export(path))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(PodiumError, match=r"nothing\.jsonl cannot be read"):
        list(read_export(tmp_path / "nothing.jsonl"))
