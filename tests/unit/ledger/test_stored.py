"""Rows of the ledger as texts are judged as the events that they are, only faster."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podium.errors import Outage
from podium.ledger import stored
from podium.ledger.chain import walk
from podium.ledger.events import FIRST_PREVIOUS_HASH, Event, EventKind, NewEvent, canonical_text, event_hash
from podium.ledger.store import Ledger
from podium.ledger.stored import StoredEvent
from podium.stack.layout import Layout
from support.database import as_superuser

# Also what orjson refuses or rounds: long numbers, halves of pairs of surrogates.
TEXTS = st.text(st.characters(), max_size=8) | st.sampled_from(["ä €", "\ud800", '"\\', "\u007f\u2028", "😀"])
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
EVENTS = st.builds(
    Event,
    seq=st.integers(1, 2**63 - 1),
    at=st.datetimes(datetime(2001, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)),
    event=st.sampled_from(EventKind),
    model=st.just("toy"),
    version=st.none() | st.integers(1, 2**31),
    from_version=st.none() | st.integers(1, 2**31),
    actor=TEXTS,
    reason=TEXTS,
    run=st.none() | TEXTS,
    key=st.none() | TEXTS,
    details=st.dictionaries(TEXTS, VALUES, max_size=4),
    previous_hash=st.just(FIRST_PREVIOUS_HASH),
    hash=st.just(""),
)


def new_model() -> str:
    return f"stored-{uuid.uuid4().hex[:8]}"


def hashed(event: Event) -> Event:
    return replace(event, hash=event_hash(event.as_json()))


def row_of(event: Event, **changes: Any) -> StoredEvent:
    """The row of an event: details have their own order of keys, and spaces."""
    row = {
        **vars(event),
        "at": event.at.isoformat(timespec="microseconds"),
        "event": str(event.event),
        "details": json.dumps(backwards(event.details)),
        "canonical": canonical_text(event.as_json()),
    }
    return StoredEvent(**{**row, **changes})


def backwards(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: backwards(inner) for key, inner in reversed(value.items())}
    return [backwards(inner) for inner in value] if isinstance(value, list) else value


@given(EVENTS)
def test_what_was_recorded_is_whole(event: Event) -> None:
    row = row_of(hashed(event))
    assert row.problem() is None
    assert row._replace(canonical=None).problem() is None
    assert row.as_event() == hashed(event)


@given(EVENTS, st.data())
def test_a_change_of_any_column_is_found(event: Event, data: st.DataObject) -> None:
    row = row_of(hashed(event))
    column = data.draw(
        st.sampled_from([name for name in StoredEvent._fields if name not in ("canonical", "details")])
    )
    changed = row._replace(**{column: another(getattr(row, column))})
    assert changed.problem() == f"event {changed.seq} was changed: its hash does not match its content"


def another(value: Any) -> Any:
    if value is None:
        return "1"
    if isinstance(value, int):
        return value + 1
    if value.endswith("+00:00"):
        return (datetime.fromisoformat(value) + timedelta(microseconds=1)).isoformat(timespec="microseconds")
    return f"{value}x"


@pytest.mark.parametrize(
    ("recorded", "edited"),
    [
        ({"a": 1}, '{"a":true}'),
        ({"a": 1}, '{"a":1.0}'),
        ({"a": True}, '{"a":1}'),
        ({"a": 0.1}, '{"a":0.1000000000000001}'),
        ({"a": 10**30}, f'{{"a":{10**30 + 1}}}'),
        ({"a": 2**53 + 1}, f'{{"a":{2**53}.0}}'),
        ({"a": ""}, '{"a":null}'),
        ({"a": {"b": []}}, '{"a":{"b":{}}}'),
        ({"a": 1}, '{"a":1,"b":1}'),
        ({"a": 1}, '{"a":1,"a":2}'),
        ({}, '{"":""}'),
    ],
)
def test_a_change_of_the_details_is_found_however_small(recorded: dict[str, Any], edited: str) -> None:
    event = hashed(replace(BARE, details=recorded))
    assert "was changed" in str(row_of(event, details=edited).problem())


def test_another_text_than_the_one_that_was_hashed_is_found() -> None:
    event = hashed(BARE)
    text = canonical_text(event.as_json())
    for other in (text.replace("toy", "boy"), f"{text} ", text.replace('"details":{}', '"details":{ }'), ""):
        assert row_of(event, canonical=other).problem() == "the text of event 1 does not match its hash"


def test_the_ledgers_rows_are_its_events(ledger: Ledger) -> None:
    model = new_model()
    odd = {"b": 1e-7, "a": [None, {"d": 10**30, "c": "ä €"}]}
    for number in range(3):
        ledger.append(NewEvent(EventKind.REGISTERED, model, number + 1, reason="päärs", details=odd))
    rows, events = list(ledger.stored()), list(ledger.record())
    assert [row.as_event() for row in rows] == events
    assert walk(rows) == walk(events)
    assert (walk(rows).difference, walk(rows).events, ledger.size()) == (None, len(rows), rows[-1].seq)
    assert walk([rows[1], rows[0]]).difference == walk([events[1], events[0]]).difference


BARE = Event(
    1, datetime(2026, 1, 1, tzinfo=UTC), EventKind.REGISTERED, "toy", 1, None, "podium", "", None, None, {},
    FIRST_PREVIOUS_HASH, "",
)  # fmt: skip


def test_a_ledger_that_is_lost_while_its_rows_are_read_is_an_outage(
    ledger: Ledger, layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = new_model()
    for number in range(5):
        ledger.append(NewEvent(EventKind.REGISTERED, model, number + 1))
    monkeypatch.setattr(stored, "_AT_ONCE", 2)
    end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'FETCH%stored_events%'"
    read: list[int] = []
    with pytest.raises(Outage, match="did not answer"):  # noqa: PT012 - the connection ends meanwhile
        for row in ledger.stored():
            read.append(row.seq)
            assert as_superuser(layout, end) or len(read) > 1
    assert len(read) == 2
