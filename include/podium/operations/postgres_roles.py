"""The roles and databases of Postgres: each part has its own, closed to the others.

The ledger belongs to a role that only migrates it; the application inserts and selects there. Model servers,
which outside callers reach, have a role of their own, which appends no event.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing
from typing import Any

LEDGER_DATABASE, LEDGER_OWNER_ROLE, LEDGER_APP_ROLE = "ledger", "ledger_owner", "podium"
LEDGER_SERVER_ROLE = "podium_server"
# owner -> its one database
DATABASES: tuple[tuple[str, str], ...] = (
    ("airflow", "airflow"),
    ("mlflow", "mlflow"),
    (LEDGER_OWNER_ROLE, LEDGER_DATABASE),
)
ROLES: tuple[str, ...] = ("airflow", "mlflow", LEDGER_OWNER_ROLE, LEDGER_APP_ROLE, LEDGER_SERVER_ROLE)
# Everybody may make them, and what they hold is in no table.
_NO_LARGE_OBJECTS = "REVOKE EXECUTE ON FUNCTION lo_creat, lo_create, lo_from_bytea FROM PUBLIC"
# Whoever holds the locks of the ledger holds up all who append: they are of those who do.
_LOCK_FUNCTIONS = """
    SELECT oid::regprocedure::text FROM pg_proc
    WHERE pronamespace = 'pg_catalog'::regnamespace AND proname ~ '^pg_(try_)?advisory_'
"""
# Of itself, Postgres keeps the locks of a host that is lost without a word for more than two hours.
_KEEPALIVES = {"tcp_keepalives_idle": 30, "tcp_keepalives_interval": 10, "tcp_keepalives_count": 3}
_MAINTENANCE = "postgres"
_CONNECT_SECONDS = 10


def login_at(url: str) -> Callable[[str], Any]:
    """Return what logs in to a database of this server by its name, as the URL's user; by psycopg2."""
    import psycopg2
    from sqlalchemy import make_url

    server = make_url(url)
    return lambda database: psycopg2.connect(
        host=server.host,
        port=server.port,
        user=server.username,
        password=server.password,
        dbname=database,
        connect_timeout=_CONNECT_SECONDS,
    )


def create(connect: Callable[[str], Any], passwords: Mapping[str, str]) -> None:
    """Make what is missing, and set the passwords; safe to repeat.

    The ledger is owned by a role that only migrates it; the application and model servers may do no more than
    connect to it, and model servers take no locks there.

    Args:
        connect: Logs in as superuser to the database of this name: ``login_at``.
        passwords: Of each of ``ROLES``.
    """
    with closing(connect(_MAINTENANCE)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            for database in (_MAINTENANCE, "template1"):
                cursor.execute(f"REVOKE ALL ON DATABASE {database} FROM PUBLIC")
            for role in ROLES:
                _make_role(cursor, role, passwords[role])
            for owner, database in DATABASES:
                _make_database(cursor, owner, database)
    with closing(connect(LEDGER_DATABASE)) as connection, connection, connection.cursor() as cursor:
        for role in (LEDGER_APP_ROLE, LEDGER_SERVER_ROLE):
            _take_ledger_from(cursor, role)
        cursor.execute(_NO_LARGE_OBJECTS)
        _keep_locks_for(cursor, LEDGER_OWNER_ROLE, LEDGER_APP_ROLE)


def _make_role(cursor: Any, role: str, password: str) -> None:
    from psycopg2 import sql

    values = {"role": sql.Identifier(role), "password": sql.Literal(password)}
    cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (role,))
    if cursor.fetchone() is None:
        cursor.execute(sql.SQL("CREATE ROLE {role} LOGIN").format(**values))
    cursor.execute(sql.SQL("ALTER ROLE {role} PASSWORD {password}").format(**values))
    for setting, seconds in _KEEPALIVES.items():
        cursor.execute(
            sql.SQL("ALTER ROLE {} SET {} = {}").format(
                values["role"], sql.Identifier(setting), sql.Literal(seconds)
            )
        )


def _make_database(cursor: Any, owner: str, database: str) -> None:
    from psycopg2 import sql

    names = {"owner": sql.Identifier(owner), "db": sql.Identifier(database)}
    cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", (database,))
    if cursor.fetchone() is None:
        cursor.execute(sql.SQL("CREATE DATABASE {db} OWNER {owner}").format(**names))
    cursor.execute(sql.SQL("ALTER DATABASE {db} OWNER TO {owner}").format(**names))
    cursor.execute(sql.SQL("REVOKE ALL ON DATABASE {db} FROM PUBLIC").format(**names))


def _take_ledger_from(cursor: Any, role: str) -> None:
    """Give to the ledger's owner what a role owns there: an earlier version's application, everything."""
    from psycopg2 import sql

    names = {
        "role": sql.Identifier(role),
        "owner": sql.Identifier(LEDGER_OWNER_ROLE),
        "db": sql.Identifier(LEDGER_DATABASE),
    }
    cursor.execute(sql.SQL("REASSIGN OWNED BY {role} TO {owner}").format(**names))
    cursor.execute(sql.SQL("REVOKE ALL ON DATABASE {db} FROM {role}").format(**names))
    cursor.execute(sql.SQL("GRANT CONNECT ON DATABASE {db} TO {role}").format(**names))


def _keep_locks_for(cursor: Any, *roles: str) -> None:
    cursor.execute(_LOCK_FUNCTIONS)
    functions = ", ".join(name for (name,) in cursor.fetchall())
    cursor.execute(f"REVOKE EXECUTE ON FUNCTION {functions} FROM PUBLIC")
    cursor.execute(f"GRANT EXECUTE ON FUNCTION {functions} TO {', '.join(roles)}")
