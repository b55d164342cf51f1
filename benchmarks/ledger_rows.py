"""Rows of the ledger as the steps leave them, thousands a second: what a model looks like after years."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, replace
from datetime import UTC, datetime
from itertools import islice

import psycopg2
from psycopg2.extras import Json, execute_values

from podium.ledger.events import FIRST_PREVIOUS_HASH, Event, EventKind, canonical_text, event_hash
from podium.services import Services
from podium.stack.layout import Layout

KINDS = (EventKind.REGISTERED, EventKind.NOMINATED, EventKind.APPROVED, EventKind.PROMOTED)


def registration(services: Services, model: str) -> Event:
    """Return what was recorded of the first version."""
    return services.ledger.history(model, kinds=[EventKind.REGISTERED])[0]


def aged(first: Event, model: str, versions: range) -> Iterator[Event]:
    """Yield what the steps record of versions that were champion one after the other."""
    for version in versions:
        run = f"lifecycle_{model}/{version}"
        for kind in KINDS:
            key = {EventKind.APPROVED: f"decision:{run}", EventKind.NOMINATED: f"nominated:{run}"}.get(kind)
            details = first.details if kind is EventKind.REGISTERED else {}
            yield replace(
                first, event=kind, model=model, version=version, from_version=version - 1 or None,
                run=run, key=key, details=details,
            )  # fmt: skip


def insert(layout: Layout, events: Iterator[Event], *, checked: bool = True) -> None:
    """Append events, a thousand a statement; the database's own trigger looks at each row, if it is to.

    It takes most of the time, nearly a millisecond a row.
    """
    # As the owner, so that Postgres can count the rows, which it does by itself some minutes later.
    with psycopg2.connect(layout.ledger_owner_url.replace("+psycopg2", "")) as connection:
        cursor = connection.cursor()
        if not checked:
            cursor.execute("ALTER TABLE ledger_events DISABLE TRIGGER continue_ledger")
        cursor.execute("SELECT seq, at, hash FROM ledger_events ORDER BY seq DESC LIMIT 1")
        seq, at, previous = cursor.fetchone() or (0, datetime.now(UTC), FIRST_PREVIOUS_HASH)
        while some := list(islice(events, 1000)):
            rows = []
            for event in some:
                seq, at = seq + 1, max(at, datetime.now(UTC))
                new = replace(event, seq=seq, at=at, previous_hash=previous)
                new = replace(new, hash=event_hash(new.as_json()))
                previous = new.hash
                row = {
                    **asdict(new),
                    "details": Json(new.details),
                    "canonical": canonical_text(new.as_json()),
                }
                rows.append(tuple(row.values()))
            execute_values(cursor, f"INSERT INTO ledger_events ({', '.join(row)}) VALUES %s", rows)  # noqa: S608
        cursor.execute("ALTER TABLE ledger_events ENABLE TRIGGER continue_ledger")
        cursor.execute("ANALYZE")
