"""The append-only record: who decided what, when and why; ``podium.ledger.history`` folds over it.

The table lives in a Postgres database of its own, where the application may only insert and select. Events
are numbered without gaps, and each holds the hash of the one before, so that no event can be changed, removed
or slipped in without breaking the chain. An event with a key is written once: appending it again returns the
first one, so that every step can be killed and run again.
"""

from __future__ import annotations

import hashlib
import json
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from tenacity import RetryCallState, Retrying, retry_if_result, stop_after_delay, wait_fixed

from podium.errors import Outage, PodiumError
from podium.ledger.events import (
    CHAMPION_MOVES,
    FIRST_PREVIOUS_HASH,
    Event,
    EventKind,
    NewEvent,
    canonical_text,
    event_hash,
)

log = logging.getLogger(__name__)

LOCK_TIMEOUT_SECONDS = 60
CONNECT_TIMEOUT_SECONDS = 10
# How long a process that stands still, or whose host is lost, keeps others from appending, and from a model.
APPENDING_IDLE_SECONDS = 30
LOCK_IDLE_SECONDS = 120
STANDSTILL_WAIT_SECONDS = 600
# Longer than the snapshots take by far; then Postgres frees what a lost holder holds.
_STANDSTILL_SECONDS = 30
_APPEND_LOCK = 4_215_337_002
_GRANT_LOCK = 4_215_337_003
_STEPS_LOCK = 4_215_337_004
_LOCK_NOT_AVAILABLE, _NOT_UNIQUE = "55P03", "23505"
_CONNECT = {
    "connect_timeout": CONNECT_TIMEOUT_SECONDS,
    "tcp_user_timeout": 60_000,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
}
# The last one: a connection that was lost before is asked again.
_NO_ANSWER = (
    sa.exc.OperationalError,
    sa.exc.InterfaceError,
    sa.exc.TimeoutError,
    sa.exc.PendingRollbackError,
)

_METADATA = sa.MetaData()
_EVENTS = sa.Table(
    "ledger_events",
    _METADATA,
    sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("event", sa.Text, nullable=False),
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("version", sa.Integer),
    sa.Column("from_version", sa.Integer),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("run", sa.Text),
    sa.Column("key", sa.Text, unique=True),
    # Not JSONB: that one rewrites numbers, and the hash would not be that of what was written.
    sa.Column("details", sa.JSON, nullable=False),
    sa.Column("previous_hash", sa.Text, nullable=False, unique=True),
    sa.Column("hash", sa.Text, nullable=False, unique=True),
    # The text of which it is the hash. It is made of the other columns: no reader of events needs it.
    sa.Column("canonical", sa.Text),
)
_EVENT = [column for column in _EVENTS.c if column.name != "canonical"]
_KINDS = sa.table("event_kinds", sa.column("kind"))
# All that the application may do.
PRIVILEGES = {
    "ledger_events": "SELECT, INSERT",
    "event_kinds": "SELECT",
    "live_answers": "SELECT, INSERT",
    "live_labels": "SELECT, INSERT",
    "alembic_version": "SELECT",
}
# A trigger refuses rows of these that would stop those who read.
CHECKED_TABLES = ("ledger_events", "live_answers", "live_labels")


class Lock:
    """The lock of one model, held by this connection."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection
        self._asking = threading.Lock()

    def assert_held(self) -> None:
        """Make sure that the lock was not lost with its connection.

        Raises:
            Outage: It was: another process may hold it now. Run the step again.
        """
        with self._asking, outages():
            self._connection.execute(sa.select(1))

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Show the database again and again that this process lives; one that stands still loses the lock."""
        with outages():
            self._connection.execute(sa.text(f"SET idle_session_timeout = '{LOCK_IDLE_SECONDS}s'"))
        done = threading.Event()
        alive = threading.Thread(target=self._show_life, args=(done,), name="ledger-lock", daemon=True)
        alive.start()
        try:
            yield
        finally:
            done.set()
            alive.join()

    def _show_life(self, done: threading.Event) -> None:
        while not done.wait(LOCK_IDLE_SECONDS / 6):
            try:
                self.assert_held()
            except Outage as error:
                log.warning(
                    "The lock of a model was lost; its step notices before it moves anything: %s", error
                )
                return


class Ledger:
    """The ledger database.

    Args:
        url: SQLAlchemy URL of the ledger's own Postgres database.

    Attributes:
        engine: Its connections.
    """

    def __init__(self, url: str) -> None:
        self.engine = sa.create_engine(
            url,
            pool_size=2,
            pool_pre_ping=True,
            hide_parameters=True,
            connect_args=_CONNECT,
        )

    def append(self, new: NewEvent) -> Event:
        """Record an event; one with a key that is already recorded stays as it is and is returned.

        Raises:
            Outage: The ledger cannot be reached.
        """
        with outages(), self._appending() as connection:
            return _find(connection, new.key) or _insert(connection, new)

    def append_move(self, new: NewEvent, after: Event | None) -> Event:
        """Record a move of the champion, if the newest recorded move is still ``after``.

        Raises:
            Outage: It is not, or the ledger cannot be reached; run the step again, which compares anew.
        """
        newest = (
            sa.select(_EVENTS.c.seq)
            .where(_EVENTS.c.model == new.model, _EVENTS.c.event.in_(CHAMPION_MOVES))
            .order_by(_EVENTS.c.seq.desc())
            .limit(1)
        )
        with outages(), self._appending() as connection:
            if found := _find(connection, new.key):
                return found
            if connection.scalar(newest) != (after and after.seq):
                raise Outage(
                    f"{new.model}: another move of the champion was recorded meanwhile; run it again"
                )
            return _insert(connection, new)

    def find(self, key: str) -> Event | None:
        """Return the event with this key, or None."""
        with outages(), self.engine.connect() as connection:
            return _find(connection, key)

    def model_of(self, seq: int, digest: str) -> str | None:
        """Return the model of the event with this number and this hash, or None if there is no such event."""
        query = sa.select(_EVENTS.c.model).where(_EVENTS.c.seq == seq, _EVENTS.c.hash == digest)
        with outages(), self.engine.connect() as connection:
            return connection.scalar(query)

    def history(self, model: str, *, until: datetime | None = None, after: int = 0) -> list[Event]:
        """Return the events of a model in order, without those of a kind that this Podium does not know.

        A newer Podium may have recorded them; each is named in a warning.

        Args:
            model: The registered model.
            until: Only those up to and including this moment.
            after: Only those behind the event of this number.

        Raises:
            Outage: The ledger cannot be reached.
        """
        query = sa.select(*_EVENT).where(_EVENTS.c.model == model, _EVENTS.c.seq > after)
        query = query.order_by(_EVENTS.c.seq)
        if until is not None:
            query = query.where(_EVENTS.c.at <= until)
        with outages(), self.engine.connect() as connection:
            return list(filter(_is_known, map(_event, connection.execute(query))))

    def record(self) -> Iterator[Event]:
        """Yield all events of all models in order, in bounded memory; those of unknown kinds too."""
        with outages(), self.engine.connect() as connection:
            yield from record_on(connection)

    def changed_texts(self) -> list[int]:
        """Return the numbers of the events whose stored text is not what their hash was made of."""
        of_text = sa.func.encode(sa.func.sha256(sa.func.convert_to(_EVENTS.c.canonical, "UTF8")), "hex")
        query = sa.select(_EVENTS.c.seq).where(of_text.is_distinct_from(_EVENTS.c.hash))
        with outages(), self.engine.connect() as connection:
            return list(connection.scalars(query.order_by(_EVENTS.c.seq)))

    def models(self) -> list[str]:
        """Return the names of all models that the ledger knows."""
        query = sa.select(_EVENTS.c.model).distinct().order_by(_EVENTS.c.model)
        with outages(), self.engine.connect() as connection:
            return list(connection.scalars(query))

    @contextmanager
    def lock(self, model: str) -> Iterator[Lock]:
        """Hold the lock of one model; it ends with the connection, so a killed holder frees it.

        A holder that stands still, or whose host is lost, frees it after ``LOCK_IDLE_SECONDS``.

        Raises:
            Outage: The ledger cannot be reached, or the lock is not free within ``LOCK_TIMEOUT_SECONDS``.
        """
        number = int.from_bytes(hashlib.sha256(model.encode()).digest()[:8], signed=True)
        # A process that waits keeps one connection open, not two: Postgres has few.
        self.engine.dispose()
        with outages():
            connection = self.engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        try:
            with outages():
                connection.execute(sa.text(f"SET lock_timeout = '{LOCK_TIMEOUT_SECONDS}s'"))
                steps = sa.func.pg_advisory_lock_shared(_STEPS_LOCK)
                connection.execute(sa.select(steps, sa.func.pg_advisory_lock(number)))
            lock = Lock(connection)
            with lock.kept():
                yield lock
        finally:
            # Closed, not returned to the pool: only the end of the session surely frees the lock.
            connection.invalidate()
            connection.close()

    @contextmanager
    def standstill(self) -> Iterator[None]:
        """Hold the locks of all models and that of appending, for a moment of at most 30 s.

        Nobody registers, promotes, rolls back or settles meanwhile, and nothing is recorded. It never stands
        in a queue for the models' locks, in which those who come later would have to wait behind it.

        Raises:
            Outage: There was no moment without such a step, or the locks were lost meanwhile.
        """
        steps = sa.select(sa.func.pg_try_advisory_xact_lock(_STEPS_LOCK))
        until_free = Retrying(
            retry=retry_if_result(lambda is_free: not is_free),
            wait=wait_fixed(0.1),
            stop=stop_after_delay(STANDSTILL_WAIT_SECONDS),
            retry_error_callback=_no_moment_for_a_standstill,
        )
        with outages(), self.engine.connect() as connection, connection.begin():
            limit = f"SET LOCAL idle_in_transaction_session_timeout = '{_STANDSTILL_SECONDS}s'"
            connection.execute(sa.text(limit))
            until_free(connection.scalar, steps)
            connection.execute(sa.text(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT_SECONDS}s'"))
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_APPEND_LOCK)))
            yield
            # Fails if the locks were lost with their connection.
            Lock(connection).assert_held()

    @contextmanager
    def _appending(self) -> Iterator[sa.Connection]:
        """A transaction that alone may append, so that the numbers have no gap and the chain no fork.

        Postgres ends it, and others append, if this process stands still for ``APPENDING_IDLE_SECONDS``.
        """
        with self.engine.begin() as connection:
            limit = f"SET LOCAL idle_in_transaction_session_timeout = '{APPENDING_IDLE_SECONDS}s'"
            connection.execute(sa.text(limit))
            connection.execute(sa.text(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT_SECONDS}s'"))
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_APPEND_LOCK)))
            yield connection


def record_on(connection: sa.Connection) -> Iterator[Event]:
    """Yield all events that a connection sees in order, in bounded memory."""
    query = sa.select(*_EVENT).order_by(_EVENTS.c.seq).execution_options(yield_per=1000)
    yield from map(_event, connection.execute(query))


def migrate(url: str, *, app_role: str) -> None:
    """Bring the ledger database to the newest schema, where the application may only insert and select.

    Safe to repeat.

    Args:
        url: Logs in as the owner of the database and its tables.
        app_role: The application's role.

    Raises:
        Outage: The ledger cannot be reached.
        PodiumError: The application's role is the owner, or the database is not as it must be.
    """
    from alembic import command
    from alembic.config import Config

    if sa.make_url(url).username == app_role:
        raise PodiumError(f"{app_role} cannot be both the ledger's owner and the application's role")
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["url"] = url
    with outages():
        command.upgrade(config, "head")
        _grant(url, app_role)


def _grant(url: str, app_role: str) -> None:
    """Grant what the application may do, and let it record the kinds of events that this Podium knows."""
    engine = sa.create_engine(url, poolclass=sa.pool.NullPool, hide_parameters=True)
    role = engine.dialect.identifier_preparer.quote_identifier(app_role)
    with engine.begin() as connection:
        # Of two that grant on one table at once, Postgres lets one fail.
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_GRANT_LOCK)))
        for table, privileges in PRIVILEGES.items():
            connection.exec_driver_sql(f"REVOKE ALL ON {table} FROM PUBLIC, {role}")
            connection.exec_driver_sql(f"GRANT {privileges} ON {table} TO {role}")
        kinds = [{"kind": str(kind)} for kind in EventKind]
        connection.execute(insert(_KINDS).on_conflict_do_nothing(), kinds)


@contextmanager
def outages() -> Iterator[None]:
    """Translate the database's errors: no answer to Outage, a refusal or a wrong schema to PodiumError."""
    try:
        yield
    except _NO_ANSWER as error:
        cause = str(getattr(error, "orig", error)).strip().splitlines()[0]
        if getattr(getattr(error, "orig", None), "pgcode", None) == _LOCK_NOT_AVAILABLE:
            raise Outage(f"another process held the lock for {LOCK_TIMEOUT_SECONDS} s") from error
        raise Outage(f"the ledger database did not answer: {cause}") from error
    except sa.exc.ProgrammingError as error:
        cause = str(error.orig).strip().splitlines()[0]
        raise PodiumError(f"the ledger database is not as it must be (migrated?): {cause}") from error
    except (sa.exc.IntegrityError, sa.exc.DataError) as error:
        cause = str(error.orig).strip().splitlines()[0]
        if getattr(error.orig, "pgcode", None) == _NOT_UNIQUE:
            raise Outage(f"another process wrote the same to the ledger meanwhile: {cause}") from error
        raise PodiumError(f"the ledger database does not take this: {cause}") from error


def _no_moment_for_a_standstill(_: RetryCallState) -> NoReturn:
    raise Outage(
        f"for {STANDSTILL_WAIT_SECONDS} s there was no moment in which no model is being "
        "registered, promoted or rolled back; run it again"
    )


def _find(connection: sa.Connection, key: str | None) -> Event | None:
    row = connection.execute(sa.select(*_EVENT).where(_EVENTS.c.key == key)).one_or_none() if key else None
    return None if row is None else _event(row)


def _insert(connection: sa.Connection, new: NewEvent) -> Event:
    last = connection.execute(
        sa.select(_EVENTS.c.seq, _EVENTS.c.at, _EVENTS.c.hash).order_by(_EVENTS.c.seq.desc()).limit(1)
    ).one_or_none()
    now: datetime = connection.scalar(sa.select(sa.func.clock_timestamp()))  # type: ignore[assignment]
    event = Event(
        **{
            **asdict(new),
            "actor": _storable(new.actor),
            "reason": _storable(new.reason),
            "details": json.loads(json.dumps(dict(new.details), allow_nan=False)),
        },
        seq=1 if last is None else last.seq + 1,
        at=now if last is None else max(now, last.at),
        previous_hash=FIRST_PREVIOUS_HASH if last is None else last.hash,
        hash="",
    )
    event = replace(event, hash=event_hash(event.as_json()))
    connection.execute(sa.insert(_EVENTS).values(**asdict(event), canonical=canonical_text(event.as_json())))
    return event


def _storable(text: str) -> str:
    """Replace what a form can hold and a text column cannot: NUL and lone surrogates."""
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def _is_known(event: Event) -> bool:
    if not event.event.is_known:
        log.warning(
            "%s: event %s is of a kind that this Podium does not know, %r, and is skipped",
            event.model,
            event.seq,
            str(event.event),
        )
    return event.event.is_known


def _event(row: sa.Row[Any]) -> Event:
    values = dict(row._mapping)
    return Event(**{**values, "event": EventKind(values["event"])})
