"""Each check is seen failing on a part that is broken in that way, and fine on one that is not."""

from __future__ import annotations

import json
import shutil
import time
import uuid
from collections import namedtuple
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import mlflow
import pytest
import requests
from sqlalchemy import make_url
from typer.testing import CliRunner

from podium.cli.main import app
from podium.ledger.store import migrate
from podium.model_file.spec import ModelSpec
from podium.names import Alias
from podium.operations import postgres_roles
from podium.operations.doctor import machine_checks
from podium.operations.doctor.airflow_checks import check_airflow
from podium.operations.doctor.approver_checks import check_approvers
from podium.operations.doctor.examination import examine
from podium.operations.doctor.findings import Check, Finding, State, without_secrets
from podium.operations.doctor.ledger_checks import check_ledger, check_server_role
from podium.operations.doctor.machine_checks import check_clocks, check_libraries, check_space
from podium.operations.doctor.mlflow_checks import check_mlflow
from podium.operations.doctor.model_checks import check_champions, check_model_files
from podium.operations.doctor.store_checks import check_store
from podium.operations.initialise import make_bucket
from podium.services import Services
from podium.settings import PROJECT_ROOT, Settings
from podium.stack import control, postgres
from podium.stack.layout import Layout, Paths, load_layout
from podium.stack.running_stack import running_stack
from support.answering import answering
from support.database import as_superuser, execute
from support.mlflow_server import GuardedMlflow
from support.patience import PATIENCE_SECONDS
from support.steps import FIRST, SECOND, new_run, promote_as_of, register
from support.store import changed_bytes, stored_files

DEAD = "http://127.0.0.1:1"
VARIABLES = [str(field.alias) for field in Settings.model_fields.values()]


@pytest.fixture(autouse=True)
def nothing_configured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither by the environment nor by a stack that runs beside the tests."""
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setitem(Settings.model_config, "env_file", tmp_path / "none.env")


def seen(check: Check, **places: Any) -> dict[str, Finding]:
    aliases = {name: str(field.alias) for name, field in Settings.model_fields.items()}
    return {f.part: f for f in check(Settings(**{aliases[name]: value for name, value in places.items()}))}


def states(findings: dict[str, Finding]) -> dict[str, str]:
    return {part: finding.state.value for part, finding in findings.items()}


def test_what_is_not_configured_is_not_called_fine(tmp_path: Path) -> None:
    shutil.copy(PROJECT_ROOT / "include" / "models" / "soccer_match_outcome.yaml", tmp_path)
    done = CliRunner().invoke(app, ["doctor", "--json"], env={"PODIUM_MODELS_DIR": str(tmp_path)})
    assert done.exit_code == 0
    found = {finding["part"]: finding for finding in json.loads(done.stdout)["findings"]}
    for part in (
        "ledger",
        ROLE_OF_SERVERS,
        "mlflow",
        "store",
        "airflow",
        "approvers",
        "clocks",
        "champions",
        "database sizes",
    ):
        assert found[part]["state"] == "not checked"
    assert found["champions"]["observed"] == "PODIUM_LEDGER_URL and MLFLOW_TRACKING_URI not set"
    assert found["model files"]["state"] == "ok"


def test_dead_parts_are_problems_each_with_its_remedy_and_no_secret_is_told(tmp_path: Path) -> None:
    secrets = {
        "PODIUM_LEDGER_URL": "postgresql+psycopg2://podium:hush%2Done@127.0.0.1:1/ledger",
        "PODIUM_LEDGER_SERVER_URL": "postgresql+psycopg2://podium_server:hush-seven@127.0.0.1:1/ledger",
        "MLFLOW_TRACKING_URI": "http://amy:hush-two@127.0.0.1:1",
        "MLFLOW_TRACKING_USERNAME": "amy",
        "MLFLOW_TRACKING_PASSWORD": "hush-three",
        "AWS_SECRET_ACCESS_KEY": "hush-four",
        "PODIUM_AIRFLOW_PASSWORD": "hush-five",
        "AWS_ENDPOINT_URL": DEAD,
        "AWS_ACCESS_KEY_ID": "key",
        "PODIUM_BUCKET": "mlflow",
        "PODIUM_AIRFLOW_URL": DEAD,
        "PODIUM_LOOKUP_PASSWORD": "hush-six",
        "PODIUM_MODELS_DIR": str(tmp_path / "away"),
    }
    for words in (["doctor"], ["doctor", "--json"]):
        done = CliRunner().invoke(app, words, env=secrets)
        assert done.exit_code == 1
        assert "hush" not in done.output
    found = {finding["part"]: finding for finding in json.loads(done.stdout)["findings"]}
    for part in ("ledger", ROLE_OF_SERVERS, "mlflow", "store", "airflow", "model files", "approvers"):
        assert found[part]["state"] == "problem"
        assert found[part]["remedy"]
    assert found["champions"]["observed"] == "they need ledger and mlflow, see above"


def test_a_secret_that_an_error_tells_is_crossed_out() -> None:
    places = Settings(
        PODIUM_LEDGER_URL="postgresql://podium:hush%2Fone@db/ledger",
        PODIUM_LEDGER_SERVER_URL="postgresql://podium_server:quiet@db/ledger",
        AWS_SECRET_ACCESS_KEY="hush",
    )
    told = Finding("ledger", State.PROBLEM, "no login with hush%2Fone, hush/one, quiet or hush")
    assert without_secrets(told, places).observed == "no login with ***, ***, *** or ***"


def test_a_ledger_as_it_must_be(ledger_url: str) -> None:
    found = seen(check_ledger, ledger_url=ledger_url)
    assert states(found) == dict.fromkeys(["ledger", "ledger schema", "ledger role", "ledger password"], "ok")
    assert found["ledger role"].observed == "podium may only insert and select; ledger_owner owns the tables"


def test_a_ledger_that_cannot_be_used(ledger_url: str) -> None:
    wrong = make_url(ledger_url).set(password="guessed").render_as_string(hide_password=False)
    assert "password authentication failed" in seen(check_ledger, ledger_url=wrong)["ledger"].observed
    assert "cannot be used" in seen(check_ledger, ledger_url="nonsense")["ledger"].observed
    assert "not sqlite" in seen(check_ledger, ledger_url="sqlite:///x.db")["ledger"].observed


def test_a_ledger_that_is_not_migrated(layout: Layout, empty_database: str) -> None:
    url, owner = (layout.database_url(role, empty_database) for role in ("podium", "ledger_owner"))
    schema = seen(check_ledger, ledger_url=url)["ledger schema"]
    assert (schema.state, schema.observed) == ("problem", "the database is empty: never migrated")
    assert "podium initialise stores" in schema.remedy
    migrate(owner, app_role="podium", server_role="podium_server")
    execute(owner, "UPDATE alembic_version SET version_num = '0002'")
    assert "at 0002, this Podium needs 0" in seen(check_ledger, ledger_url=url)["ledger schema"].observed
    execute(owner, "UPDATE alembic_version SET version_num = 'x'")
    assert "which this Podium does not know" in seen(check_ledger, ledger_url=url)["ledger schema"].observed


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("GRANT DELETE ON ledger_events TO podium", "podium may DELETE on ledger_events"),
        ("GRANT UPDATE (model) ON ledger_events TO PUBLIC", "podium may UPDATE on ledger_events"),
        ("REVOKE INSERT ON live_labels FROM podium", "podium may not INSERT on live_labels"),
        ("GRANT CREATE ON SCHEMA public TO podium", "podium may create tables"),
        ("DROP TABLE live_labels", "podium live_labels is missing"),
        (
            "ALTER TABLE ledger_events DISABLE TRIGGER continue_ledger",
            "podium inserts into ledger_events unchecked: the trigger is off or missing",
        ),
        (
            "DROP TRIGGER take_labels ON live_labels",
            "podium inserts into live_labels unchecked: the trigger is off or missing",
        ),
    ],
)
def test_a_role_that_may_more_or_less_than_insert_and_select(
    layout: Layout, empty_database: str, statement: str, told: str
) -> None:
    url = layout.database_url("podium", empty_database)
    migrate(
        layout.database_url("ledger_owner", empty_database), app_role="podium", server_role="podium_server"
    )
    as_superuser(layout, statement, empty_database)
    role = seen(check_ledger, ledger_url=url)["ledger role"]
    assert (role.state, role.observed) == ("problem", told)


def test_the_owner_of_the_ledger_is_no_role_for_the_application(layout: Layout, ledger_url: str) -> None:
    role = seen(check_ledger, ledger_url=layout.ledger_owner_url)["ledger role"]
    assert role.state == "problem"
    assert role.observed == (
        "ledger_owner may create tables; owns alembic_version, announced, event_kinds, ledger_events, "
        "live_answers, live_counts, live_labels, monitoring_evidence, notices, scored_counts, "
        "scored_partitions, served_counts, servers, watch_counts"
    )


ROLE_OF_SERVERS = "model server's role"


def test_a_role_of_model_servers_as_it_must_be(layout: Layout) -> None:
    told = "podium_server may only read events and insert answers, labels and counts"
    for places in (
        {"ledger_url": layout.ledger_url},
        {"ledger_server_url": layout.ledger_server_url},
        {"ledger_url": layout.ledger_url, "ledger_server_url": layout.ledger_server_url},
    ):
        found = seen(check_server_role, **places)[ROLE_OF_SERVERS]
        assert (found.state, found.observed) == ("ok", told)


def test_a_model_server_with_another_role_is_a_problem(layout: Layout) -> None:
    application = {"ledger_url": layout.ledger_url, "ledger_server_url": layout.ledger_url}
    found = seen(check_server_role, **application)[ROLE_OF_SERVERS]
    assert (found.state, found.observed) == (
        "problem",
        "podium may SELECT, INSERT on announced; may SELECT on event_kinds; may INSERT on ledger_events; "
        "may INSERT on monitoring_evidence; may SELECT, INSERT on notices; may SELECT on scored_counts; "
        "may SELECT on scored_partitions; may SELECT on served_counts; may SELECT on servers; "
        "may SELECT on watch_counts; may take the ledger's locks",
    )
    assert "PODIUM_LEDGER_SERVER_URL" in found.remedy
    owner = seen(check_server_role, ledger_server_url=layout.ledger_owner_url)[ROLE_OF_SERVERS]
    assert "ledger_owner may create tables; owns alembic_version" in owner.observed


def test_a_model_servers_address_that_cannot_be_used(layout: Layout) -> None:
    wrong = make_url(layout.ledger_server_url).set(password="guessed").render_as_string(hide_password=False)
    for address, told in (
        (wrong, "password authentication failed"),
        ("nonsense", "PODIUM_LEDGER_SERVER_URL cannot be used"),
        ("sqlite:///x.db", "not sqlite"),
    ):
        found = seen(check_server_role, ledger_url=layout.ledger_url, ledger_server_url=address)
        assert found[ROLE_OF_SERVERS].state == "problem"
        assert told in found[ROLE_OF_SERVERS].observed
    assert seen(check_server_role)[ROLE_OF_SERVERS].state == "not checked"


@pytest.fixture
def scratch_ledger(layout: Layout, empty_database: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A ledger as a start makes it, in a database of its own."""
    with monkeypatch.context() as patch:
        patch.setattr(postgres_roles, "LEDGER_DATABASE", empty_database)
        patch.setattr(postgres_roles, "DATABASES", (("ledger_owner", empty_database),))
        postgres.create_databases(layout)
    owner = layout.database_url("ledger_owner", empty_database)
    migrate(owner, app_role="podium", server_role="podium_server")
    return empty_database


@pytest.mark.parametrize(
    ("statement", "back", "told"),
    [
        ("SELECT 1", "", ""),
        ("GRANT INSERT ON ledger_events TO podium_server", "", "may INSERT on ledger_events"),
        ("GRANT INSERT (event) ON ledger_events TO PUBLIC", "", "may INSERT on ledger_events"),
        ("GRANT UPDATE (rows) ON live_counts TO podium_server", "", "may UPDATE on live_counts"),
        ("REVOKE INSERT ON live_counts FROM podium_server", "", "may not INSERT on live_counts"),
        ("DROP TABLE live_counts", "", "live_counts is missing"),
        ("GRANT CREATE ON SCHEMA public TO podium_server", "", "may create tables"),
        ("GRANT podium TO podium_server", "REVOKE podium FROM podium_server", "is a member of podium"),
        (
            "GRANT CONNECT ON DATABASE mlflow TO podium_server",
            "REVOKE CONNECT ON DATABASE mlflow FROM podium_server",
            "may connect to mlflow",
        ),
        ("GRANT EXECUTE ON FUNCTION lo_create TO podium_server", "", "may make large objects"),
        (
            "GRANT EXECUTE ON FUNCTION pg_try_advisory_lock(int, int) TO PUBLIC",
            "",
            "may take the ledger's locks",
        ),
        ("GRANT ALL ON DATABASE {0} TO PUBLIC", "", "may make temporary tables"),
        ("REVOKE CONNECT ON DATABASE {0} FROM podium_server", "", "may not connect to the ledger"),
        ("ALTER TABLE live_counts OWNER TO podium_server", "", "owns live_counts"),
        ("ALTER ROLE podium_server SUPERUSER", "ALTER ROLE podium_server NOSUPERUSER", "is a superuser"),
    ],
)
def test_a_role_of_model_servers_that_may_more_or_less(
    layout: Layout, scratch_ledger: str, statement: str, back: str, told: str
) -> None:
    as_superuser(layout, statement.format(scratch_ledger), scratch_ledger)
    try:
        url = layout.database_url("podium", scratch_ledger)
        found = seen(check_server_role, ledger_url=url)[ROLE_OF_SERVERS]
    finally:
        if back:
            as_superuser(layout, back)
    assert (found.state == "problem") is bool(told)
    assert told in found.observed


def test_a_stack_from_before_lacks_the_role_of_model_servers(layout: Layout, scratch_ledger: str) -> None:
    url = layout.database_url("podium", scratch_ledger)
    as_superuser(layout, "ALTER ROLE podium_server RENAME TO another")
    try:
        found = seen(check_server_role, ledger_url=url)[ROLE_OF_SERVERS]
    finally:
        as_superuser(layout, "ALTER ROLE another RENAME TO podium_server")
    assert (found.state, found.observed) == ("problem", "there is no role podium_server")
    assert "podium initialise stores" in found.remedy


def test_an_application_that_may_take_no_locks_is_a_problem(layout: Layout, scratch_ledger: str) -> None:
    url = layout.database_url("podium", scratch_ledger)
    assert seen(check_ledger, ledger_url=url)["ledger role"].state == "ok"
    revoke = "REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA pg_catalog FROM podium"
    as_superuser(layout, revoke, scratch_ledger)
    role = seen(check_ledger, ledger_url=url)["ledger role"]
    assert (role.state, role.observed) == ("problem", "podium may not take the ledger's locks")


def test_a_database_that_takes_any_password(layout: Layout, ledger_url: str) -> None:
    name = f"trusted_{uuid.uuid4().hex[:8]}"
    as_superuser(layout, f"CREATE ROLE {name} LOGIN")
    as_superuser(layout, f"GRANT CONNECT ON DATABASE ledger TO {name}")
    ((file,),) = as_superuser(layout, "SHOW hba_file")
    hba = Path(file)
    before = hba.read_text()
    try:
        hba.write_text(f"host all {name} 127.0.0.1/32 trust\n{before}")
        as_superuser(layout, "SELECT pg_reload_conf()")
        url = make_url(ledger_url).set(username=name).render_as_string(hide_password=False)
        deadline = time.monotonic() + 60
        while "ledger password" not in (found := seen(check_ledger, ledger_url=url)):
            assert time.monotonic() < deadline
        assert found["ledger password"].state == "problem"
        assert f"accepts any password for {name}" in found["ledger password"].observed
    finally:
        hba.write_text(before)
        as_superuser(layout, "SELECT pg_reload_conf()")
        as_superuser(layout, f"REVOKE CONNECT ON DATABASE ledger FROM {name}")
        as_superuser(layout, f"DROP ROLE {name}")


def test_an_mlflow_as_it_must_be(mlflow_server: GuardedMlflow) -> None:
    login = {"mlflow_username": mlflow_server.username, "mlflow_password": mlflow_server.password}
    found = seen(check_mlflow, mlflow_tracking_uri=mlflow_server.uri, **login)
    assert states(found) == dict.fromkeys(["mlflow", "mlflow login", "mlflow artifacts"], "ok")
    assert found["mlflow"].observed == f"{mlflow.__version__} at {mlflow_server.uri}, as this client"
    assert not [path for path in mlflow_server.artifacts.rglob("*/podium-doctor/*") if path.is_file()]


def test_an_mlflow_login_that_is_wrong_or_may_not_write(mlflow_server: GuardedMlflow) -> None:
    places = {"mlflow_tracking_uri": mlflow_server.uri, "mlflow_username": mlflow_server.username}
    for login in ({}, {"mlflow_password": "guessed"}):
        refused = seen(check_mlflow, **places, **login)["mlflow"]
        assert (refused.state, refused.observed) == (
            "problem",
            f"{mlflow_server.uri} refused this login: 401",
        )
    reader = {"username": f"reader-{uuid.uuid4().hex[:8]}", "password": "a long secret 0815"}
    requests.post(
        f"{mlflow_server.uri}/api/2.0/mlflow/users/create",
        json=reader,
        auth=(mlflow_server.username, mlflow_server.password),
        timeout=PATIENCE_SECONDS,
    ).raise_for_status()
    places |= {"mlflow_username": reader["username"], "mlflow_password": reader["password"]}
    found = seen(check_mlflow, **places)
    assert states(found) == {"mlflow": "ok", "mlflow login": "ok", "mlflow artifacts": "warning"}


OPEN = {"/version": mlflow.__version__, "/api/2.0/mlflow/registered-models/search": {}}


class Artifacts(dict[str, Any]):
    """Pages of an MLflow; what a test does not say is kept or deleted as it ought to be."""

    def get(self, path: str, default: Any = None) -> Any:
        method, _, name = path.partition(" ")
        if name.startswith("/api/2.0/mlflow-artifacts/"):
            return super().get(method, 200 if method == "DELETE" else "keep")
        return super().get(path, default)


@pytest.mark.parametrize(
    ("pages", "part", "told"),
    [
        ({}, "mlflow login", "it accepts no password and a wrong password; only this machine reaches it"),
        ({"/version": "1.2.3"}, "mlflow", f"but this client is {mlflow.__version__}"),
        ({"/version": 500}, "mlflow", "answered 500"),
        ({"/api/2.0/mlflow/registered-models/search": 500}, "mlflow login", "neither accepted nor refused"),
        ({"PUT": 500}, "mlflow artifacts", "writing answered 500"),
        ({"GET": "other bytes"}, "mlflow artifacts", "came back as 200 other bytes"),
        ({"DELETE": 500}, "mlflow artifacts", "deleting answered 500"),
    ],
)
def test_an_mlflow_that_is_not_as_it_must_be(pages: dict[str, Any], part: str, told: str) -> None:
    with answering(Artifacts({**OPEN, **pages})) as uri:
        found = seen(check_mlflow, mlflow_tracking_uri=uri)
    assert told in found[part].observed
    assert found[part].remedy
    assert found[part].state == ("warning" if pages == {} or "DELETE" in pages else "problem")


def test_an_mlflow_without_a_server_has_no_login_to_check() -> None:
    (finding,) = seen(check_mlflow, mlflow_tracking_uri="sqlite:///x.db").values()
    assert (finding.state, "is not a server" in finding.observed) == ("not checked", True)


@pytest.fixture(scope="module")
def store() -> Iterator[dict[str, str]]:
    """The S3 server of the embedded stack, alone."""
    home = PROJECT_ROOT / ".podium" / "test-store"
    control.clean(Paths(home))
    with running_stack(home, parts={"s3"}):
        layout = load_layout(Paths(home))
        assert layout is not None
        yield {
            "store_url": layout.s3_url,
            "store_key": layout.secrets.s3_key,
            "store_secret": layout.secrets.s3_secret,
            "bucket": "models",
        }


def test_the_store_is_asked_directly_where_its_keys_are_known(
    store: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "no bucket models" in seen(check_store, **store)["store bucket"].observed
    client = boto3.client(
        "s3",
        endpoint_url=store["store_url"],
        aws_access_key_id=store["store_key"],
        aws_secret_access_key=store["store_secret"],
        region_name="us-east-1",
    )
    client.create_bucket(Bucket="models")
    bucket = seen(check_store, **store)["store bucket"]
    assert (bucket.state, "not versioned" in bucket.observed) == ("problem", True)
    client.put_bucket_versioning(Bucket="models", VersioningConfiguration={"Status": "Enabled"})
    found = seen(check_store, **store)
    uploads = found.pop("store uploads")
    assert states(found) == dict.fromkeys(["store", "store bucket", "store keys"], "ok")
    assert uploads.state == "warning"
    assert uploads.observed.startswith("no upload is open; no lifecycle rule removes the parts")
    client.create_multipart_upload(Bucket="models", Key="1/models/m-1/artifacts/model.skops")
    for name, key in (("AWS_ENDPOINT_URL", "store_url"), ("AWS_ACCESS_KEY_ID", "store_key")):
        monkeypatch.setenv(name, store[key])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", store["store_secret"])
    make_bucket("models")
    uploads = seen(check_store, **store)["store uploads"]
    assert uploads.state == "ok"
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    assert uploads.observed == f"1 upload is open, since {today}; after 7 days the store removes the parts"
    rule = {"ID": "theirs", "Status": "Enabled", "Filter": {"Prefix": "x/"}, "Expiration": {"Days": 400}}
    client.put_bucket_lifecycle_configuration(Bucket="models", LifecycleConfiguration={"Rules": [rule]})
    make_bucket("models")
    assert "no lifecycle rule removes" in seen(check_store, **store)["store uploads"].observed
    refused = seen(check_store, **{**store, "store_secret": "guessed"})["store"]
    assert (refused.state, "refused" in refused.observed) == ("problem", True)
    assert "PODIUM_BUCKET not set" in seen(check_store, **{**store, "bucket": None})["store"].observed


def test_a_store_that_is_open_to_all() -> None:
    with answering({"/models": "<ListBucketResult/>"}) as url:
        keys = {"store_key": "key", "store_secret": "any", "bucket": "models"}
        found = seen(check_store, store_url=url, **keys)["store keys"]
    assert (found.state, "accepts a wrong secret and no signature" in found.observed) == ("problem", True)


def health(**changes: Any) -> dict[str, Any]:
    said: dict[str, Any] = {"metadatabase": {"status": "healthy"}}
    for part in ("scheduler", "dag_processor", "triggerer"):
        said[part] = {"status": "healthy", f"latest_{part}_heartbeat": "2026-01-01T00:00:00Z"}
    return {"/api/v2/version": {"version": "3.3.2"}, "/api/v2/monitor/health": {**said, **changes}}


def test_airflow_and_its_heartbeats(tmp_path: Path) -> None:
    with answering(health()) as url:
        found = seen(check_airflow, airflow_url=url)
        assert set(states(found).values()) == {"ok"}
        assert found["airflow scheduler"].observed == "healthy, last heartbeat 2026-01-01T00:00:00Z"
        (tmp_path / "requirements.txt").write_text("apache-airflow==3.3.1 \\\n    --hash=sha256:00\n")
        drifted = seen(check_airflow, airflow_url=url, home=tmp_path)["airflow"]
        assert (drifted.state, drifted.remedy) == ("warning", "install apache-airflow==3.3.1 there")
    with answering(health(scheduler={"status": "unhealthy"}, triggerer={"status": None})) as url:
        found = seen(check_airflow, airflow_url=url)
    assert {part for part, finding in found.items() if finding.state == "problem"} == {
        "airflow scheduler",
        "airflow triggerer",
    }
    with answering({"/api/v2/version": "<html>"}) as url:
        assert "is that Airflow 3?" in seen(check_airflow, airflow_url=url)["airflow"].observed


def user(name: str, *roles: str, active: bool = True) -> dict[str, Any]:
    return {"username": name, "active": active, "roles": [{"name": role} for role in roles]}


def role(name: str, *may: str) -> dict[str, Any]:
    actions = [{"action": {"name": "can_edit"}, "resource": {"name": what}} for what in may]
    return {"name": name, "actions": actions}


@pytest.mark.parametrize(
    ("approval", "said"),
    [
        ({"approvers": ["AMY", " role: Approver "]}, ["AMY, any Approver: Airflow lets them answer"]),
        ({"approvers": ["eve"]}, ["eve has no account in Airflow", "1 must approve, but only 0 can"]),
        ({"approvers": ["amy", "bob"]}, ["the account bob is not active"]),
        ({"approvers": ["amy", "olga"]}, ["olga has the roles Operator, which may not answer"]),
        ({"approvers": ["amy", "role:Nope"]}, ["Airflow has no role Nope"]),
        ({"approvers": ["amy", "role:approver"]}, ["Airflow has no role approver"]),
        (
            {"approvers": ["amy", "role:Operator"]},
            ["the role Operator has no right to answer (can_edit HITL Detail)"],
        ),
        ({"approvers": ["amy", "role:Empty"]}, ["nobody with an active account has the role Empty"]),
        ({"approvers": ["role:Approver"], "required": 2}, ["2 must approve, but only 1 can"]),
        ({"approvers": ["twin", "amy"]}, ["Twin and twin are two accounts: neither counts"]),
    ],
)
def test_approvers_whom_airflow_does_not_know_or_lets_not_answer(
    toy_file: Callable[..., Path], approval: dict[str, Any], said: list[str]
) -> None:
    path = toy_file(name="toy", approval=approval)
    users = [user("amy", "Approver"), user("bob", "Approver", active=False), user("olga", "Operator")]
    users += [user("Twin", "Approver"), user("twin", "Approver")] if "twin" in approval["approvers"] else []
    roles = [role("Approver", "HITL Detail"), role("Operator", "DAGs"), role("Empty", "HITL Detail")]
    pages = {
        "/auth/token": {"access_token": "of podium"},
        "/auth/fab/v1/users": {"users": users, "total_entries": len(users)},
        "/auth/fab/v1/roles": {"roles": roles, "total_entries": len(roles)},
    }
    with answering(pages) as url:
        places = {"PODIUM_AIRFLOW_URL": url, "PODIUM_LOOKUP_PASSWORD": "x", "PODIUM_MODELS_DIR": path.parent}
        found = list(check_approvers(Settings(**places)))
    assert [(finding.part, finding.observed) for finding in found] == [
        ("approvers of toy", line) for line in said
    ]
    assert {finding.state for finding in found} == {State.OK if "lets them" in said[0] else State.PROBLEM}


def test_clocks_that_differ(ledger_url: str) -> None:
    places = {"airflow_url": DEAD, "ledger_url": ledger_url}
    with answering({"/health": "OK"}) as url:
        (fine,) = seen(check_clocks, mlflow_tracking_uri=url, **places).values()
    with answering({"/health": "OK"}, at=lambda: time.time() + 3600) as url:
        (late,) = seen(check_clocks, mlflow_tracking_uri=url, **places).values()
    assert (fine.state, late.state) == ("ok", "warning")
    assert "MLflow +3" in late.observed
    assert "Postgres +0.0 s" in late.observed.replace("-0.0", "+0.0")
    assert "Airflow" not in late.observed


def test_a_busy_server_is_no_clock_that_differs(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter((time.time() - 3600, time.time()))
    with answering({"/health": "OK"}, at=lambda: next(moments)) as url:
        (once_late,) = seen(check_clocks, mlflow_tracking_uri=url).values()

    def slowly() -> float:
        asked_at = time.time()
        time.sleep(2.2)
        return asked_at

    monkeypatch.setattr(machine_checks, "LARGEST_DIFFERENCE_SECONDS", 1)
    with answering({"/health": "OK"}, at=slowly) as url:
        (slow,) = seen(check_clocks, mlflow_tracking_uri=url).values()
    assert (once_late.state, slow.state) == ("ok", "ok")


def test_libraries_that_drifted_from_the_lock(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text(
        "mlflow==0.1 \\\n    --hash=sha256:00\n    # via -r\nno-such-thing==1\n"
        "elsewhere==2 ; sys_platform == 'x'\n"
    )
    (found,) = seen(check_libraries, home=tmp_path).values()
    assert found.state == "warning"
    assert found.observed.startswith(
        f"2 of 2 differ: mlflow is {mlflow.__version__}, locked 0.1, no-such-thing is"
    )
    (found,) = seen(check_libraries, home=tmp_path / "away").values()
    assert found.state == "not checked"


def test_little_space(ledger_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Usage = namedtuple("Usage", "total used free")
    for free, state in ((2**40, "ok"), (2**30, "warning"), (2**20, "problem")):
        monkeypatch.setattr(machine_checks.shutil, "disk_usage", lambda _, free=free: Usage(2**41, 0, free))
        found = seen(check_space, home=tmp_path, ledger_url=ledger_url)
        assert found["disk space"].state == state
    assert "ledger " in found["database sizes"].observed


def champions() -> dict[str, Finding]:
    return {finding.part: finding for finding in check_champions(lambda _: None)}


def test_a_champion_that_was_moved_or_changed_is_found(own_services: Services, toy_spec: ModelSpec) -> None:
    name = toy_spec.name
    champion, aliases = f"champion of {name}", f"aliases of {name}"
    assert states(champions()) == {"champions": "ok"}
    promote_as_of(own_services, toy_spec, FIRST)
    register(own_services, toy_spec, SECOND, new_run())
    working: list[str] = []
    (fine,) = check_champions(working.append)
    assert (fine.part, fine.state) == (champion, "ok")
    assert fine.observed.startswith("v1, its 7 files (")
    assert working == [f"reading the files of {name} v1"]
    with changed_bytes(stored_files(own_services, name, 1), "flipped"):
        found = champions()[champion]
        assert (found.state, "model.skops differs" in found.observed) == ("problem", True)
    own_services.registry.set_alias(name, Alias.CHAMPION, 2)
    found = champions()[aliases]
    assert found.observed == f"{name}: alias champion is v2, the ledger says v1"
    assert "settle_champion" in found.remedy


def test_a_wrong_model_file(toy_file: Callable[..., Path]) -> None:
    path = toy_file(owner=3)
    (found,) = seen(check_model_files, models_dir=path.parent).values()
    assert (found.state, "owner" in found.observed) == ("problem", True)


def test_findings_come_as_they_are_made(ledger_url: str) -> None:
    found = examine(Settings(PODIUM_LEDGER_URL=ledger_url), lambda _: None)
    assert next(found).part == "ledger"
