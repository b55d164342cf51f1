"""Whoever stole the application's role can add to the record, but no row that stops those who read it."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg2.errors import CheckViolation

from podium.errors import PodiumError
from podium.ledger.chain import walk
from podium.ledger.events import FIRST_PREVIOUS_HASH, Event, EventKind, NewEvent, canonical_text, event_hash
from podium.ledger.live_answers import LiveAnswer, LiveStore, VersionOnTrial
from podium.ledger.store import Ledger, migrate
from podium.stack.layout import Layout, Paths, load_layout
from support.database import as_superuser, execute, postgres_state
from support.old_ledger import migrate_to

Row = dict[str, Any]


@pytest.fixture(scope="module")
def app_url(ledger_url: str) -> Iterator[str]:
    """A ledger for the application's role with two events; every test here leaves it whole."""
    layout = load_layout(Paths(postgres_state()))
    assert layout is not None
    as_superuser(layout, "CREATE DATABASE forged OWNER ledger_owner")
    migrate(layout.database_url("ledger_owner", "forged"), app_role="podium", server_role="podium_server")
    url = layout.database_url("podium", "forged")
    ledger = Ledger(url)
    ledger.append(NewEvent(EventKind.REGISTERED, "toy", 1, details={"rows": 3}))
    ledger.append(NewEvent(EventKind.PROMOTED, "toy", 1, actor="amy", reason="päärs 🍐"))
    yield url
    as_superuser(layout, "DROP DATABASE forged WITH (FORCE)")


@pytest.fixture(scope="module")
def server_url(app_url: str) -> str:
    """The same ledger for the role of model servers."""
    layout = load_layout(Paths(postgres_state()))
    assert layout is not None
    return layout.database_url("podium_server", "forged")


@pytest.fixture(scope="module")
def own_ledger(app_url: str) -> Ledger:
    return Ledger(app_url)


def next_event(ledger: Ledger, **changes: Any) -> Row:
    """The event that the application could append now, with what is changed in its columns."""
    newest = list(ledger.record())[-1]
    return {
        **newest.as_json(),
        "seq": newest.seq + 1,
        "at": datetime.now(UTC).isoformat(),
        "previous_hash": newest.hash,
        "key": None,
        **changes,
    }


def signed(row: Row) -> Row:
    """The same with the text and the hash that fit it, as somebody who knows how would forge it."""
    return {**row, "canonical": canonical_text(row), "hash": event_hash(row)}


def insert(url: str, table: str, row: Mapping[str, Any]) -> None:
    values = [json.dumps(value) if isinstance(value, dict | list) else value for value in row.values()]
    places = ", ".join(["%s"] * len(values))
    execute(url, f"INSERT INTO {table} ({', '.join(row)}) VALUES ({places})", *values)  # noqa: S608


def assert_goes_on(ledger: Ledger) -> None:
    before = len(list(ledger.record()))
    after = ledger.append(NewEvent(EventKind.REGISTERED, "other", 7))
    assert walk(ledger.record()).difference is None
    assert (after.seq, ledger.history("other")[-1]) == (before + 1, after)
    assert abs(after.at - datetime.now(UTC)) < timedelta(minutes=1)


def test_what_the_application_writes_is_taken_from_anybody_who_writes_it_so(
    own_ledger: Ledger, app_url: str
) -> None:
    insert(app_url, "ledger_events", signed(next_event(own_ledger, actor="eve")))
    assert own_ledger.history("toy")[-1].actor == "eve"
    assert_goes_on(own_ledger)


TOMORROW = (datetime.now(UTC) + timedelta(days=1)).isoformat()
# Each with the text and hash that fit it.
CONSISTENT: dict[str, Row] = {
    "an unknown kind": {"event": "zzz"},
    "no kind": {"event": ""},
    "the end of time": {"at": "9999-12-31T00:00:00+00:00"},
    "tomorrow": {"at": TOMORROW},
    "in the past": {"at": "2001-01-01T00:00:00+00:00"},
    "the last number": {"seq": 2**63 - 1},
    "a gap": {"seq": 10**6},
    "a number that is taken": {"seq": 2},
    "before the first": {"seq": 0},
    "a negative number": {"seq": -1},
    "another chain": {"previous_hash": FIRST_PREVIOUS_HASH},
    "a hash of nothing": {"previous_hash": "f" * 64},
    "a text as details": {"details": "text"},
    "a list as details": {"details": []},
    "no model": {"model": ""},
    "a model with escapes": {"model": "toy\x1b[2J"},
    "a model that cannot be asked for": {"model": "../toy"},
    "a long model": {"model": "a" * 10_000},
}


@pytest.mark.parametrize("change", CONSISTENT.values(), ids=CONSISTENT)
def test_a_row_that_does_not_go_on_with_the_chain_is_refused(
    own_ledger: Ledger, app_url: str, change: Row
) -> None:
    row = signed(next_event(own_ledger, **change))
    if isinstance(row["details"], str):
        row["details"] = json.dumps(row["details"])
    with pytest.raises(CheckViolation, match="event refused"):
        insert(app_url, "ledger_events", row)
    assert_goes_on(own_ledger)


def other(value: Any) -> Any:
    if value is None:
        return 5
    if isinstance(value, int):
        return value + 1
    if isinstance(value, dict):
        return {**value, "more": None}
    return f"{value}x"


COLUMNS = [name for name in Event.__dataclass_fields__ if name not in ("at", "event")]


@pytest.mark.parametrize("column", [*COLUMNS, "canonical"])
def test_a_row_whose_columns_text_and_hash_are_not_of_each_other_is_refused(
    own_ledger: Ledger, app_url: str, column: str
) -> None:
    row = signed(next_event(own_ledger))
    with pytest.raises(CheckViolation, match="event refused"):
        insert(app_url, "ledger_events", {**row, column: other(row[column])})
    assert_goes_on(own_ledger)


@pytest.mark.parametrize(
    "changes",
    [
        {"at": "infinity"},
        {"at": "-infinity"},
        {"at": "now"},
        {"event": "promoted "},
        {"event": "rejected"},
        {"canonical": None},
        {"canonical": ""},
        {"canonical": None, "hash": "0" * 64},
        {"details": '{"rows":4}'},
        {"details": '{"rows":3,"more":{}}'},
        {"details": '{"rows":"3"}'},
    ],
    ids=str,
)
def test_a_row_that_only_looks_like_its_text_is_refused(
    own_ledger: Ledger, app_url: str, changes: Row
) -> None:
    row = {**signed(next_event(own_ledger, details={"rows": 3})), **changes}
    with pytest.raises(CheckViolation, match="event refused"):
        insert(app_url, "ledger_events", row)
    assert_goes_on(own_ledger)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    column=st.sampled_from(["actor", "reason", "run", "key", "model", "event", "hash", "previous_hash"]),
    text=st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), max_size=20),
    signs=st.booleans(),
)
def test_whatever_text_is_in_a_column_the_chain_stays_whole(
    own_ledger: Ledger, app_url: str, column: str, text: str, signs: bool
) -> None:
    row = next_event(own_ledger, **{column: text})
    row = signed(row) if signs else {**signed(next_event(own_ledger)), column: text}
    with suppress(psycopg2.IntegrityError):
        insert(app_url, "ledger_events", row)
    assert walk(own_ledger.record()).difference is None


def test_two_rows_in_one_statement_and_settings_of_the_session_change_nothing(
    own_ledger: Ledger, app_url: str
) -> None:
    first = signed(next_event(own_ledger, reason='a "quoted" \\ päär'))
    second = signed({**first, "seq": first["seq"] + 2, "previous_hash": first["hash"]})
    sessions = (
        "SET standard_conforming_strings = off; SET TimeZone = 'Asia/Tokyo'; "
        "SET search_path = information_schema; SET DateStyle = 'German'; SET extra_float_digits = -15; "
    )
    columns = ", ".join(first)

    def literal(value: Any) -> str:
        if value is None:
            return "NULL"
        text = json.dumps(value, separators=(",", ":")) if isinstance(value, dict) else str(value)
        return "$x$" + text + "$x$"

    def insert_of(*rows: Row) -> str:
        tuples = ", ".join("(" + ", ".join(map(literal, row.values())) + ")" for row in rows)
        return f"{sessions} INSERT INTO public.ledger_events ({columns}) VALUES {tuples}"  # noqa: S608

    with pytest.raises(CheckViolation, match="number is not the next"):
        execute(app_url, insert_of(first, second))
    execute(app_url, insert_of(first))
    assert_goes_on(own_ledger)


def test_what_is_refused_of_the_application_itself_is_told(own_ledger: Ledger, app_url: str) -> None:
    with pytest.raises(PodiumError, match="refused this: event refused: it names no model"):
        own_ledger.append(NewEvent(EventKind.REGISTERED, "No Model"))
    assert_goes_on(own_ledger)


def test_the_events_of_an_earlier_version_get_their_text_and_what_is_wrong_with_them_is_still_found(
    layout: Layout, empty_database: str
) -> None:
    owner = layout.database_url("ledger_owner", empty_database)
    migrate_to(owner, "0003")
    previous, rows = FIRST_PREVIOUS_HASH, []
    odd = {"z": [1e-7, 1e16, 10**30, "NUL \0", "ä € 🍐 \ud800"], "a": None, "\x7f": '"\\\n'}
    for seq, details in enumerate([odd, {}, odd], start=1):
        row = {
            "seq": seq,
            "at": f"2026-01-01T00:00:00{'.000120' if seq == 2 else ''}+00:00",
            "event": "registered",
            "model": "toy",
            "version": 1,
            "from_version": None,
            "actor": "ämy\x7f\t\U0001f350",
            "reason": 'päärs ≠ "apples" \\ \x01\n',
            "run": "dag/run",
            "key": None,
            "details": details,
            "previous_hash": previous,
        }
        previous = event_hash(row)
        rows.append({**row, "hash": previous})
    for row in rows:
        insert(owner, "ledger_events", row)
    execute(owner, "UPDATE ledger_events SET reason = 'another' WHERE seq = 2")

    for _ in range(2):
        migrate(owner, app_role="podium", server_role="podium_server")

    texts = dict(execute(owner, "SELECT seq, canonical FROM ledger_events"))
    assert [texts[row["seq"]] for row in rows[::2]] == [canonical_text(row) for row in rows[::2]]
    ledger = Ledger(layout.database_url("podium", empty_database))
    assert [event.hash for event in ledger.history("toy")] == [row["hash"] for row in rows]
    assert str(walk(ledger.record()).difference).startswith("event 2 was changed")
    assert ledger.append(NewEvent(EventKind.REGISTERED, "toy", 2)).previous_hash == rows[-1]["hash"]


ANSWERED = LiveAnswer(
    "toy", "one", datetime.now(UTC), 2, 1, 2, '{"predictions":[1,2]}', '{"predictions":[1,3]}'
)


@pytest.fixture
def store(own_ledger: Ledger, app_url: str) -> LiveStore:
    return LiveStore(own_ledger)


@pytest.fixture
def request_id(store: LiveStore) -> str:
    answered = replace(ANSWERED, request_id=uuid.uuid4().hex)
    assert store.write([answered]) == [answered]
    return answered.request_id


@pytest.mark.parametrize(
    "changes",
    [
        {"rows": 0},
        {"rows": -1},
        {"rows": 3},
        {"champion": 0},
        {"candidate": -2},
        {"at": "-infinity"},
        {"at": "0044-03-15 12:00 BC"},
        {"champion_answers": "no JSON"},
        {"champion_answers": "[1, 2]"},
        {"candidate_answers": "{}"},
        {"candidate_answers": '{"predictions": 2}'},
        {"candidate_answers": '{"predictions": [1]}'},
        {"champion_answers": None, "candidate_answers": None},
    ],
    ids=str,
)
def test_answers_that_nobody_could_read_are_refused(store: LiveStore, app_url: str, changes: Row) -> None:
    with pytest.raises((CheckViolation, psycopg2.DataError)):
        insert(app_url, "live_answers", {**vars(ANSWERED), "request_id": "forged", **changes})
    assert store.find("toy", "forged") is None


def test_no_answer_is_from_after_now(store: LiveStore, app_url: str) -> None:
    for number, at in enumerate(["infinity", "9999-12-31", TOMORROW]):
        forged = {**vars(ANSWERED), "request_id": f"forged-{number}", "at": at, "candidate": 9}
        insert(app_url, "live_answers", forged)
        found = store.find("toy", f"forged-{number}")
        assert found is not None
        assert found.at <= datetime.now(UTC) + timedelta(seconds=5)


def test_classes_may_hold_what_json_can(store: LiveStore) -> None:
    odd = LiveAnswer(
        "toy", "odd", ANSWERED.at, 1, 1, 2, '{"predictions":[[1.0]],"classes":["\\u0000 \\\\u0000 ä"]}', None
    )
    assert store.write([odd]) == [odd]


@pytest.mark.parametrize("labels", ["no JSON", "{}", "3", "[]", "[1]", "[1, 2, 3]", "[1,"])
def test_labels_that_nobody_could_read_are_refused(
    store: LiveStore, app_url: str, request_id: str, labels: str
) -> None:
    with pytest.raises(CheckViolation, match="one per row"):
        insert(app_url, "live_labels", {"model": "toy", "request_id": request_id, "labels": labels})
    assert store.add_labels("toy", request_id, [1, 3]) == [1, 3]


@pytest.fixture
def count(own_ledger: Ledger) -> Row:
    nominated = own_ledger.append(NewEvent(EventKind.NOMINATED, "toy", 2))
    return {
        "model": "toy",
        "key": uuid.uuid4().hex,
        "nominated": nominated.seq,
        "champion": 1,
        "candidate": 2,
        "rows": 7,
    }


@pytest.mark.parametrize(
    "changes",
    [
        {"rows": 0},
        {"rows": -5},
        {"rows": None},
        {"rows": 2**31},
        {"champion": 0},
        {"champion": None},
        {"candidate": 3},
        {"candidate": None},
        {"model": "other"},
        {"nominated": 1},
        {"nominated": 10**6},
        {"nominated": None},
    ],
    ids=str,
)
def test_counts_of_no_candidate_are_refused(
    own_ledger: Ledger, server_url: str, count: Row, changes: Row
) -> None:
    with pytest.raises((psycopg2.IntegrityError, psycopg2.DataError)):
        insert(server_url, "live_counts", {**count, **changes})
    assert LiveStore(own_ledger).counted_rows("toy", VersionOnTrial(1, 2), count["nominated"]) == 0


def test_a_model_server_adds_counts_and_chooses_no_time(
    own_ledger: Ledger, server_url: str, count: Row
) -> None:
    insert(server_url, "live_counts", {**count, "at": "infinity"})
    with pytest.raises(psycopg2.IntegrityError):
        insert(server_url, "live_counts", {**count, "rows": 1})
    ((at,),) = execute(server_url, "SELECT at FROM live_counts WHERE key = %s", count["key"])
    assert abs(at - datetime.now(UTC)) < timedelta(minutes=1)
    assert LiveStore(own_ledger).counted_rows("toy", VersionOnTrial(1, 2), count["nominated"]) == 7


def test_no_large_object_is_made_by_the_application(ledger_url: str) -> None:
    for statement in ("SELECT lo_create(0)", "SELECT lo_creat(-1)", "SELECT lo_from_bytea(0, 'x')"):
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            execute(ledger_url, statement)
