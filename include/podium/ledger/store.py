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
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import datetime
from itertools import product
from pathlib import Path
from typing import Any, NoReturn

import psycopg2
import sqlalchemy as sa

# Whole before any thread asks the ledger: while another one imports it, as MLflow does, queries fail.
import sqlalchemy.orm
from sqlalchemy.dialects.postgresql import ARRAY, insert
from tenacity import RetryCallState, Retrying, retry_if_result, stop_after_delay, wait_fixed

from podium.errors import Outage, PodiumError
from podium.ledger.events import (
    CHAMPION_MOVES,
    ENTERED,
    FIRST_PREVIOUS_HASH,
    Event,
    EventKind,
    NewEvent,
    canonical_text,
    event_hash,
)
from podium.ledger.history import Present, former_champions
from podium.ledger.present import NEWEST_MOVES, last_until, newest_events, present_events
from podium.ledger.receivers import RECEIVERS, Receiver
from podium.ledger.stored import StoredEvent, stored_events

log = logging.getLogger(__name__)

LOCK_TIMEOUT_SECONDS = 60
CONNECT_TIMEOUT_SECONDS = 10
# So long a server that tells something waits for whoever holds its rows, and no longer.
_TELL_TIMEOUT = "-c lock_timeout=5s -c statement_timeout=10s"
# How long a process that stands still, or whose host is lost, keeps others from appending, and from a model.
APPENDING_IDLE_SECONDS = 30
LOCK_IDLE_SECONDS = 120
STANDSTILL_WAIT_SECONDS = 600
# Longer than the snapshots take by far; then Postgres frees what a lost holder holds.
_STANDSTILL_SECONDS = 30
_APPEND_LOCK = 4_215_337_002
_GRANT_LOCK = 4_215_337_003
_STEPS_LOCK = 4_215_337_004
_ALL_MOVES = 2**31
_FIRST_IMPOSSIBLE = 2**63
_LOCK_NOT_AVAILABLE, _NOT_UNIQUE = "55P03", "23505"
CONNECT = {
    "connect_timeout": CONNECT_TIMEOUT_SECONDS,
    "tcp_user_timeout": 60_000,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
}
# The last ones: a connection that was lost before is asked again, or the driver is asked itself.
_NO_ANSWER = (
    sa.exc.OperationalError,
    sa.exc.InterfaceError,
    sa.exc.TimeoutError,
    sa.exc.PendingRollbackError,
    psycopg2.OperationalError,
    psycopg2.InterfaceError,
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
_ANNOUNCED = sa.table("announced", sa.column("receiver"), sa.column("model"), sa.column("seq"))
_LIVE_TABLES = ("live_answers", "live_labels", "live_counts")
# A trigger refuses rows of these that would stop those who read.
CHECKED_TABLES = ("ledger_events", "announced", *_LIVE_TABLES)
# All that the application may do, and all that a model server may, which outside callers reach.
PRIVILEGES = {
    **dict.fromkeys((*CHECKED_TABLES, "notices", "monitoring_evidence"), "SELECT, INSERT"),
    "event_kinds": "SELECT",
    # Written by functions of the ledger's owner alone.
    "servers": "SELECT",
    "watch_counts": "SELECT",
    "served_counts": "SELECT",
    "scored_partitions": "SELECT",
    "scored_counts": "SELECT",
    "alembic_version": "SELECT",
}
SERVER_PRIVILEGES = {
    **dict.fromkeys(_LIVE_TABLES, "SELECT, INSERT"),
    "ledger_events": "SELECT",
    # On which bins to count, where the files of a version do not say it.
    "monitoring_evidence": "SELECT",
    "alembic_version": "SELECT",
}

# The application may call these, and model servers may not: one deletes live answers, one keeps counts.
_OF_THE_APPLICATION = (
    "forget_live_answers(text, timestamptz, integer)",
    "keep_scored(text, integer, text, text, text, timestamptz, timestamptz, timestamptz, bigint, boolean, "
    "text)",
)

# From one name to the next by the index: DISTINCT would read every event.
_MODELS = sa.text("""WITH RECURSIVE named (model) AS (
    (SELECT model FROM ledger_events ORDER BY model LIMIT 1)
    UNION ALL
    SELECT (SELECT model FROM ledger_events e WHERE e.model > named.model ORDER BY model LIMIT 1)
    FROM named WHERE model IS NOT NULL
) SELECT model FROM named WHERE model IS NOT NULL""")


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
                    "The lock of a model was lost; its step stops before it moves anything: %s", error
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
            connect_args=CONNECT,
        )

    def tell(self, statement: sa.TextClause, values: Mapping[str, Any]) -> None:
        """Call a function of the database by which model servers say something of themselves.

        It keeps no connection: Postgres has few.

        Raises:
            Outage: The database did not answer.
            PodiumError: It does not take this, or is older than this Podium.
        """
        connect = {**CONNECT, "options": _TELL_TIMEOUT}
        engine = sa.create_engine(
            self.engine.url, poolclass=sa.pool.NullPool, hide_parameters=True, connect_args=connect
        )
        with outages(), engine.begin() as connection:
            connection.execute(statement, values)

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

    def history(
        self,
        model: str,
        *,
        until: datetime | None = None,
        after: int = 0,
        kinds: Sequence[EventKind] = (),
        newest: int | None = None,
    ) -> list[Event]:
        """Return the events of a model in order, without those of a kind that this Podium does not know.

        A newer Podium may have recorded them; each is named in a warning.

        Args:
            model: The registered model.
            until: Only those up to and including this moment.
            after: Only those behind the event of this number.
            kinds: Only of these kinds; empty: of all.
            newest: Only so many of them, the newest; None: all.

        Raises:
            Outage: The ledger cannot be reached.
        """
        # As in ``podium.ledger.present``, so that the newest events of all models are not read.
        place = sa.tuple_(_EVENTS.c.model, _EVENTS.c.seq)
        with outages(), self.engine.connect() as connection:
            last = last_until(connection, until)
            query = sa.select(*_EVENT).where(place > (model, after), place <= (model, last))
            query = query.order_by(_EVENTS.c.model.desc(), _EVENTS.c.seq.desc()).limit(newest)
            if kinds:
                query = query.where(_EVENTS.c.event.in_(kinds))
            found = list(map(_event, connection.execute(query)))
        return list(filter(_is_known, reversed(found)))

    def present(
        self, model: str, *versions: int | None, run: str | None = None, at: datetime | None = None
    ) -> Present:
        """Return the events of a model that say where it stands, in order; their number stays small.

        What the folds of ``podium.ledger.history`` say of the present, they say of these as of all.

        Args:
            model: The registered model.
            versions: Of these all events are there, whatever is to be known of them; None is left out.
            run: Of this Airflow run all events are there.
            at: Where it stood at this moment; None: now.

        Raises:
            Outage: The ledger cannot be reached.
        """
        return self.presents([model], *versions, run=run, at=at)[model]

    def presents(
        self,
        models: Sequence[str],
        *versions: int | None,
        run: str | None = None,
        at: datetime | None = None,
        moves: int | None = None,
    ) -> dict[str, Present]:
        """Return what ``present`` does of each of these models, by as many queries as for one.

        Args:
            models: The registered models.
            versions: As there, of each of them.
            run: As there.
            at: As there.
            moves: How many of the newest moves of the champion to read; of many models a few are enough to
                know the present and the previous one.
        """
        numbers = sorted({version for version in versions if version is not None})
        found = self._presents(models, numbers, run, at, moves or NEWEST_MOVES)
        # Behind many rollbacks the way back may lie further off.
        far = [name for name, events in found.items() if events.moves_since and not former_champions(events)]
        return found | (self._presents(far, numbers, run, at, _ALL_MOVES) if far else {})

    def _presents(
        self, models: Sequence[str], numbers: Sequence[int], run: str | None, at: datetime | None, moves: int
    ) -> dict[str, Present]:
        by_model: dict[str, list[Event]] = {model: [] for model in models}
        with outages(), self.engine.connect() as connection:
            rows = present_events(connection, _EVENT, models, numbers, run, at, moves)
            for event in filter(_is_known, map(_event, rows)):
                by_model[event.model].append(event)
        return {model: Present(events, numbers, moves) for model, events in by_model.items()}

    def of_run(self, model: str, run: str) -> list[Event]:
        """Return what an Airflow run recorded of a model, in order."""
        return self._known(sa.select(*_EVENT).where(_EVENTS.c.model == model, _EVENTS.c.run == run))

    def of_runs(self, runs: Sequence[str]) -> list[Event]:
        """Return what some Airflow runs recorded of any model, in order, by one query."""
        some = sa.any_(sa.cast(list(runs), sa.ARRAY(sa.Text)))
        return self._known(sa.select(*_EVENT).where(_EVENTS.c.run == some))

    def _known(self, query: sa.Select[Any]) -> list[Event]:
        with outages(), self.engine.connect() as connection:
            return list(filter(_is_known, map(_event, connection.execute(query.order_by(_EVENTS.c.seq)))))

    def now(self) -> datetime:
        """Return the time by the clock of the ledger's database, which dates events.

        Raises:
            Outage: The database did not answer.
        """
        with outages(), self.engine.connect() as connection:
            now: datetime = connection.execute(sa.select(sa.func.clock_timestamp())).scalar_one()
            return now

    def event(self, seq: int) -> Event | None:
        """Return the event with this number, or None."""
        query = sa.select(*_EVENT).where(_EVENTS.c.seq == seq)
        with outages(), self.engine.connect() as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None else _event(row)

    def newest(
        self, models: Sequence[str], kinds: Sequence[EventKind], *, each: int = 1
    ) -> dict[str, list[Event]]:
        """Return the newest events of each kind of each of these models, in order, by one query.

        Args:
            models: The registered models.
            kinds: Of each of them so many events.
            each: How many.

        Raises:
            Outage: The ledger cannot be reached.
        """
        by_model: dict[str, list[Event]] = {model: [] for model in models}
        with outages(), self.engine.connect() as connection:
            for event in map(_event, newest_events(connection, _EVENT, models, kinds, each)):
                by_model[event.model].append(event)
        return by_model

    def training_runs(self, versions: Collection[tuple[str, int]]) -> dict[tuple[str, int], str]:
        """Return the training run on record of these versions, by model and number; some have none."""
        query = sa.select(*_EVENT).where(
            sa.tuple_(_EVENTS.c.model, _EVENTS.c.version).in_(_rows_of(versions, sa.Text, sa.Integer)),
            _EVENTS.c.event.in_(ENTERED),
        )
        with outages(), self.engine.connect() as connection:
            events = list(map(_event, connection.execute(query.order_by(_EVENTS.c.seq))))
        return {
            (event.model, int(event.version or 0)): str(event.details["mlflow_run"])
            for event in events
            if "mlflow_run" in event.details
        }

    def models_of(self, heads: Collection[tuple[int, str]]) -> dict[tuple[int, str], str]:
        """Return the model of each of these events, by number and hash, that there is."""
        place = sa.tuple_(_EVENTS.c.seq, _EVENTS.c.hash)
        query = sa.select(_EVENTS.c.seq, _EVENTS.c.hash, _EVENTS.c.model)
        possible = [head for head in heads if head[0] < _FIRST_IMPOSSIBLE]
        with outages(), self.engine.connect() as connection:
            rows = connection.execute(query.where(place.in_(_rows_of(possible, sa.BigInteger, sa.Text))))
            return {(seq, digest): model for seq, digest, model in rows}

    def after_cursor(self, receiver: Receiver, model: str | None = None) -> tuple[list[Event], datetime]:
        """Return the events behind a receiver's cursors that it must be told of, in order, and the time now.

        Args:
            receiver: Each of its cursors is of one model.
            model: Only of this model's.

        Raises:
            Outage: The ledger cannot be reached.
            PodiumError: The ledger does not know the receiver.
        """
        of_receiver = _ANNOUNCED.c.receiver == receiver.name
        begin = sa.select(sa.func.max(_ANNOUNCED.c.seq)).where(of_receiver, _ANNOUNCED.c.model.is_(None))
        cursors = (
            sa.select(_ANNOUNCED.c.model, sa.func.max(_ANNOUNCED.c.seq).label("seq"))
            .where(of_receiver)
            .group_by(_ANNOUNCED.c.model)
            .subquery()
        )
        with outages(), self.engine.connect() as connection:
            began = connection.scalar(begin)
            if began is None:
                raise PodiumError(
                    f"the ledger does not know the receiver '{receiver.name}': "
                    "migrate it with this version of Podium"
                )
            query = (
                sa.select(*_EVENT)
                .outerjoin(cursors, cursors.c.model == _EVENTS.c.model)
                .where(_EVENTS.c.event.in_(receiver.kinds))
                .where(_EVENTS.c.seq > sa.func.greatest(began, cursors.c.seq))
                .order_by(_EVENTS.c.seq)
            )
            if model is not None:
                query = query.where(_EVENTS.c.model == model)
            events = list(map(_event, connection.execute(query)))
            now: datetime = connection.scalar(sa.select(sa.func.clock_timestamp()))  # type: ignore[assignment]
        return events, now

    def move_cursor(self, receiver: str, model: str, seq: int) -> None:
        """Record that a receiver was told of a model's events up to this one; one further back moves nothing.

        Raises:
            Outage: The ledger cannot be reached.
            PodiumError: There is no such event.
        """
        row = {"receiver": receiver, "model": model, "seq": seq}
        with outages(), self.engine.begin() as connection:
            connection.execute(insert(_ANNOUNCED).on_conflict_do_nothing(), row)

    def record(self) -> Iterator[Event]:
        """Yield all events of all models in order, in bounded memory; those of unknown kinds too."""
        with outages(), self.engine.connect() as connection:
            yield from record_on(connection)

    def stored(self) -> Iterator[StoredEvent]:
        """Yield the rows of all events in order, in bounded memory, for a check of the whole chain."""
        with outages(), self.engine.connect() as connection:
            yield from stored_events(connection)

    def size(self) -> int:
        """Return the number of the newest event, which is how many there are; 0: none."""
        with outages(), self.engine.connect() as connection:
            return connection.scalar(sa.select(sa.func.max(_EVENTS.c.seq))) or 0

    def may_append(self) -> bool:
        """Whether the role that logs in here may append events, as a model server's must not."""
        query = sa.select(sa.func.has_table_privilege("ledger_events", "INSERT"))
        with outages(), self.engine.connect() as connection:
            return bool(connection.scalar(query))

    def models(self) -> list[str]:
        """Return the names of all models that the ledger knows."""
        with outages(), self.engine.connect() as connection:
            return list(connection.scalars(_MODELS))

    @contextmanager
    def lock(self, model: str) -> Iterator[Lock]:
        """Hold the lock of one model; it ends with the connection, so a killed holder frees it.

        A holder that stands still, or whose host is lost, frees it after ``LOCK_IDLE_SECONDS``.

        Raises:
            Outage: The ledger cannot be reached, or the lock is not free within ``LOCK_TIMEOUT_SECONDS``.
        """
        number = int.from_bytes(hashlib.sha256(model.encode()).digest()[:8], signed=True)
        with outages():
            connection = self.engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        # A process that waits keeps one connection open, not two: Postgres has few.
        self.engine.dispose()
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


def migrate(url: str, *, app_role: str, server_role: str, tell: Callable[[str], None] = log.info) -> None:
    """Bring the ledger database to the newest schema, where the application may only insert and select.

    Safe to repeat, also where it was stopped half-way.

    Args:
        url: Logs in as the owner of the database and its tables.
        app_role: The application's role.
        server_role: That of model servers, which append no event.
        tell: Told how far the migration of an older ledger is.

    Raises:
        Outage: The ledger cannot be reached.
        PodiumError: Two of the three roles are one, or the database is not as it must be.
    """
    from alembic import command
    from alembic.config import Config

    owner = sa.make_url(url).username
    if len({owner, app_role, server_role}) < 3:
        raise PodiumError(
            "the ledger's owner, the application and model servers each need a role of their own; given are "
            f"{owner}, {app_role} and {server_role}"
        )
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes.update(url=url, tell=tell)
    with outages():
        command.upgrade(config, "head")
        _grant(url, {app_role: PRIVILEGES, server_role: SERVER_PRIVILEGES})


def _grant(url: str, by_role: Mapping[str, Mapping[str, str]]) -> None:
    """Grant each role its privileges and no other, and add the kinds of events that this Podium knows."""
    engine = sa.create_engine(url, poolclass=sa.pool.NullPool, hide_parameters=True)
    quoted = engine.dialect.identifier_preparer.quote_identifier
    with engine.begin() as connection:
        # Of two that grant on one table at once, Postgres lets one fail.
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_GRANT_LOCK)))
        for (role, granted), table in product(by_role.items(), PRIVILEGES):
            connection.exec_driver_sql(f"REVOKE ALL ON {table} FROM PUBLIC, {quoted(role)}")
            if table in granted:
                connection.exec_driver_sql(f"GRANT {granted[table]} ON {table} TO {quoted(role)}")
        for function in _OF_THE_APPLICATION:
            for role in by_role:
                connection.exec_driver_sql(f"REVOKE ALL ON FUNCTION {function} FROM PUBLIC, {quoted(role)}")
            connection.exec_driver_sql(
                f"GRANT EXECUTE ON FUNCTION {function} TO {quoted(next(iter(by_role)))}"
            )
        kinds = [{"kind": str(kind)} for kind in EventKind]
        connection.execute(insert(_KINDS).on_conflict_do_nothing(), kinds)
        for receiver in RECEIVERS:
            _begin_at_the_newest(connection, receiver)


def _begin_at_the_newest(connection: sa.Connection, receiver: Receiver) -> None:
    """Let a new receiver be told of what comes, and of nothing that was."""
    known = sa.exists().where(_ANNOUNCED.c.receiver == receiver.name, _ANNOUNCED.c.model.is_(None))
    newest = sa.select(sa.literal(receiver.name), sa.func.coalesce(sa.func.max(_EVENTS.c.seq), 0))
    new = newest.having(~known)
    connection.execute(sa.insert(_ANNOUNCED).from_select(["receiver", "seq"], new))


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
        raise PodiumError(
            f"the ledger database does not have the expected tables or rights (is it migrated?): {cause}"
        ) from error
    except (sa.exc.IntegrityError, sa.exc.DataError) as error:
        cause = str(error.orig).strip().splitlines()[0]
        if getattr(error.orig, "pgcode", None) == _NOT_UNIQUE:
            raise Outage(f"another process wrote the same to the ledger meanwhile: {cause}") from error
        raise PodiumError(f"the ledger database refused this: {cause}") from error


def _no_moment_for_a_standstill(_: RetryCallState) -> NoReturn:
    raise Outage(
        f"for {STANDSTILL_WAIT_SECONDS} s there was no moment without a registration, promotion or rollback "
        "under way; run it again"
    )


def _rows_of(pairs: Collection[tuple[Any, Any]], *kinds: type[sa.types.TypeEngine[Any]]) -> sa.Select[Any]:
    """Return pairs as rows: one statement, however many there are."""
    columns = zip(*pairs, strict=True) if pairs else ((), ())
    arrays = [
        sa.cast(sa.literal(list(values), ARRAY(kind)), ARRAY(kind))
        for values, kind in zip(columns, kinds, strict=True)
    ]
    rows = sa.func.unnest(*arrays).table_valued("one", "other").render_derived()
    return sa.select(rows.c.one, rows.c.other)


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
            "%s: event %s has the kind %r, which this version of Podium does not know, and is skipped",
            event.model,
            event.seq,
            str(event.event),
        )
    return event.event.is_known


def _event(row: sa.Row[Any]) -> Event:
    values = dict(row._mapping)
    return Event(**{**values, "event": EventKind(values["event"])})
