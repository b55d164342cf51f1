"""The ledger: does it answer, at the newest schema, to a role that can only insert and select?"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import sqlalchemy as sa
from alembic.script import ScriptDirectory

from podium.errors import Outage, PodiumError
from podium.ledger import store
from podium.operations import postgres_roles
from podium.operations.doctor.findings import TIMEOUT_SECONDS, Finding, State
from podium.settings import Settings

LEDGER, SCHEMA, ROLE, PASSWORD = "ledger", "ledger schema", "ledger role", "ledger password"
SERVER_ROLE = "model server's role"
_MIGRATE = "`make up`, or `podium initialise stores` as the ledger's owner, migrates it"
_ALL_PRIVILEGES = ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER")
_TABLES = sa.text("""
    SELECT c.relname AS name, pg_get_userbyid(c.relowner) AS owner,
           pg_has_role(CAST(:role AS name), c.relowner, 'MEMBER') AS is_owner,
           ARRAY(SELECT p FROM unnest(CAST(:privileges AS text[])) AS p
                 WHERE has_table_privilege(CAST(:role AS name), c.oid, p)
                    OR p IN ('SELECT', 'INSERT', 'UPDATE', 'REFERENCES')
                   AND has_any_column_privilege(CAST(:role AS name), c.oid, p)) AS privileges
    FROM pg_class c
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND c.relname = ANY (:tables)
""")
_CHECKED = sa.text("""
    SELECT c.relname FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
    WHERE c.relnamespace = 'public'::regnamespace AND NOT t.tgisinternal AND t.tgenabled IN ('O', 'A')
""")
_MORE = sa.text("""
    SELECT r.rolsuper AS superuser,
           has_schema_privilege(r.oid, 'public', 'CREATE')
           OR has_database_privilege(r.oid, current_database(), 'CREATE') AS creates,
           has_database_privilege(r.oid, current_database(), 'CONNECT') AS connects,
           has_database_privilege(r.oid, current_database(), 'TEMPORARY') AS temporary,
           ARRAY(SELECT datname::text FROM pg_database
                 WHERE datname = ANY (:others) AND has_database_privilege(r.oid, oid, 'CONNECT')
                 ORDER BY datname) AS databases,
           ARRAY(SELECT roleid::regrole::text FROM pg_auth_members WHERE member = r.oid) AS memberships,
           EXISTS (SELECT FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace
                   AND proname IN ('lo_creat', 'lo_create', 'lo_from_bytea')
                   AND has_function_privilege(r.oid, oid, 'EXECUTE')) AS large_objects,
           EXISTS (SELECT FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace
                   AND proname ~ '^pg_(try_)?advisory_(xact_)?lock'
                   AND has_function_privilege(r.oid, oid, 'EXECUTE')) AS locks
    FROM pg_roles r WHERE r.rolname = :role
""")
_EXISTS = sa.text("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = :role)")


def check_ledger(settings: Settings) -> Iterator[Finding]:
    """Yield what is found; what a step needs and is not there ends the check."""
    if not settings.ledger_url.get_secret_value():
        yield Finding(LEDGER, State.NOT_CHECKED, "PODIUM_LEDGER_URL is not set")
        return
    try:
        url = sa.make_url(settings.ledger_url.get_secret_value())
        with connected(url) as connection:
            version = connection.scalar(sa.text("SHOW server_version"))
            yield Finding(LEDGER, State.OK, f"PostgreSQL {version}, {_place(url)}, as {url.username}")
            schema = _schema(connection)
            yield schema
            if schema.state is State.OK:
                yield _role(connection, _user(connection))
        yield _password(url)
    except sa.exc.ArgumentError as error:
        yield Finding(LEDGER, State.PROBLEM, f"PODIUM_LEDGER_URL cannot be used: {error}", _ADDRESS)
    except PodiumError as error:
        yield Finding(LEDGER, State.PROBLEM, f"{_place(url)}: {error}", _ADDRESS)


_MAKE_ROLE = (
    "let PODIUM_LEDGER_SERVER_URL name the role podium_server; `make up`, or `podium initialise stores` as "
    "the superuser, makes it and renews its rights"
)
_SERVER_ADDRESS = (
    "start Postgres, or set PODIUM_LEDGER_SERVER_URL "
    "(postgresql+psycopg2://podium_server:...@host:port/ledger)"
)
_ADDRESS = "start Postgres, or set PODIUM_LEDGER_URL (postgresql+psycopg2://podium:...@host:port/ledger)"


@contextmanager
def connected(url: sa.URL) -> Iterator[sa.Connection]:
    """Hold a connection of its own, that is not waited for long.

    Raises:
        Outage: The database did not answer, or refused the login.
        PodiumError: It is no Postgres, or not as it must be.
    """
    if url.get_backend_name() != "postgresql":
        raise PodiumError(f"the ledger is a Postgres database, not {url.get_backend_name()}")
    engine = sa.create_engine(
        url,
        poolclass=sa.pool.NullPool,
        hide_parameters=True,
        connect_args={
            "connect_timeout": TIMEOUT_SECONDS,
            "tcp_user_timeout": TIMEOUT_SECONDS * 1000,
            "options": f"-c statement_timeout={TIMEOUT_SECONDS}s",
        },
    )
    with store.outages(), engine.connect() as connection:
        yield connection


def _user(connection: sa.Connection) -> str:
    return str(connection.scalar(sa.text("SELECT current_user")))


def _place(url: sa.URL) -> str:
    return f"{url.host}:{url.port or 5432}/{url.database}"


def _schema(connection: sa.Connection) -> Finding:
    scripts = ScriptDirectory(str(Path(store.__file__).parent / "migrations"))
    head = scripts.get_current_head()
    there = connection.scalar(sa.text("SELECT to_regclass('public.alembic_version') IS NOT NULL"))
    if not there:
        return Finding(SCHEMA, State.PROBLEM, "the database is empty: never migrated", _MIGRATE)
    readable = connection.scalar(sa.text("SELECT has_table_privilege('public.alembic_version', 'SELECT')"))
    if not readable:
        return Finding(SCHEMA, State.PROBLEM, "this role may not read alembic_version", _MIGRATE)
    found = connection.scalar(sa.text("SELECT version_num FROM public.alembic_version"))
    if found == head:
        return Finding(SCHEMA, State.OK, f"at {found}, the newest")
    if found in {script.revision for script in scripts.walk_revisions()}:
        return Finding(SCHEMA, State.PROBLEM, f"at {found}, this Podium needs {head}", _MIGRATE)
    return Finding(
        SCHEMA,
        State.PROBLEM,
        f"at {found}, which this Podium does not know",
        "install the version of Podium that migrated it",
    )


def _role(connection: sa.Connection, user: str) -> Finding:
    rights = _rights(connection, user, store.PRIVILEGES)
    extra = [*rights.extra]
    there = {table.name for table in rights.tables}
    checked = set(connection.scalars(_CHECKED))
    extra += [
        f"inserts into {name} unchecked: the trigger is off or missing"
        for name in store.CHECKED_TABLES
        if name in there - checked
    ]
    missing = [*rights.missing, *([] if rights.more.locks else ["may not take the ledger's locks"])]
    if extra or missing:
        remedy = f"let PODIUM_LEDGER_URL name a role that owns nothing; {_MIGRATE} and renews its rights"
        return Finding(ROLE, State.PROBLEM, f"{user} {'; '.join([*extra, *missing])}", remedy)
    owners = ", ".join(sorted({table.owner for table in rights.tables}))
    return Finding(ROLE, State.OK, f"{user} may only insert and select; {owners} owns the tables")


def check_server_role(settings: Settings) -> Iterator[Finding]:
    """Yield what model servers may do in the ledger, asked with their address or with the application's.

    The first shows that the role can log in. The second tells of the role that a server should have.
    """
    for_server = settings.for_server()
    address = for_server.ledger_url.get_secret_value()
    if not address:
        yield Finding(
            SERVER_ROLE, State.NOT_CHECKED, "neither PODIUM_LEDGER_SERVER_URL nor PODIUM_LEDGER_URL is set"
        )
        return
    try:
        url = sa.make_url(address)
        with connected(url) as connection:
            if _schema(connection).state is State.OK:
                has_address = for_server is not settings
                role = _user(connection) if has_address else postgres_roles.LEDGER_SERVER_ROLE
                yield _server_role(connection, role)
            else:
                yield Finding(SERVER_ROLE, State.NOT_CHECKED, f"it needs {LEDGER} at the newest schema")
    except sa.exc.ArgumentError as error:
        yield Finding(
            SERVER_ROLE, State.PROBLEM, f"PODIUM_LEDGER_SERVER_URL cannot be used: {error}", _SERVER_ADDRESS
        )
    except PodiumError as error:
        yield Finding(SERVER_ROLE, State.PROBLEM, f"{_place(url)}: {error}", _SERVER_ADDRESS)


def _server_role(connection: sa.Connection, role: str) -> Finding:
    if not connection.scalar(_EXISTS, {"role": role}):
        return Finding(SERVER_ROLE, State.PROBLEM, f"there is no role {role}", _MAKE_ROLE)
    rights = _rights(connection, role, store.SERVER_PRIVILEGES)
    more = rights.more
    extra = [*rights.extra]
    extra += [f"is a member of {', '.join(more.memberships)}"] if more.memberships else []
    extra += [f"may connect to {', '.join(more.databases)}"] if more.databases else []
    extra += ["may make temporary tables"] if more.temporary else []
    extra += ["may make large objects"] if more.large_objects else []
    extra += ["may take the ledger's locks"] if more.locks else []
    missing = [*rights.missing, *([] if more.connects else ["may not connect to the ledger"])]
    if extra or missing:
        return Finding(SERVER_ROLE, State.PROBLEM, f"{role} {'; '.join([*extra, *missing])}", _MAKE_ROLE)
    return Finding(
        SERVER_ROLE, State.OK, f"{role} may only read events and insert answers, labels and counts"
    )


class _Rights(NamedTuple):
    """What a role may do beyond what it needs, what it may not; tables and other rights as found."""

    extra: list[str]
    missing: list[str]
    tables: Sequence[Any]
    more: Any


def _rights(connection: sa.Connection, role: str, privileges: Mapping[str, str]) -> _Rights:
    wanted = {"role": role, "privileges": list(_ALL_PRIVILEGES), "tables": list(store.PRIVILEGES)}
    tables = connection.execute(_TABLES, wanted).all()
    others = [name for _, name in postgres_roles.DATABASES if name != postgres_roles.LEDGER_DATABASE]
    more = connection.execute(_MORE, {"role": role, "others": others}).one()
    extra = ["is a superuser"] if more.superuser else []
    extra += ["may create tables"] if more.creates else []
    owned = [table.name for table in tables if table.is_owner]
    extra += [f"owns {', '.join(sorted(owned))}"] if owned else []
    there = {table.name for table in tables}
    missing = [f"{name} is missing" for name in privileges if name not in there]
    for table in tables:
        allowed = set(privileges[table.name].split(", ")) if table.name in privileges else set()
        over = [privilege for privilege in table.privileges if privilege not in allowed]
        if over and not owned:  # Whoever owns a table may do all to it.
            extra.append(f"may {', '.join(over)} on {table.name}")
        missing += [f"may not {name} on {table.name}" for name in sorted(allowed - set(table.privileges))]
    return _Rights(extra, missing, tables, more)


def _password(url: sa.URL) -> Finding:
    try:
        with connected(url.set(password=secrets.token_hex())):
            return Finding(
                PASSWORD,
                State.PROBLEM,
                f"{_place(url)} accepts any password for {url.username}",
                "let pg_hba.conf ask for scram-sha-256",
            )
    except Outage:
        with connected(url):  # It still answers: so it was the password.
            return Finding(PASSWORD, State.OK, "a wrong one is refused")
