"""The databases of a backup: all three as of one moment while everything runs, and back into empty ones."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import sqlalchemy as sa

from podium.disk import full_disk_named
from podium.errors import Outage, PodiumError
from podium.ledger.chain import Chain, read_head, walk
from podium.ledger.events import CHAMPION_MOVES, ENTERED, Event, EventKind
from podium.ledger.store import CONNECT_TIMEOUT_SECONDS, Ledger, migrate, record_on
from podium.names import RETENTION, Tag, password_variables, version_name
from podium.operations.backup.index import Dump, StoredObject, private_file, sha256_of
from podium.operations.mlflow_server import ADMIN, PROMOTER, READER
from podium.operations.postgres_programs import packaged_bin
from podium.operations.postgres_roles import (
    DATABASES,
    LEDGER_APP_ROLE,
    LEDGER_DATABASE,
    LEDGER_SERVER_ROLE,
)
from podium.registry.manifest import Manifest

OVERWRITES_NOTHING = (
    "and a restore overwrites nothing: restore into a new, empty stack, or remove the data of this one first"
)
AIRFLOW, MLFLOW = "airflow", "mlflow"
# Whoever points comes before what is pointed to: Airflow's runs name versions and MLflow's runs.
_IN_ORDER = (AIRFLOW, MLFLOW, LEDGER_DATABASE)
_OWNERS = {database: owner for owner, database in DATABASES}
# Tables with a row from the first use on, not from the first start. MLflow's are private to it:
# https://github.com/mlflow/mlflow/blob/v3.17.2/mlflow/store/model_registry/dbmodels/models.py
_IN_USE = {
    AIRFLOW: ("dag_run", "variable"),
    MLFLOW: ("runs", "logged_models", "model_versions"),
    LEDGER_DATABASE: ("ledger_events", "live_answers"),
}
# The logins that a stack makes with its own passwords at its next start, where they are missing. Private to
# https://github.com/apache/airflow/blob/providers-fab/3.10.2/providers/fab/src/airflow/providers/fab/auth_manager/models/__init__.py
# and https://github.com/mlflow/mlflow/blob/v3.17.2/mlflow/server/auth/db/models.py
_STACK_LOGINS = {
    AIRFLOW: (
        "ab_user",
        list(password_variables()),
        (
            "UPDATE ab_user SET created_by_fk = NULL, changed_by_fk = NULL",
            "DELETE FROM ab_user WHERE username = ANY(:logins)",
        ),
    ),
    MLFLOW: (
        "users",
        [ADMIN, PROMOTER, READER, RETENTION],
        (
            "DELETE FROM user_role_assignments WHERE user_id IN "
            "(SELECT id FROM users WHERE username = ANY(:logins))",
            "DELETE FROM users WHERE username = ANY(:logins)",
        ),
    ),
}
_LOCK_WAIT = "60s"


@dataclass(frozen=True)
class Snapshot:
    """A database as it was at one moment, for as long as the connection is open.

    Attributes:
        name: By which other connections see the same.
    """

    database: str
    name: str
    connection: sa.Connection


@dataclass(frozen=True)
class Facts:
    """What the copied databases say.

    Attributes:
        postgres: The server's version.
        ledger_schema: The newest migration of the ledger's database.
        chain: The ledger's, walked from its beginning.
        problems: What is wrong with it, in sentences.
        champions: By model, from the ledger.
        versions: Each registered version that MLflow knows, with the place of its files and its manifest.
    """

    postgres: str
    ledger_schema: str
    chain: Chain
    problems: tuple[str, ...]
    champions: Mapping[str, int]
    versions: tuple[tuple[str, int, str, Manifest], ...]


@contextmanager
def snapshots(url: str) -> Iterator[dict[str, Snapshot]]:
    """Hold all three databases as of one moment in which no champion moves and nothing is recorded.

    The moment takes milliseconds; the snapshots are held for as long as the dumps take, and stop nobody.

    Args:
        url: The superuser's, of any database of the server.

    Raises:
        Outage: The server did not answer, or there was no such moment.
    """
    with ExitStack() as held:
        with Ledger(_url(url, LEDGER_DATABASE)).standstill():
            taken = {name: held.enter_context(_snapshot(url, name)) for name in _IN_ORDER}
        yield taken


def dump(url: str, snapshot: Snapshot, folder: Path) -> Dump:
    """Write what a snapshot holds to a file of a backup's folder.

    Raises:
        DiskFull: There is no room for it.
        Outage: pg_dump failed.
    """
    file = f"databases/{snapshot.database}.dump"
    doing = f"the backup of the database {snapshot.database}"
    with full_disk_named(doing, folder), private_file(folder / file) as path:
        options = ["--format=custom", f"--snapshot={snapshot.name}", f"--lock-wait-timeout={_LOCK_WAIT}"]
        _run(url, snapshot.database, "pg_dump", *options, "--no-owner", "--no-acl", f"--file={path}")
    return Dump(database=snapshot.database, file=file, size=path.stat().st_size, sha256=sha256_of(path))


def read_facts(taken: Mapping[str, Snapshot]) -> Facts:
    """Read what snapshots say about champions and versions, and whether the ledger's chain is whole."""
    mlflow, ledger = taken[MLFLOW].connection, taken[LEDGER_DATABASE].connection
    with _answers():
        told = {seq: (model, digest) for model, seq, digest in _told_heads(mlflow)}
        noted = _Noted(told)
        chain = walk(noted.passing(record_on(ledger)))
        problems = [*(f"the ledger: {difference}" for difference in chain.differences), *noted.unreadable]
        problems += [
            f"the ledger: event {seq} is not in it, although MLflow has it on record for {model}"
            for seq, (model, digest) in told.items()
            if noted.hashes.get(seq) != digest and not chain.difference
        ]
        versions = _versions(mlflow, noted.manifests)
        return Facts(
            postgres=str(ledger.scalar(sa.text("SHOW server_version"))),
            ledger_schema=str(ledger.scalar(sa.text("SELECT version_num FROM alembic_version"))),
            chain=chain,
            problems=tuple(problems),
            champions=noted.champions,
            versions=tuple(one for one in versions if one[:2] not in noted.going),
        )


@dataclass
class _Noted:
    """What one walk over the record keeps of it.

    Attributes:
        told: The events that MLflow was told of.
        hashes: Of these the hash, by number.
        champions: By the model.
        manifests: By model and version.
        going: The versions whose deletion was begun: what is missing of them is gone on purpose.
        unreadable: Which manifests cannot be read.
    """

    told: Collection[int]
    hashes: dict[int, str] = field(default_factory=dict)
    champions: dict[str, int] = field(default_factory=dict)
    manifests: dict[tuple[str, int], Manifest] = field(default_factory=dict)
    going: set[tuple[str, int]] = field(default_factory=set)
    unreadable: list[str] = field(default_factory=list)

    def passing(self, events: Iterable[Event]) -> Iterator[Event]:
        """Note events, and pass them on."""
        for event in events:
            self._note(event)
            yield event

    def _note(self, event: Event) -> None:
        named = event.model, int(event.version or 0)
        if event.seq in self.told:
            self.hashes[event.seq] = event.hash
        if event.event in CHAMPION_MOVES:
            self.champions.pop(event.model, None)
            if event.version is not None:
                self.champions[event.model] = event.version
        if event.event is EventKind.DELETION_STARTED:
            self.going.add(named)
        elif event.event is EventKind.DELETION_FAILED:
            self.going.discard(named)
        # Registered by an earlier version there is none; of an accepted one there may be.
        elif event.event in (*ENTERED, EventKind.OUTSIDE_MOVE_ACCEPTED) and "manifest" in event.details:
            try:
                self.manifests[named] = Manifest.from_json(event.details["manifest"])
            except TypeError:
                self.unreadable.append(f"the ledger: the manifest of event {event.seq} cannot be read")


def _versions(
    mlflow: sa.Connection, manifests: Mapping[tuple[str, int], Manifest]
) -> Iterator[tuple[str, int, str, Manifest]]:
    query = sa.text(
        "SELECT name, version, storage_location FROM model_versions "
        "WHERE current_stage <> 'Deleted_Internal' ORDER BY name, version"
    )
    for name, number, location in mlflow.execute(query):
        if (name, number) in manifests:
            yield name, number, location or "", manifests[name, number]


def missing_files(facts: Facts, objects: Iterable[StoredObject], bucket: str) -> list[str]:
    """Say which files of registered versions are not among the copied objects as they were registered."""
    copied = {item.key: item for item in objects}
    said = []
    for model, number, location, manifest in facts.versions:
        root = location.removeprefix("mlflow-artifacts:/").removeprefix(f"s3://{bucket}/").strip("/")
        for file in manifest.files:
            item = copied.get(f"{root}/{file.path}")
            if item is None or item.sha256 != file.sha256:
                what = "is not in the bucket" if item is None else "differs from the registered file"
                said.append(f"{model} {version_name(number)}: {file.path} {what}")
    return said


def size_of(url: str) -> int:
    """Return how many bytes the three databases take on the server; their dumps take less.

    Raises:
        Outage: The server did not answer.
    """
    query = sa.text("SELECT sum(pg_database_size(datname)) FROM pg_database WHERE datname = ANY(:names)")
    with _answers(), _connection(url, None) as connection:
        return int(connection.scalar(query, {"names": list(_IN_ORDER)}) or 0)


def assert_empty(url: str) -> None:
    """Make sure that the databases are there, unused, and that nobody works with them.

    Raises:
        PodiumError: They are not; says what to do.
        Outage: The server did not answer.
    """
    with _answers(), _connection(url, None) as connection:
        there = set(connection.scalars(sa.text("SELECT datname FROM pg_database")))
        others = sa.text(
            "SELECT datname, count(*) FROM pg_stat_activity WHERE datname = ANY(:names) "
            "AND backend_type = 'client backend' GROUP BY datname"
        )
        busy = connection.execute(others, {"names": list(_IN_ORDER)}).all()
    if missing := [name for name in _IN_ORDER if name not in there]:
        raise PodiumError(
            f"the server has no database {', '.join(missing)}: make databases, roles and bucket first, with "
            "`podium initialise stores`"
        )
    if busy:
        who = ", ".join(f"{count} connected to {name}" for name, count in busy)
        raise PodiumError(
            f"clients are connected to the databases ({who}): stop Airflow, MLflow and servers first"
        )
    held = [said for name in _IN_ORDER for said in _in_use(url, name)]
    if held:
        raise PodiumError(f"the databases are in use ({', '.join(held)}), {OVERWRITES_NOTHING}")


def restore_database(url: str, item: Dump, folder: Path) -> None:
    """Put a dump in the place of an unused database, in one transaction; its owner owns all of it.

    Neither owners nor privileges come from the dump. Those of the ledger are made as for a new one.

    Raises:
        Outage: pg_restore failed; nothing of the dump is there.
    """
    owner = _OWNERS[item.database]
    with _answers(), _connection(url, item.database) as connection, connection.begin():
        for statement in (
            "DROP SCHEMA public CASCADE",
            "CREATE SCHEMA public AUTHORIZATION pg_database_owner",
            "GRANT USAGE ON SCHEMA public TO PUBLIC",
            "COMMENT ON SCHEMA public IS 'standard public schema'",
        ):
            connection.execute(sa.text(statement))
    options = ["--single-transaction", "--exit-on-error", "--no-owner", "--no-acl", f"--role={owner}"]
    _run(url, item.database, "pg_restore", *options, f"--dbname={item.database}", str(folder / item.file))
    if item.database in _STACK_LOGINS:
        _remove_stack_logins(url, item.database)
    if item.database == LEDGER_DATABASE:
        as_owner = _url(url, LEDGER_DATABASE, options=f"-c role={owner}")
        migrate(as_owner, app_role=LEDGER_APP_ROLE, server_role=LEDGER_SERVER_ROLE)


def walked_ledger(url: str) -> Chain:
    """Walk the chain of the ledger.

    Raises:
        Outage: The server did not answer.
    """
    with _answers(), _connection(url, LEDGER_DATABASE) as connection:
        return walk(record_on(connection))


def _told_heads(mlflow: sa.Connection) -> Iterator[tuple[str, int, str]]:
    query = sa.text("SELECT name, value FROM registered_model_tags WHERE key = :head")
    for model, told in mlflow.execute(query, {"head": str(Tag.LEDGER_HEAD)}):
        if (head := read_head(told)) is not None:
            yield model, *head


def _in_use(url: str, database: str) -> Iterator[str]:
    with _answers(), _connection(url, database) as connection:
        for table in _IN_USE[database]:
            if connection.scalar(sa.text("SELECT to_regclass(:table)"), {"table": table}) is None:
                continue
            if count := connection.scalar(sa.select(sa.func.count()).select_from(sa.table(table))):
                yield f"{database}: {count} rows of {table}"


def _remove_stack_logins(url: str, database: str) -> None:
    table, logins, statements = _STACK_LOGINS[database]
    with _answers(), _connection(url, database) as connection, connection.begin():
        if connection.scalar(sa.text("SELECT to_regclass(:table)"), {"table": table}) is not None:
            for statement in statements:
                parameters = {"logins": logins} if ":logins" in statement else {}
                connection.execute(sa.text(statement), parameters)


@contextmanager
def _snapshot(url: str, database: str) -> Iterator[Snapshot]:
    with _connection(url, database, isolation_level="REPEATABLE READ") as connection:
        with _answers():
            connection.execute(sa.text("SET idle_in_transaction_session_timeout = 0"))
            name = str(connection.scalar(sa.text("SELECT pg_export_snapshot()")))
        yield Snapshot(database, name, connection)


@contextmanager
def _connection(url: str, database: str | None, **options: str) -> Iterator[sa.Connection]:
    engine = sa.create_engine(
        _url(url, database),
        poolclass=sa.pool.NullPool,
        hide_parameters=True,
        connect_args={"connect_timeout": CONNECT_TIMEOUT_SECONDS},
    ).execution_options(**options)
    with engine.connect() as connection:
        yield connection


@contextmanager
def _answers() -> Iterator[None]:
    """Translate the databases' errors: no answer to Outage, what cannot be asked to PodiumError."""
    try:
        yield
    except (sa.exc.OperationalError, sa.exc.InterfaceError) as error:
        raise Outage(f"Postgres did not answer: {str(error.orig).strip().splitlines()[0]}") from error
    except sa.exc.ProgrammingError as error:
        cause = str(error.orig).strip().splitlines()[0]
        raise PodiumError(
            "the databases do not have the expected tables or rights (all migrated? run as the superuser?): "
            f"{cause}"
        ) from error


def _url(url: str, database: str | None, **query: str) -> str:
    made = sa.make_url(url).set(drivername="postgresql+psycopg2").update_query_dict(query)
    if database is not None:
        made = made.set(database=database)
    return made.render_as_string(hide_password=False)


def _run(url: str, database: str, program: str, *arguments: str) -> None:
    """Run one of Postgres' own programs; the password is in its environment, never on its command line."""
    server = sa.make_url(url)
    environment = {
        "LC_ALL": "C",
        "PGHOST": server.host,
        "PGPORT": str(server.port or 5432),
        "PGUSER": server.username,
        "PGPASSWORD": None if server.password is None else str(server.password),
        "PGDATABASE": database,
        "PGCONNECT_TIMEOUT": str(CONNECT_TIMEOUT_SECONDS),
    }
    done = subprocess.run(
        [str(packaged_bin() / program), *arguments],
        env={name: value for name, value in environment.items() if value is not None},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode:
        said = "; ".join(done.stderr.strip().splitlines()[-3:])
        # Where the server's disk is full, the program says that the message is from there.
        if program == "pg_dump" and os.strerror(errno.ENOSPC) in said and "from server" not in said:
            raise OSError(errno.ENOSPC, f"{program}: {said}")
        raise Outage(f"{program} of the database {database} failed: {said}")
