from __future__ import annotations

import json
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import make_url
from sqlalchemy.event import listen

from podium.errors import Outage, PodiumError
from podium.ledger import store as ledger_module
from podium.ledger.chain import Chain, walk
from podium.ledger.events import FIRST_PREVIOUS_HASH, Event, EventKind, NewEvent, event_hash
from podium.ledger.store import Ledger, migrate
from podium.stack.layout import Layout
from support.database import as_superuser, execute
from support.old_ledger import migrate_to
from support.patience import PATIENCE_SECONDS

PROMOTED = EventKind.PROMOTED
few_writes = settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
# All that Python's JSON can write: lone surrogates and NUL in texts, numbers of any size; no NaN.
texts = st.text(st.characters(exclude_categories=()))
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(texts, inside, max_size=3),
    max_leaves=8,
)


@pytest.fixture
def model() -> str:
    return f"model-{uuid.uuid4().hex[:8]}"


def assert_chained(events: list[Event]) -> None:
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert events[0].previous_hash == FIRST_PREVIOUS_HASH
    assert all(later.previous_hash == earlier.hash for earlier, later in pairwise(events))
    assert all(later.at >= earlier.at for earlier, later in pairwise(events))
    assert all(event.hash == event_hash(event.as_json()) for event in events)


def test_events_come_back_in_order_as_they_were_written(ledger: Ledger, model: str) -> None:
    new = NewEvent(
        EventKind.REJECTED, model, 2, 1, actor="amy", reason="päärs ≠ apples", run="d/r", details={"a": [1]}
    )
    written = [ledger.append(NewEvent(EventKind.REGISTERED, model, 2)), ledger.append(new)]
    first, second = ledger.history(model)
    assert [first, second] == written
    assert (first.event, second.event) == (EventKind.REGISTERED, EventKind.REJECTED)
    assert first.seq < second.seq
    assert (second.actor, second.reason, second.details) == ("amy", "päärs ≠ apples", {"a": [1]})
    assert model in ledger.models()


def test_a_keyed_event_is_written_once_also_by_many_at_once(ledger: Ledger, model: str) -> None:
    def write(number: int) -> Event:
        return ledger.append(NewEvent(EventKind.APPROVED, model, number, key=f"decision:{model}"))

    with ThreadPoolExecutor(8) as pool:
        written = list(pool.map(write, range(16)))
    assert len({event.seq for event in written}) == 1
    assert len(ledger.history(model)) == 1


def test_many_at_once_leave_no_gap_and_no_fork(ledger: Ledger, model: str) -> None:
    together = threading.Barrier(16)

    def write(number: int) -> None:
        together.wait()
        for turn in range(3):
            ledger.append(NewEvent(EventKind.REGISTERED, model, number))
            ledger.append(NewEvent(EventKind.APPROVED, model, number, key=f"{model}:{turn}"))

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(write, range(16)))
    assert len(ledger.history(model)) == 16 * 3 + 3
    assert_chained(list(ledger.record()))


@few_writes
@given(details=st.dictionaries(texts, json_values, max_size=4), reason=texts, actor=texts)
@example(details={"floats": [1e-7, 1e16, 0.1, 1e300, 5e-324, -0.0]}, reason="", actor="")
@example(details={"ints": [0, -1, 2**53 + 1, 10**40]}, reason="a\nb", actor="ämy")
@example(details={"nested": {"a": [{"b": [None, True, {}]}, []]}}, reason="NUL \0", actor="\0")
@example(details={"": "\0", "\ud800": "\udfff \U0001f600"}, reason="lone \ud800", actor="\udfff")
def test_whatever_json_holds_comes_back_as_written_and_stays_in_the_chain(
    ledger: Ledger, details: dict[str, Any], reason: str, actor: str
) -> None:
    model = f"model-{uuid.uuid4().hex}"
    written = ledger.append(
        NewEvent(EventKind.REGISTERED, model, details=details, reason=reason, actor=actor)
    )
    (read,) = ledger.history(model)
    assert read == written
    # Compared as JSON: 1 == 1.0 == True in Python, but they are not the same record.
    assert json.dumps(read.details) == json.dumps(details)
    assert read.hash == event_hash(read.as_json())
    assert Event.from_json(json.loads(json.dumps(read.as_json()))) == read
    for stored, given_text in ((read.reason, reason), (read.actor, actor)):
        assert len(stored) == len(given_text)
        assert all(
            one == other or other == "\0" or "\ud800" <= other <= "\udfff"
            for one, other in zip(stored, given_text, strict=True)
        )


def test_details_that_are_no_json_are_refused_before_they_are_written(ledger: Ledger, model: str) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        ledger.append(NewEvent(EventKind.REGISTERED, model, details={"loss": float("nan")}))
    assert ledger.history(model) == []


@pytest.mark.parametrize(
    "change",
    [
        {"at": "yesterday"},
        {"at": "2026-01-01T00:00:00"},
        {"at": "2026-01-01 00:00:00+00:00"},
        {"at": "2026-01-01T01:00:00+01:00"},
        {"at": 5},
        {"event": 5},
        {"more": 1},
        {"details": {"loss": float("nan")}},
    ],
    ids=str,
)
def test_what_is_no_event_is_refused(ledger: Ledger, model: str, change: dict[str, Any]) -> None:
    whole = ledger.append(NewEvent(EventKind.REGISTERED, model)).as_json()
    with pytest.raises(PodiumError, match="not an event of the ledger"):
        Event.from_json({**whole, **change})
    del whole["actor"]
    with pytest.raises(PodiumError, match="not an event of the ledger.*actor"):
        Event.from_json(whole)


def test_an_event_of_a_newer_podium_stops_no_reader(
    layout: Layout, own_ledger: Ledger, empty_database: str, model: str
) -> None:
    execute(
        layout.database_url("ledger_owner", empty_database),
        "INSERT INTO event_kinds VALUES ('invented_later')",
    )
    first = own_ledger.append(NewEvent(EventKind.REGISTERED, model, 1))
    retired = own_ledger.append(NewEvent(EventKind("invented_later"), model, 1, key=f"retired:{model}"))
    last = own_ledger.append(NewEvent(PROMOTED, model, 1))
    events = list(own_ledger.record())
    assert events == [first, retired, last]
    assert own_ledger.find(f"retired:{model}") == retired
    assert (
        own_ledger.append(NewEvent(EventKind("invented_later"), model, 1, key=f"retired:{model}")) == retired
    )
    assert own_ledger.history(model) == [first, last]
    assert Event.from_json(json.loads(json.dumps(retired.as_json()))) == retired
    assert (retired.event, retired.event.is_known, last.event.is_known) == ("invented_later", False, True)
    chain = walk(events)
    assert replace(chain, unknown=()) == Chain(3, last.hash, None)
    assert [said.partition(":")[0] for said in chain.unknown] == [
        f"event 2 of {model} has the kind 'invented_later', which this version of Podium does not know"
    ]


def test_a_kind_that_no_podium_knows_is_not_recorded(own_ledger: Ledger, model: str) -> None:
    with pytest.raises(PodiumError, match="it is of no known kind"):
        own_ledger.append(NewEvent(EventKind("zzz"), model, 1))


def test_a_move_is_recorded_only_after_the_move_that_it_was_compared_with(ledger: Ledger, model: str) -> None:
    first = ledger.append_move(NewEvent(PROMOTED, model, 1, key=f"{model}:1"), after=None)
    with pytest.raises(Outage, match=f"{model}: another move of the champion was recorded meanwhile"):
        ledger.append_move(NewEvent(PROMOTED, model, 2, key=f"{model}:2"), after=None)
    ledger.append(NewEvent(EventKind.REGISTERED, model, 3))
    second = ledger.append_move(NewEvent(EventKind.ROLLED_BACK, model, 3, 1), after=first)
    with pytest.raises(Outage):
        ledger.append_move(NewEvent(EventKind.OUTSIDE_MOVE_ACCEPTED, model, 4), after=first)
    assert [event.version for event in ledger.history(model)] == [1, 3, 3]
    # Run again, it is the first one still, whatever came after it.
    assert ledger.append_move(NewEvent(PROMOTED, model, 1, key=f"{model}:1"), after=None) == first
    assert ledger.append_move(NewEvent(PROMOTED, model, 1, key=f"{model}:1"), after=second) == first


def test_moves_of_another_model_do_not_matter(ledger: Ledger, model: str) -> None:
    ledger.append_move(NewEvent(PROMOTED, f"{model}-other", 1), after=None)
    assert ledger.append_move(NewEvent(PROMOTED, model, 1), after=None).version == 1


def test_of_two_moves_at_once_exactly_one_is_recorded(ledger: Ledger, model: str) -> None:
    first = ledger.append_move(NewEvent(PROMOTED, model, 1), after=None)
    together = threading.Barrier(2)

    def move(version: int) -> bool:
        together.wait()
        try:
            ledger.append_move(NewEvent(PROMOTED, model, version, 1, key=f"{model}:{version}"), after=first)
        except Outage:
            return False
        return True

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(move, (2, 3))) == [False, True]
    assert len(ledger.history(model)) == 2


def test_history_until_a_moment(ledger: Ledger, model: str) -> None:
    first = ledger.append(NewEvent(EventKind.REGISTERED, model, 1))
    ledger.append(NewEvent(EventKind.REGISTERED, model, 2))
    assert [event.version for event in ledger.history(model, until=first.at)] == [1]
    assert ledger.history(model, until=first.at - timedelta(seconds=1)) == []


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
    with ledger.lock(model) as one, ledger.lock(f"{model}-other") as other:
        one.assert_held()
        other.assert_held()


def test_a_lock_that_was_lost_with_its_connection_is_noticed_and_free(
    ledger: Ledger, layout: Layout, model: str
) -> None:
    kill = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted"
    with ledger.lock(model) as lock:
        lock.assert_held()
        as_superuser(layout, kill)
        with ledger.lock(model) as taken:
            taken.assert_held()
            for _ in range(2):
                with pytest.raises(Outage):
                    lock.assert_held()


def test_a_lock_that_is_not_free_in_time_is_an_outage(
    ledger: Ledger, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_module, "LOCK_TIMEOUT_SECONDS", 0.1)
    with ledger.lock(model), pytest.raises(Outage, match="another process held the lock"), ledger.lock(model):
        pass


def test_a_lock_takes_over_an_open_connection_and_leaves_no_other_open(
    own_ledger: Ledger, model: str
) -> None:
    opened: list[Any] = []
    listen(own_ledger.engine, "connect", lambda connection, _: opened.append(connection))
    with own_ledger.engine.connect(), own_ledger.engine.connect():
        assert len(opened) == 2
    with own_ledger.lock(model) as lock:
        lock.assert_held()
        assert (len(opened), sum(not connection.closed for connection in opened)) == (2, 1)
    assert all(connection.closed for connection in opened)


def test_at_a_standstill_no_step_begins_and_nothing_is_recorded(
    ledger: Ledger, ledger_url: str, model: str
) -> None:
    done: list[str] = []

    def step() -> None:
        with Ledger(ledger_url).lock(model):
            done.append("a step")

    def append() -> None:
        Ledger(ledger_url).append(NewEvent(EventKind.REGISTERED, model, 1))
        done.append("an event")

    with ThreadPoolExecutor(2) as pool:
        with ledger.standstill():
            waiting = [pool.submit(step), pool.submit(append)]
            threading.Event().wait(0.3)
            assert done == []
        for future in waiting:
            future.result(timeout=PATIENCE_SECONDS)
    assert sorted(done) == ["a step", "an event"]


def test_who_waits_for_a_standstill_makes_nobody_wait_and_gives_up(
    ledger: Ledger, ledger_url: str, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_module, "STANDSTILL_WAIT_SECONDS", 0.5)

    def wait_for_it() -> None:
        with Ledger(ledger_url).standstill():
            raise AssertionError("a step was under way")

    with ThreadPoolExecutor(1) as pool, ledger.lock(model):
        waiting = pool.submit(wait_for_it)
        threading.Event().wait(0.2)
        with Ledger(ledger_url).lock(f"{model}-other") as other:
            other.assert_held()
            assert not waiting.done()
        with pytest.raises(Outage, match=r"no moment without a registration, promotion"):
            waiting.result(timeout=PATIENCE_SECONDS)


def test_a_standstill_that_was_lost_with_its_connection_is_noticed(ledger: Ledger, layout: Layout) -> None:
    kill = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted"
    with pytest.raises(Outage), ledger.standstill():
        as_superuser(layout, kill)


def test_a_ledger_that_cannot_be_reached_is_an_outage(ledger_url: str) -> None:
    nobody_there = make_url(ledger_url).set(port=1).render_as_string(hide_password=False)
    with pytest.raises(Outage, match="the ledger database did not answer"):
        Ledger(nobody_there).find("x")


def test_a_database_without_the_table_is_explained(ledger_url: str) -> None:
    with pytest.raises(PodiumError, match="does not have the expected tables"):
        Ledger(f"{ledger_url}?options=-csearch_path%3Dpg_catalog").find("x")


def test_migrating_again_changes_nothing(ledger: Ledger, layout: Layout, model: str) -> None:
    written = ledger.append(NewEvent(EventKind.REGISTERED, model, 1))
    migrate(layout.ledger_owner_url, app_role="podium", server_role="podium_server")
    assert ledger.history(model) == [written]


def test_the_events_of_an_earlier_version_are_chained_as_they_are(
    layout: Layout, empty_database: str
) -> None:
    owner = layout.database_url("ledger_owner", empty_database)
    migrate_to(owner, "0001")
    insert = (
        "INSERT INTO ledger_events (event, model, version, actor, reason, key, details) "
        "VALUES (%s, 'toy', %s, 'amy', %s, %s, %s)"
    )
    odd = {"small": 1e-7, "big": 1e16, "huge": 10**30, "of": [0.1, None, {"text": "ä €"}]}
    execute(owner, insert, "registered", 1, "trained as of 2025-06-01", "registered:toy:1", json.dumps(odd))
    execute(owner, insert, "promoted", 1, "päärs ≠ apples", None, "{}")
    # A transaction that was rolled back left a gap in the numbers.
    execute(owner, "SELECT nextval('ledger_events_seq_seq')")
    execute(owner, insert, "promoted", 2, "", None, "{}")
    before = execute(owner, "SELECT seq, at, event, version, actor, reason, key FROM ledger_events")

    for _ in range(2):
        migrate(owner, app_role="podium", server_role="podium_server")

    ledger = Ledger(layout.database_url("podium", empty_database))
    after = ledger.append(NewEvent(EventKind.REGISTERED, "toy", 3))
    events = list(ledger.record())
    chain = walk(events)
    assert (chain.difference, chain.events, chain.head) == (None, 4, after.hash)
    assert [
        (event.seq, event.at, event.event, event.version, event.actor, event.reason, event.key)
        for event in events[:3]
    ] == before
    assert [event.seq for event in events] == [1, 2, 4, 5]
    assert events[0].details == odd


def test_the_time_never_goes_back(ledger: Ledger, model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    first = ledger.append(NewEvent(EventKind.REGISTERED, model, 1))
    earlier = datetime(2001, 1, 1, tzinfo=UTC)
    monkeypatch.setattr(ledger_module.sa.func, "clock_timestamp", lambda: ledger_module.sa.literal(earlier))
    second = ledger.append(NewEvent(EventKind.REGISTERED, model, 2))
    assert second.at >= first.at


def test_the_url_with_its_password_is_in_no_message(ledger_url: str) -> None:
    secret = make_url(ledger_url).password
    assert secret
    wrong = make_url(ledger_url).set(database="nowhere").render_as_string(hide_password=False)
    with pytest.raises(Outage) as caught:
        Ledger(wrong).find("x")
    assert secret not in str(caught.value)


def test_the_newest_of_each_kind_are_read_of_many_models_at_once(ledger: Ledger, model: str) -> None:
    other = f"{model}-too"
    kinds = (EventKind.REGISTERED, EventKind.PROMOTED)
    for number in (1, 2, 3):
        for name in (model, other):
            for kind in (*kinds, EventKind.NOMINATED):
                ledger.append(NewEvent(kind, name, number, run=f"{name}/{number}"))
    found = ledger.newest([model, other, f"{model}-none"], kinds, each=2)
    assert {name: [(event.event, event.version) for event in events] for name, events in found.items()} == {
        name: [(kind, number) for number in (2, 3) for kind in kinds] for name in (model, other)
    } | {f"{model}-none": []}
    newest = ledger.newest([model], kinds)[model]
    assert [event.version for event in newest] == [3, 3]
    assert ledger.event(newest[0].seq) == newest[0]
    assert ledger.event(2**40) is None
    of_runs = ledger.of_runs([f"{model}/1", f"{other}/3", "nobody/s"])
    assert [(event.model, event.version) for event in of_runs] == [(model, 1)] * 3 + [(other, 3)] * 3
