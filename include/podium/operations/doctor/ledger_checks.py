"""The ledger: does it answer, at the newest schema, to a role that can only insert and select?"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa
from alembic.script import ScriptDirectory

from podium.errors import Outage, PodiumError
from podium.ledger import store
from podium.operations.doctor.findings import TIMEOUT_SECONDS, Finding, State
from podium.settings import Settings

LEDGER, SCHEMA, ROLE, PASSWORD = "ledger", "ledger schema", "ledger role", "ledger password"
_MIGRATE = "`make up`, or `podium initialise stores` as the ledger's owner, migrates it"
_ALL_PRIVILEGES = ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER")
_TABLES = sa.text("""
    SELECT c.relname AS name, pg_get_userbyid(c.relowner) AS owner,
           pg_has_role(current_user, c.relowner, 'MEMBER') AS is_owner,
           ARRAY(SELECT p FROM unnest(CAST(:privileges AS text[])) AS p
                 WHERE has_table_privilege(current_user, c.oid, p)
                    OR p IN ('SELECT', 'INSERT', 'UPDATE', 'REFERENCES')
                   AND has_any_column_privilege(current_user, c.oid, p)) AS privileges
    FROM pg_class c
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND c.relname = ANY (:tables)
""")
_CHECKED = sa.text("""
    SELECT c.relname FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
    WHERE c.relnamespace = 'public'::regnamespace AND NOT t.tgisinternal AND t.tgenabled IN ('O', 'A')
""")
_MORE = sa.text("""
    SELECT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) AS superuser,
           has_schema_privilege(current_user, 'public', 'CREATE')
           OR has_database_privilege(current_user, current_database(), 'CREATE') AS creates
""")


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
                yield _role(connection, str(url.username))
        yield _password(url)
    except sa.exc.ArgumentError as error:
        yield Finding(LEDGER, State.PROBLEM, f"PODIUM_LEDGER_URL cannot be used: {error}", _ADDRESS)
    except PodiumError as error:
        yield Finding(LEDGER, State.PROBLEM, f"{_place(url)}: {error}", _ADDRESS)


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
        "install the Podium that it is of",
    )


def _role(connection: sa.Connection, user: str) -> Finding:
    wanted = {"privileges": list(_ALL_PRIVILEGES), "tables": list(store.PRIVILEGES)}
    tables = connection.execute(_TABLES, wanted).all()
    more = connection.execute(_MORE).one()
    extra = ["is a superuser"] if more.superuser else []
    extra += ["may create tables"] if more.creates else []
    owned = [table.name for table in tables if table.is_owner]
    checked = set(connection.scalars(_CHECKED))
    there = {table.name for table in tables}
    unchecked = [name for name in store.CHECKED_TABLES if name in there - checked]
    extra += [f"owns {', '.join(sorted(owned))}"] if owned else []
    missing = [f"{name} is missing" for name in store.PRIVILEGES if name not in there]
    for table in tables:
        allowed = set(store.PRIVILEGES[table.name].split(", "))
        over = [privilege for privilege in table.privileges if privilege not in allowed]
        if over and not owned:  # Whoever owns a table may do all to it.
            extra.append(f"may {', '.join(over)} on {table.name}")
        missing += [f"may not {name} on {table.name}" for name in sorted(allowed - set(table.privileges))]
    extra += [
        f"is not checked where it inserts into {name}: the trigger is off or gone" for name in unchecked
    ]
    if extra or missing:
        remedy = f"let PODIUM_LEDGER_URL name a role that owns nothing; {_MIGRATE} and grants anew"
        return Finding(ROLE, State.PROBLEM, f"{user} {'; '.join([*extra, *missing])}", remedy)
    owners = ", ".join(sorted({table.owner for table in tables}))
    return Finding(ROLE, State.OK, f"{user} may insert and select, no more; {owners} owns the tables")


def _password(url: sa.URL) -> Finding:
    try:
        with connected(url.set(password=secrets.token_hex())):
            return Finding(
                PASSWORD,
                State.PROBLEM,
                f"{_place(url)} takes any password for {url.username}",
                "let pg_hba.conf ask for scram-sha-256",
            )
    except Outage:
        with connected(url):  # It still answers: so it was the password.
            return Finding(PASSWORD, State.OK, "a wrong one is refused")
