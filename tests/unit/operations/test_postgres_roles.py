"""Who may do what in the ledger's database: its owner migrates, the application and model servers add."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import psycopg2
import pytest
from psycopg2 import sql
from psycopg2.errors import InsufficientPrivilege

from podium.errors import PodiumError
from podium.ledger.events import EventKind, NewEvent
from podium.ledger.store import Ledger, migrate
from podium.operations import postgres_roles
from podium.operations.initialise import migrate_ledger
from podium.stack import postgres
from podium.stack.layout import Layout
from support.database import as_superuser, execute
from support.old_ledger import migrate_to

PRIVILEGES = """
    SELECT table_name, privilege_type FROM information_schema.table_privileges
    WHERE grantee IN (%s, 'PUBLIC') AND table_schema = 'public'
"""
ADDED_TO_BY_SERVERS = ("live_answers", "live_labels", "live_counts")
ALLOWED = {
    ("alembic_version", "SELECT"),
    ("event_kinds", "SELECT"),
    ("servers", "SELECT"),
    ("watch_counts", "SELECT"),
    ("served_counts", "SELECT"),
    ("scored_partitions", "SELECT"),
    ("scored_counts", "SELECT"),
    *(
        (table, privilege)
        for table in ("ledger_events", "announced", "notices", "monitoring_evidence", *ADDED_TO_BY_SERVERS)
        for privilege in ("SELECT", "INSERT")
    ),
}
NOT_FOR_SERVERS = (
    *("announced", "notices", "event_kinds", "servers", "watch_counts", "served_counts"),
    *("scored_partitions", "scored_counts"),
)
ALLOWED_TO_SERVERS = {row for row in ALLOWED if row[0] not in NOT_FOR_SERVERS} - {
    ("ledger_events", "INSERT"),
    ("monitoring_evidence", "INSERT"),
}
OWNERS = """
    SELECT relname, relowner::regrole::text FROM pg_class
    WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'S')
    UNION ALL
    SELECT datname, datdba::regrole::text FROM pg_database WHERE datname = current_database()
"""


def registered(model: str) -> NewEvent:
    return NewEvent(EventKind.REGISTERED, model, 1)


REFUSED = [
    "UPDATE ledger_events SET model = 'x'",
    "DELETE FROM ledger_events",
    "TRUNCATE ledger_events",
    "DROP TABLE ledger_events",
    "ALTER TABLE ledger_events ADD COLUMN x int",
    "ALTER TABLE ledger_events DISABLE TRIGGER ALL",
    "ALTER TABLE ledger_events OWNER TO podium",
    "CREATE INDEX ON ledger_events (model)",
    "CREATE TABLE x ()",
    "CREATE TEMPORARY TABLE ledger_events ()",
    "CREATE SCHEMA x",
    "ALTER DATABASE ledger OWNER TO podium",
    "SET ROLE ledger_owner",
    "INSERT INTO alembic_version VALUES ('x')",
    "UPDATE alembic_version SET version_num = 'x'",
    "DELETE FROM alembic_version",
    "UPDATE live_answers SET candidate_answers = NULL",
    "DELETE FROM live_answers",
    "UPDATE live_labels SET labels = '[]'",
    "DELETE FROM live_labels",
    "UPDATE live_counts SET rows = 1000000",
    "DELETE FROM live_counts",
    "UPDATE announced SET seq = 0",
    "DELETE FROM announced",
    "UPDATE servers SET version = 1",
    "DELETE FROM servers",
    "UPDATE watch_counts SET new_failed = 0",
    "DELETE FROM watch_counts",
    "UPDATE served_counts SET lost = 0",
    "DELETE FROM served_counts",
    "UPDATE scored_partitions SET undated = 0",
    "DELETE FROM scored_partitions",
    "INSERT INTO scored_counts DEFAULT VALUES",
    "DELETE FROM scored_counts",
    "UPDATE monitoring_evidence SET content = '{}'",
    "DELETE FROM monitoring_evidence",
    "SELECT * FROM ledger_events FOR SHARE",
    "SELECT * FROM live_answers FOR UPDATE",
    "BEGIN; LOCK TABLE ledger_events IN EXCLUSIVE MODE",
    "BEGIN; LOCK TABLE live_answers IN SHARE MODE",
    "CREATE FUNCTION x() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "SELECT lo_create(0)",
    "SET SESSION AUTHORIZATION ledger_owner",
]


@pytest.mark.parametrize("statement", REFUSED)
def test_the_application_changes_nothing_that_is_written(ledger_url: str, statement: str) -> None:
    with pytest.raises(InsufficientPrivilege):
        execute(ledger_url, statement)


def test_the_application_inserts_and_selects(ledger_url: str) -> None:
    model = f"model-{uuid.uuid4().hex[:8]}"
    written = Ledger(ledger_url).append(registered(model))
    assert Ledger(ledger_url).history(model) == [written]
    assert execute(ledger_url, "SELECT count(*) FROM alembic_version") == [(1,)]


@pytest.mark.parametrize(
    "statement",
    [
        *REFUSED,
        "INSERT INTO ledger_events (event) VALUES ('approved')",
        "SELECT forget_live_answers('toy', clock_timestamp() - interval '9 days', 1)",
        "SELECT keep_scored('toy', 1, repeat('0', 64), 'a', '', now(), NULL, NULL, 0, true, '[]')",
        "INSERT INTO ledger_events (event) SELECT event FROM ledger_events",
        "COPY ledger_events FROM STDIN",
        "MERGE INTO ledger_events USING live_counts ON false WHEN NOT MATCHED THEN INSERT (seq) VALUES (9)",
        "SELECT * FROM event_kinds",
        "SELECT * FROM announced",
        "INSERT INTO announced VALUES ('asset: champion', 'toy', 0)",
        "BEGIN; LOCK TABLE ledger_events IN ROW EXCLUSIVE MODE",
        "SET ROLE podium",
        "GRANT podium TO podium_server",
        *(
            f"SELECT pg_{kind}({numbers})"
            for kind in ("advisory_lock", "advisory_xact_lock_shared", "try_advisory_lock")
            for numbers in ("4215337002", "1, 2")
        ),
    ],
)
def test_a_model_server_appends_changes_locks_and_makes_nothing(layout: Layout, statement: str) -> None:
    with pytest.raises(InsufficientPrivilege):
        execute(layout.ledger_server_url, statement)


def test_a_model_server_records_no_event_with_our_own_code_either(layout: Layout) -> None:
    forged = NewEvent(EventKind.APPROVED, "toy", 3, actor="amy", key="decision:run")
    with pytest.raises(PodiumError, match="permission denied"):
        Ledger(layout.ledger_server_url).append(forged)
    with pytest.raises(PodiumError, match="permission denied"), Ledger(layout.ledger_server_url).lock("toy"):
        pass
    assert Ledger(layout.ledger_url).find("decision:run") is None
    asked = [Ledger(url).may_append() for url in (layout.ledger_url, layout.ledger_server_url)]
    assert asked == [True, False]


def test_migrating_takes_back_what_else_was_granted(layout: Layout) -> None:
    owner = layout.ledger_owner_url
    execute(owner, "GRANT UPDATE, DELETE ON ledger_events TO podium")
    execute(owner, "GRANT UPDATE (model) ON ledger_events TO podium")
    execute(owner, "GRANT TRUNCATE ON ledger_events TO PUBLIC")
    execute(owner, "GRANT ALL ON alembic_version TO PUBLIC, podium")
    execute(owner, "GRANT ALL ON ledger_events, live_labels, event_kinds TO podium_server")
    execute(owner, "GRANT INSERT (event) ON ledger_events TO podium_server")
    for _ in range(2):
        migrate(owner, app_role="podium", server_role="podium_server")
        assert set(execute(owner, PRIVILEGES, "podium")) == ALLOWED
        assert set(execute(owner, PRIVILEGES, "podium_server")) == ALLOWED_TO_SERVERS
    with pytest.raises(InsufficientPrivilege):
        execute(layout.ledger_server_url, "INSERT INTO ledger_events (event) VALUES ('approved')")
    with pytest.raises(InsufficientPrivilege):
        execute(layout.ledger_url, "UPDATE ledger_events SET model = 'x'")


def test_any_name_of_a_role_is_quoted(layout: Layout) -> None:
    odd = """odd "role" 100%s; it's :x"""
    role = sql.Identifier(odd)
    as_superuser(layout, sql.SQL("CREATE ROLE {}").format(role))
    try:
        migrate(layout.ledger_owner_url, app_role=odd, server_role="podium_server")
        assert set(execute(layout.ledger_owner_url, PRIVILEGES, odd)) == ALLOWED
    finally:
        as_superuser(layout, sql.SQL("DROP OWNED BY {0}; DROP ROLE {0}").format(role), "ledger")


@pytest.mark.parametrize(("app", "server"), [("ledger_owner", "s"), ("s", "ledger_owner"), ("s", "s")])
def test_owner_application_and_servers_are_three_roles(layout: Layout, app: str, server: str) -> None:
    with pytest.raises(
        PodiumError, match=f"each need a role of their own; given are ledger_owner, {app} and"
    ):
        migrate(layout.ledger_owner_url, app_role=app, server_role=server)


@pytest.fixture
def earlier(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A ledger database as an earlier version made it: the application's own, at the first revision."""
    name = f"earlier_{uuid.uuid4().hex[:8]}"
    monkeypatch.setattr(postgres_roles, "LEDGER_DATABASE", name)
    monkeypatch.setattr(postgres_roles, "DATABASES", (("ledger_owner", name),))
    as_superuser(layout, f"CREATE DATABASE {name} OWNER podium")
    migrate_to(layout.database_url("podium", name), "0001")
    yield name
    as_superuser(layout, f"DROP DATABASE {name} WITH (FORCE)")


def test_the_owner_takes_over_the_ledger_of_an_earlier_version(layout: Layout, earlier: str) -> None:
    app, owner = (layout.database_url(role, earlier) for role in ("podium", "ledger_owner"))
    assert {role for _, role in execute(app, OWNERS)} == {"podium"}

    for _ in range(2):
        postgres.create_databases(layout)
        migrate(owner, app_role="podium", server_role="podium_server")

    owners = dict(execute(app, OWNERS))
    assert {"ledger_events", "alembic_version", earlier} <= set(owners)
    assert set(owners.values()) == {"ledger_owner"}
    Ledger(app).append(registered("toy"))
    assert set(execute(owner, PRIVILEGES, "podium")) == ALLOWED
    assert set(execute(owner, PRIVILEGES, "podium_server")) == ALLOWED_TO_SERVERS
    assert Ledger(layout.database_url("podium_server", earlier)).history("toy")
    for statement in ("DELETE FROM ledger_events", "CREATE TABLE x ()", "CREATE TEMPORARY TABLE x ()"):
        with pytest.raises(InsufficientPrivilege):
            execute(app, statement)


def test_each_start_sets_the_databases_owner_and_grants_again(layout: Layout, earlier: str) -> None:
    as_superuser(layout, f"ALTER DATABASE {earlier} OWNER TO {postgres.SUPERUSER}")
    as_superuser(layout, f"GRANT ALL ON DATABASE {earlier} TO podium, podium_server, PUBLIC")
    postgres.create_databases(layout)
    for app in (layout.database_url(role, earlier) for role in ("podium", "podium_server")):
        assert (earlier, "ledger_owner") in execute(app, OWNERS)
        for statement in ("CREATE SCHEMA x", "CREATE TEMPORARY TABLE x ()"):
            with pytest.raises(InsufficientPrivilege):
                execute(app, statement)


def test_a_start_gives_a_stack_from_before_the_role_of_model_servers(
    layout: Layout, migrated_database: str
) -> None:
    databases = ("ledger", migrated_database)
    for database in databases:
        as_superuser(layout, "DROP OWNED BY podium_server", database)
    as_superuser(layout, "DROP ROLE podium_server")
    postgres.create_databases(layout)
    for database in databases:
        url = layout.database_url("ledger_owner", database)
        migrate(url, app_role="podium", server_role="podium_server")
    assert set(execute(layout.ledger_owner_url, PRIVILEGES, "podium_server")) == ALLOWED_TO_SERVERS
    assert execute(layout.ledger_server_url, "SHOW tcp_keepalives_idle") == [("30",)]
    with pytest.raises(InsufficientPrivilege):
        execute(layout.ledger_server_url, "SELECT pg_advisory_lock(4215337002)")


def test_only_the_roles_of_the_ledger_may_connect_to_it(layout: Layout) -> None:
    for role in ("podium", "podium_server", "ledger_owner"):
        assert execute(layout.database_url(role, "ledger"), "SELECT 1") == [(1,)]
    servers = [("podium_server", database) for database in ("airflow", "mlflow", "postgres", "template1")]
    for role, database in (
        ("mlflow", "ledger"),
        ("ledger_owner", "mlflow"),
        ("podium", "airflow"),
        *servers,
    ):
        with pytest.raises(psycopg2.OperationalError, match="permission denied"):
            execute(layout.database_url(role, database), "SELECT 1")


@pytest.fixture
def containers(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> Layout:
    """The environment of the service that initialises the stack on containers."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "unused")
    monkeypatch.setenv("PODIUM_LEDGER_URL", layout.ledger_url)
    monkeypatch.setenv("PODIUM_LEDGER_OWNER_URL", layout.ledger_owner_url)
    return layout


def test_initialise_migrates_as_the_owner_for_the_application(containers: Layout) -> None:
    execute(containers.ledger_owner_url, "REVOKE ALL ON ledger_events FROM podium")
    migrate_ledger()
    assert set(execute(containers.ledger_owner_url, PRIVILEGES, "podium")) == ALLOWED


def test_initialise_names_the_missing_owner(containers: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PODIUM_LEDGER_OWNER_URL")
    with pytest.raises(PodiumError, match="PODIUM_LEDGER_OWNER_URL not set"):
        migrate_ledger()


def test_initialise_names_a_url_without_a_role(containers: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PODIUM_LEDGER_URL", "postgresql+psycopg2://127.0.0.1/ledger")
    with pytest.raises(PodiumError, match="PODIUM_LEDGER_URL names no user"):
        migrate_ledger()
