"""Ask every route of Airflow's API server as every account, in this process; prints what each is answered."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator
from typing import Any

from airflow.api_fastapi.app import create_app
from airflow.api_fastapi.execution_api.routes import execution_api_router
from airflow.configuration import conf
from airflow.models.backfill import Backfill
from airflow.models.connection_test import ConnectionTestRequest
from airflow.models.dag import DagModel
from airflow.models.dagbundle import DagBundleModel
from airflow.sdk import timezone
from airflow.utils.session import create_session
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient
from flask import Flask
from itsdangerous import URLSafeSerializer
from starlette.routing import BaseRoute, Mount, Route

from podium_airflow import initialise

# account -> the variable of its password
ACCOUNTS = {
    "nobody": "",
    "viewer": "VIEWER",
    "approver": "APPROVER",
    "operator": "OPERATOR",
    "podium": "LOOKUP",
}
# A Dag is any, or the one that approvers may trigger.
ANY, SETTLE = "lifecycle_toy", "settle_champion"
MOMENT = "2026-01-01T00:00:00Z"
IN_THE_PATH = {
    **{"map_index": "-1", "try_number": "1", "task_try_number": "1", "version_number": "1"},
    **{"username": "viewer", "name": "Viewer", "section": "core", "option": "executor"},
    **{
        name: "1" for name in ("asset_id", "asset_alias_id", "backfill_id", "event_log_id", "import_error_id")
    },
}

FILE = URLSafeSerializer(conf.get_mandatory_value("api", "secret_key")).dumps(
    {"bundle_name": "dags", "relative_fileloc": f"{ANY}.py"}
)
# What there is, these do not find for who may not see it.
HIDING = ("/api/v2/backfills/{backfill_id}", "/api/v2/connections/enqueue-test")
ASKED_FOR: dict[str, str] = {}
LOGIN_PAGE = "/auth/login/"


def bulk(**entity: Any) -> dict[str, Any]:
    """Return a body from which Airflow reads what somebody wants to change before it asks who may."""
    return {
        "actions": [
            {"action": "create", "entities": [entity]},
            {"action": "update", "entities": [entity]},
            {"action": "delete", "entities": [next(iter(entity.values()))]},
        ]
    }


# Of a body from which Airflow reads what it is about, before it asks whether somebody may.
BODIES: dict[str, dict[str, Any]] = {
    "PATCH /api/v2/connections": bulk(connection_id="c", conn_type="http"),
    "PATCH /api/v2/pools": bulk(name="p", slots=1),
    "PATCH /api/v2/variables": bulk(key="k", value="v"),
    "PATCH /api/v2/dags/{dag_id}/dagRuns": bulk(dag_run_id="r", state="success"),
    "PATCH /api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances": bulk(task_id="t", new_state="success"),
    "POST /api/v2/connections/enqueue-test": {"connection_id": "c", "conn_type": "http"},
    "POST /api/v2/dags/{dag_id}/clearDagRuns": {"dag_runs": [{"dag_run_id": "r"}], "dry_run": True},
    "POST /api/v2/backfills": {"dag_id": "", "from_date": MOMENT, "to_date": MOMENT},
    "POST /api/v2/backfills/dry_run": {"dag_id": "", "from_date": MOMENT, "to_date": MOMENT},
}


def routes_of(routes: Iterable[BaseRoute], prefix: str = "") -> Iterator[tuple[str, str]]:
    for route in routes:
        if isinstance(route, Mount):
            yield from routes_of(route.routes, prefix + route.path)
        elif isinstance(route, APIRoute | Route):
            yield from (
                (method, prefix + route.path) for method in (route.methods or set()) - {"HEAD", "OPTIONS"}
            )
        else:
            raise TypeError(f"a route of a kind that is new here: {route!r}")


def flask_of(routes: Iterable[BaseRoute], prefix: str = "") -> Iterator[tuple[str, Flask]]:
    """Yield the applications of Flask, in which FAB shows accounts and roles, and where they are."""
    for route in routes:
        if isinstance(route, Mount):
            app = getattr(route.app, "app", None)
            if isinstance(app, Flask):
                yield prefix + route.path, app
            yield from flask_of(route.routes, prefix + route.path)


def pages_of(app: Flask, prefix: str) -> Iterator[tuple[str, str]]:
    for rule in app.url_map.iter_rules():
        path = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule)
        yield from ((method, prefix + path) for method in (rule.methods or set()) - {"HEAD", "OPTIONS"})


def asked_for_pages(client: TestClient, apps: Iterable[tuple[str, Flask]]) -> list[list[str]]:
    """Ask for the pages of Flask, by its own session: a token does not count there."""
    pages: set[tuple[str, str]] = set()
    for prefix, app in apps:
        # Forms are taken without the hidden field of the page that they are on.
        app.config["WTF_CSRF_ENABLED"] = False
        pages |= set(pages_of(app, prefix))
    # What ends a login comes last. Logging in itself is limited to five times in 40 seconds.
    asked = sorted(pages - {("POST", LOGIN_PAGE)}, key=lambda it: ("logout" in it[1], it))
    said: dict[tuple[str, str], list[str]] = {page: [] for page in asked}
    for account, login in accounts():
        client.cookies.clear()
        if login["password"]:
            entered = client.post(LOGIN_PAGE, data=login)
            if entered.status_code != 302 or "session" not in client.cookies:
                raise AssertionError(f"{account} could not log in: {entered.status_code} {entered.text}")
        for method, route in asked:
            path = re.sub(r"\{(\w+)\}", "1", route)
            found = client.request(
                method, path, data={"action": "1", "rowid": "1"} if method == "POST" else None
            )
            said[method, route].append(shown(found.status_code))
    client.cookies.clear()
    return [[*page, *its] for page, its in said.items()]


def shown(status: int) -> str:
    """Say what Flask answered: it sends away whom it refuses."""
    if status == 200:
        return "let in"
    return "sent away" if status == 302 else "refused"


def accounts() -> Iterator[tuple[str, dict[str, str]]]:
    for account, name in ACCOUNTS.items():
        yield account, {"username": account, "password": os.environ.get(f"PODIUM_{name}_PASSWORD", "")}


def answered(client: TestClient, method: str, route: str, headers: dict[str, str], dag: str) -> str:
    body = None if method in ("GET", "DELETE") else BODIES.get(f"{method} {route}", {})
    if body and "dag_id" in body:
        body = {**body, "dag_id": dag}
    places = {**IN_THE_PATH, "dag_id": dag, "file_token": FILE}
    path = re.sub(r"\{(\w+)(?::path)?\}", lambda match: places.get(match[1], "x"), route)
    # Some routes take the Dag from the query.
    params = {"dag_id": dag, "dag_ids": dag, "root": "x"} if method == "GET" else None
    said = client.request(method, path, headers={**headers, **ASKED_FOR}, params=params, json=body)
    if said.status_code == 404 and route.startswith(HIDING):
        return "hidden"
    return str(said.status_code) if said.status_code in (401, 403) else "let in"


def make_what_is_asked_for() -> None:
    """Where Airflow looks something up before it asks who may, there is something."""
    with create_session() as session:
        session.add(DagBundleModel(name="dags"))
        session.flush()
        for dag in (ANY, SETTLE):
            session.add(DagModel(dag_id=dag, bundle_name="dags", relative_fileloc=f"{dag}.py"))
        day = timezone.parse(MOMENT)
        session.add(Backfill(dag_id=ANY, from_date=day, to_date=day, dag_run_conf={}))
        test = ConnectionTestRequest(connection_id="c", conn_type="http")
        session.add(test)
        session.flush()
        ASKED_FOR["Airflow-Connection-Test-Token"] = test.token


def main() -> None:
    initialise.main()
    make_what_is_asked_for()
    app = create_app()
    with TestClient(app, raise_server_exceptions=False, follow_redirects=False) as client:
        logins: dict[str, dict[str, str]] = {}
        for account, login in accounts():
            token = client.post("/auth/token", json=login).json().get("access_token")
            logins[account] = {"Authorization": f"Bearer {token}"} if token else {}
            client.cookies.clear()
        table = []
        found = set(routes_of(app.routes)) | set(routes_of(execution_api_router.routes, "/execution"))
        # What reads comes first, and what ends a login last.
        for method, route in sorted(found, key=lambda it: ("logout" in it[1], it[0] != "GET", it)):
            for dag in (ANY, SETTLE) if "{dag_id}" in route else (ANY,):
                said = [answered(client, method, route, headers, dag) for headers in logins.values()]
                shown = route.replace("{dag_id}", SETTLE) if dag == SETTLE else route
                table.append([method, shown, *said])
        table += asked_for_pages(client, flask_of(app.routes))
    print(json.dumps(table))


main()
