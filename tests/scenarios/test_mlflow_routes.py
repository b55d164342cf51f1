"""MLflow as it is served: every route asked by each account, and tables of an earlier version."""

from __future__ import annotations

import base64
import http.client
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import mlflow
import psutil
import pytest
import requests
from alembic import command
from mlflow.store.db.utils import _get_alembic_config, _verify_schema
from mlflow.store.tracking.dbmodels.initial_models import Base
from sqlalchemy import create_engine

from podium.names import RETENTION
from podium.operations.mlflow_accounts import MlflowAdmin
from podium.operations.mlflow_server import PROMOTER, READER, SERVER_FOLDER, upgrade_if_older
from support.mlflow_routes import TABLE, installed_routes
from support.mlflow_server import GuardedMlflow, guarded_mlflow
from support.patience import PATIENCE_SECONDS
from support.route_tables import Route

ASSISTANT = "/ajax-api/3.0/mlflow/assistant/config"
OPEN = "/api/2.0/mlflow/runs/get"
NOT_SERVED = "Podium does not serve"
PASSWORDS = {PROMOTER: "of the promoter 4711", READER: "of the readers 4711", RETENTION: "of retention 4711"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GuardedMlflow]:
    folder = tmp_path_factory.mktemp("door")
    with guarded_mlflow(folder, folder / "mlflow.db") as running:
        MlflowAdmin(running.uri, running.password).make_accounts(PASSWORDS)
        yield running


def login_of(account: str, server: GuardedMlflow) -> tuple[str, str] | None:
    known = {server.username: server.password, **PASSWORDS}
    return (account, known[account]) if account in known else None


def things(server: GuardedMlflow) -> dict[str, str]:
    """Return the names of a run, a logged model and a registered version that there are."""

    def made(path: str, body: dict[str, Any]) -> Any:
        url, login = f"{server.uri}/api/2.0/mlflow/{path}", login_of(PROMOTER, server)
        answer = requests.post(url, json=body, auth=login, timeout=PATIENCE_SECONDS)
        answer.raise_for_status()
        return answer.json()

    experiment = made("experiments/create", {"name": "apples"})["experiment_id"]
    run = made("runs/create", {"experiment_id": experiment})["run"]["info"]
    model = made("logged-models", {"experiment_id": experiment, "name": "m"})["model"]["info"]["model_id"]
    made("registered-models/create", {"name": "apples"})
    made("model-versions/create", {"name": "apples", "source": run["artifact_uri"], "run_id": run["run_id"]})
    made("registered-models/alias", {"name": "apples", "alias": "champion", "version": "1"})
    return {"experiment_id": experiment, "run_id": run["run_id"], "model_id": model}


def asked(there: dict[str, str]) -> dict[str, Any]:
    """Return what every route finds something in, whose permissions it has to ask for then."""
    return {
        **there,
        "run_uuid": there["run_id"],
        "experiment_ids": [there["experiment_id"]],
        **{"name": "apples", "version": "1", "alias": "champion", "new_name": "pears", "source": "x"},
        **{"key": "k", "value": "v", "path": "x", "username": "podium", "role_id": 1, "is_admin": True},
        **{
            "resource_type": "experiment",
            "resource_id": "1",
            "resource_pattern": "*",
            "permission": "MANAGE",
        },
        **{"tag_key": "k", "workspace_name": "default", "workspace": "default", "description": "x"},
    }


def answer(server: GuardedMlflow, route: Route, login: Any, there: dict[str, str], body: Any) -> str:
    method, path = route
    places = {**there, "artifact_path": f"workspaces/default/{there['experiment_id']}/x", "tag_key": "k"}
    path = re.sub(r"\{(\w+)(:path)?\}", lambda match: places.get(match[1], "x"), path)
    carried = {"params": body} if method == "GET" else {"json": body}
    said = requests.request(method, server.uri + path, auth=login, timeout=PATIENCE_SECONDS, **carried)
    if said.status_code == 404 and NOT_SERVED in said.text:
        return "closed"
    return str(said.status_code) if said.status_code in (401, 403) else "let in"


def content(server: GuardedMlflow) -> dict[str, list[str]]:
    folder = server.artifacts.parent
    kept = {"artifacts": sorted(map(str, server.artifacts.rglob("*"))) if server.artifacts.exists() else []}
    for name in ("mlflow.db", "auth.db"):
        with closing(sqlite3.connect(folder / name)) as database:
            kept[name] = list(database.iterdump())
    return kept


def test_every_route_of_the_installed_mlflow_answers_each_account_as_the_table_says(
    server: GuardedMlflow, tmp_path: Path
) -> None:
    # What reads comes first: the promoter also deletes.
    routes = sorted(installed_routes(tmp_path), key=lambda route: (route[0] != "GET", route))
    there = things(server)
    before = content(server)
    answers: dict[Route, tuple[str, ...]] = dict.fromkeys(routes, ())
    for account in TABLE.accounts:
        login = login_of(account, server)
        # Who may do nothing asks for what there is; who may do all asks for nothing in particular.
        body = asked(there) if account in ("nobody", READER) else {}
        for route in routes:
            answers[route] += (answer(server, route, login, there, body),)
        if account == READER:
            assert content(server) == before, "a reader changed something"
    TABLE.assert_holds(answers, f"MLflow {mlflow.__version__}", tmp_path)


@pytest.mark.parametrize(
    "target",
    [
        *(ASSISTANT, f"/{ASSISTANT}", f"{ASSISTANT}/", ASSISTANT.replace("/mlflow", "%2fmlflow")),
        *(ASSISTANT.replace("assistant", "%61ssistant"), ASSISTANT.replace("assistant", "%2561ssistant")),
        *(f"/health/..{ASSISTANT}", f"/static-files/..%2f..{ASSISTANT}", f"http://127.0.0.1{ASSISTANT}"),
        *(f"{OPEN}?/../..{ASSISTANT}", "/health%00", "/health%0d%0a", f"/health;{ASSISTANT}"),
    ],
)
def test_no_spelling_on_the_wire_reaches_the_assistant(server: GuardedMlflow, target: str) -> None:
    login = base64.b64encode(f"{READER}:{PASSWORDS[READER]}".encode()).decode()
    headers = {
        "Authorization": f"Basic {login}",
        "X-HTTP-Method-Override": "PUT",
        "X-Forwarded-Prefix": "/ajax-api",
    }
    for method in ("GET", "HEAD", "PUT", "OPTIONS"):
        with closing(
            http.client.HTTPConnection(urlsplit(server.uri).netloc, timeout=PATIENCE_SECONDS)
        ) as line:
            line.request(method, target, body=b"{}", headers=headers)
            said = line.getresponse()
            text = said.read().decode()
        assert said.status == 404 or "?" in target, (method, target, said.status)
        assert "providers" not in text, (method, target)
        assert method == "HEAD" or "?" in target or NOT_SERVED in text or said.status == 400, (method, text)


def test_the_server_works_and_lives_in_a_folder_of_its_own(server: GuardedMlflow) -> None:
    own = server.artifacts.parent / SERVER_FOLDER
    (listening,) = (
        connection.pid
        for connection in psutil.net_connections("tcp")
        if connection.status == "LISTEN" and connection.laddr.port == urlsplit(server.uri).port
    )
    process = psutil.Process(listening)
    assert (process.cwd(), process.environ()["HOME"]) == (str(own), str(own))
    assert own.stat().st_mode & 0o777 == 0o700


def test_tables_of_an_earlier_mlflow_are_migrated_once(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/mlflow.db"
    assert not upgrade_if_older(url)  # an empty database is the server's to fill
    engine = create_engine(url)
    Base.metadata.create_all(engine)
    command.upgrade(_get_alembic_config(url), "+12")
    assert upgrade_if_older(url)
    _verify_schema(engine)
    assert not upgrade_if_older(url)
    engine.dispose()
