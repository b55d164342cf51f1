"""Events as the texts that the database holds: a check of the whole chain is ten times as fast with them."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from datetime import datetime
from json.encoder import encode_basestring_ascii as quoted
from typing import Any, NamedTuple

import orjson
import sqlalchemy as sa

from podium.ledger.events import Event, EventKind, canonical_text

_AT_ONCE = 5_000
_ROWS = """SELECT seq, to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"+00:00"'), event, model,
    version, from_version, actor, reason, run, key, details::text, previous_hash, hash, canonical
FROM ledger_events ORDER BY seq"""
# Of a longer one orjson keeps the first digits.
_LONG_NUMBER = re.compile(r"\d{16}")
_NO_FRACTION = ".000000+00:00"


class StoredEvent(NamedTuple):
    """One row of the ledger; see ``Event`` for what is not listed here.

    Attributes:
        at: In ISO 8601, UTC, with microseconds: later is greater.
        details: JSON, as it was written.
        canonical: The text that was hashed; None from a ledger of before.
    """

    seq: int
    at: str
    event: str
    model: str
    version: int | None
    from_version: int | None
    actor: str
    reason: str
    run: str | None
    key: str | None
    details: str
    previous_hash: str
    hash: str
    canonical: str | None

    def problem(self) -> str | None:
        """Say what of this event is not as it was recorded; None: nothing."""
        return None if self._is_plainly_whole() else self._looked_at_slowly()

    def _is_plainly_whole(self) -> bool:
        text = self.canonical
        if text is None or hashlib.sha256(text.encode()).hexdigest() != self.hash:
            return False
        at = self.at[:-13] + "+00:00" if self.at.endswith(_NO_FRACTION) else self.at
        before = f'{{"actor":{quoted(self.actor)},"at":"{at}","details":'
        after = (
            f',"event":{quoted(self.event)},"from_version":{_number(self.from_version)},"key":{_text(self.key)}'
            f',"model":{quoted(self.model)},"previous_hash":{quoted(self.previous_hash)}'
            f',"reason":{quoted(self.reason)},"run":{_text(self.run)},"seq":{self.seq}'
            f',"version":{_number(self.version)}}}'
        )
        details = text[len(before) : len(text) - len(after)]
        return f"{before}{details}{after}" == text and _is_same_json(details, self.details)

    def _looked_at_slowly(self) -> str | None:
        event = self.as_event()
        if changed := event.problem():
            return changed
        if self.canonical in (None, canonical_text(event.as_json())):
            return None
        return f"the text of event {self.seq} does not match its hash"

    def as_event(self) -> Event:
        """Return the event."""
        values = self._asdict()
        del values["canonical"]
        moment, kind = datetime.fromisoformat(self.at), EventKind(self.event)
        return Event(**{**values, "at": moment, "event": kind, "details": json.loads(self.details)})


def stored_events(connection: sa.Connection) -> Iterator[StoredEvent]:
    """Yield all events that a connection sees in order, in bounded memory; those of unknown kinds too."""
    # The driver's own cursor, at the server: rows of SQLAlchemy take three times as long.
    driver: Any = connection.connection
    with driver.cursor("stored_events") as cursor:
        cursor.itersize = _AT_ONCE
        cursor.execute(_ROWS)
        yield from map(StoredEvent._make, cursor)


def _text(value: str | None) -> str:
    return "null" if value is None else quoted(value)


def _number(value: int | None) -> str:
    return "null" if value is None else str(value)


def _is_same_json(one: str, other: str) -> bool:
    """Whether two texts hold the same; also false where orjson does not take them: then others look."""
    if one == other:
        return True
    if _LONG_NUMBER.search(one) or _LONG_NUMBER.search(other):
        return False
    try:
        return _sorted(one) == _sorted(other)
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):
        return False


def _sorted(text: str) -> bytes:
    return orjson.dumps(orjson.loads(text), option=orjson.OPT_SORT_KEYS)
