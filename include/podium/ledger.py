"""The append-only history: who decided what, when and why. Who is champion is a fold over it.

The table lives in a Postgres database of its own, ordered by ``seq``. An event with a key is written once:
appending it again returns the first one, so that every step can be killed and run again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB, insert

from podium.errors import Outage, PodiumError

LOCK_TIMEOUT_SECONDS = 60
_LOCK_NOT_AVAILABLE = "55P03"

_METADATA = sa.MetaData()
_EVENTS = sa.Table(
    "ledger_events",
    _METADATA,
    sa.Column("seq", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("at", sa.DateTime(timezone=True), server_default=sa.func.clock_timestamp(), nullable=False),
    sa.Column("event", sa.Text, nullable=False),
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("version", sa.Integer),
    sa.Column("from_version", sa.Integer),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("run", sa.Text),
    sa.Column("key", sa.Text, unique=True),
    sa.Column("details", JSONB, nullable=False),
)


class EventKind(StrEnum):
    """What can happen to a version."""

    REGISTERED = "registered"
    GATES_PASSED = "gates_passed"
    GATES_REFUSED = "gates_refused"
    NOMINATED = "nominated"
    APPROVAL_REQUESTED = "approval_requested"
    ANSWER_INVALID = "answer_invalid"
    APPROVED = "approved"
    REJECTED = "rejected"
    EXPIRED = "expired"
    PROMOTION_STARTED = "promotion_started"
    PROMOTED = "promoted"
    PROMOTION_REFUSED = "promotion_refused"
    ROLLBACK_STARTED = "rollback_started"
    ROLLED_BACK = "rolled_back"
    ROLLBACK_REFUSED = "rollback_refused"


CHAMPION_MOVES = (EventKind.PROMOTED, EventKind.ROLLED_BACK)


@dataclass(frozen=True)
class NewEvent:
    """What is to be recorded.

    Attributes:
        event: What happened.
        model: The registered model.
        version: The version it is about.
        from_version: The champion before: of a move the way back, else the one compared with.
        actor: Who: the name that Airflow's login gave, or ``podium`` for an automatic step.
        reason: Why, in words.
        run: The Airflow run, as ``dag_id/run_id``.
        key: Written once; None for events that may repeat.
        details: Further facts, as JSON.
    """

    event: EventKind
    model: str
    version: int | None = None
    from_version: int | None = None
    actor: str = "podium"
    reason: str = ""
    run: str | None = None
    key: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Event:
    """One recorded event; see ``NewEvent`` for the attributes."""

    seq: int
    at: datetime
    event: EventKind
    model: str
    version: int | None
    from_version: int | None
    actor: str
    reason: str
    run: str | None
    key: str | None
    details: Mapping[str, Any]

    def as_json(self) -> dict[str, Any]:
        """Return the event with plain JSON values; ``at`` in ISO 8601."""
        return {**asdict(self), "at": self.at.isoformat(), "event": str(self.event)}


class Ledger:
    """The ledger database.

    Args:
        url: SQLAlchemy URL of the ledger's own Postgres database.
    """

    def __init__(self, url: str) -> None:
        self._engine = sa.create_engine(url, pool_pre_ping=True, hide_parameters=True)

    def append(self, new: NewEvent) -> Event:
        """Record an event; one with a key that is already recorded stays as it is and is returned.

        Raises:
            Outage: The ledger cannot be reached.
        """
        row = {**asdict(new), "details": dict(new.details)}
        statement = insert(_EVENTS).values(row).on_conflict_do_nothing(index_elements=["key"])
        with _outages(), self._engine.begin() as connection:
            stored = connection.execute(statement.returning(_EVENTS)).one_or_none()
            if stored is None:
                stored = connection.execute(sa.select(_EVENTS).where(_EVENTS.c.key == new.key)).one()
        return _event(stored)

    def find(self, key: str) -> Event | None:
        """Return the event with this key, or None."""
        with _outages(), self._engine.connect() as connection:
            row = connection.execute(sa.select(_EVENTS).where(_EVENTS.c.key == key)).one_or_none()
        return None if row is None else _event(row)

    def history(self, model: str, *, until: datetime | None = None) -> list[Event]:
        """Return all events of a model in order, up to and including a moment."""
        query = sa.select(_EVENTS).where(_EVENTS.c.model == model).order_by(_EVENTS.c.seq)
        if until is not None:
            query = query.where(_EVENTS.c.at <= until)
        with _outages(), self._engine.connect() as connection:
            return [_event(row) for row in connection.execute(query)]

    def models(self) -> list[str]:
        """Return the names of all models that the ledger knows."""
        query = sa.select(_EVENTS.c.model).distinct().order_by(_EVENTS.c.model)
        with _outages(), self._engine.connect() as connection:
            return list(connection.scalars(query))

    @contextmanager
    def lock(self, model: str) -> Iterator[None]:
        """Hold the lock of one model; it ends with the connection, so a killed holder frees it.

        Raises:
            Outage: The ledger cannot be reached, or the lock is not free within ``LOCK_TIMEOUT_SECONDS``.
        """
        number = int.from_bytes(hashlib.sha256(model.encode()).digest()[:8], signed=True)
        with _outages():
            connection = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        try:
            with _outages():
                connection.execute(sa.text(f"SET lock_timeout = '{LOCK_TIMEOUT_SECONDS}s'"))
                connection.execute(sa.select(sa.func.pg_advisory_lock(number)))
            yield
        finally:
            # Closed, not returned to the pool: only the end of the session surely frees the lock.
            connection.invalidate()
            connection.close()


def champion_move(events: Iterable[Event]) -> Event | None:
    """Return the event that made the current champion champion, or None: the fold over a history."""
    moves = [event for event in events if event.event in CHAMPION_MOVES]
    return moves[-1] if moves else None


def former_champions(events: Iterable[Event]) -> list[int]:
    """Return the versions that were champion, newest first, without the present one, each once.

    A version that was rolled away from is no way back, unless it was promoted again later.
    """
    stack: list[int] = []
    for event in events:
        if event.event not in CHAMPION_MOVES or event.version is None:
            continue
        if event.event is EventKind.ROLLED_BACK and event.from_version in stack:
            stack.remove(event.from_version)
        if event.version in stack:
            stack.remove(event.version)
        stack.append(event.version)
    return stack[-2::-1]


def lifecycle_stage(events: Iterable[Event], version: int) -> str:
    """Return the stage of a version that is no candidate: Production, Archived, or None if never champion."""
    moves = [event for event in events if event.event in CHAMPION_MOVES]
    if moves and moves[-1].version == version:
        return "Production"
    return "Archived" if any(move.version == version for move in moves) else "None"


def migrate(url: str) -> None:
    """Bring the ledger database to the newest schema; does nothing where it is."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["url"] = url
    with _outages():
        command.upgrade(config, "head")


@contextmanager
def _outages() -> Iterator[None]:
    try:
        yield
    except (sa.exc.OperationalError, sa.exc.InterfaceError, sa.exc.TimeoutError) as error:
        cause = str(getattr(error, "orig", error)).strip().splitlines()[0]
        if getattr(getattr(error, "orig", None), "pgcode", None) == _LOCK_NOT_AVAILABLE:
            raise Outage(f"another run held the model's lock for {LOCK_TIMEOUT_SECONDS} s") from error
        raise Outage(f"the ledger database did not answer: {cause}") from error
    except sa.exc.ProgrammingError as error:
        cause = str(error.orig).strip().splitlines()[0]
        raise PodiumError(f"the ledger database is not as it must be (migrated?): {cause}") from error


def _event(row: sa.Row[Any]) -> Event:
    values = dict(row._mapping)
    return Event(**{**values, "event": EventKind(values["event"])})
