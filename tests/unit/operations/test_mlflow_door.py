"""The door of MLflow: what is served, to whom, and what is not found."""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import MutableMapping
from typing import Any

import pytest

from podium.names import RETENTION
from podium.operations.mlflow_door import Door, is_open, may_delete, open_routes
from podium.operations.mlflow_server import PROMOTER, READER
from support.mlflow_routes import TABLE

ASSISTANT = "/ajax-api/3.0/mlflow/assistant/config"
OPEN = "/api/2.0/mlflow/runs/get"
ARTIFACTS = "/api/2.0/mlflow-artifacts/artifacts"
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "get", "")


def filled(route: str) -> str:
    return re.sub(r"\{\w+(:path)?\}", "x", route.replace("{model_id}", "m-1"))


def test_each_method_of_each_route_is_open_only_if_it_is_listed() -> None:
    table, listed = TABLE.read(), open_routes()
    wanted = {(method, route) for route, methods in listed.items() for method in methods}
    wanted |= {("HEAD", route) for route, methods in listed.items() if "GET" in methods}
    found = {(method, route) for _, route in table for method in METHODS if is_open(method, filled(route))}
    assert found == wanted
    assert {("GET", "/health"), ("POST", "/graphql"), ("PUT", f"{ARTIFACTS}/{{artifact_path:path}}")} <= found


def test_the_door_opens_for_no_route_that_mlflow_has_not() -> None:
    listed = {(method, route) for route, methods in open_routes().items() for method in methods}
    assert listed <= set(TABLE.read()), "operations/mlflow_door.py lists what MLflow has no more"


@pytest.mark.parametrize(
    "path",
    [
        *(f"/{ASSISTANT}", f"{OPEN}/", f"/{OPEN}", OPEN.replace("/mlflow", "//mlflow"), OPEN.upper()),
        *(f"{OPEN}\n", f"{OPEN};x", f"{OPEN}/..{ASSISTANT}", f"/x{OPEN}", OPEN[1:], "", "*", f"{OPEN}\x00"),
        *(f"{ARTIFACTS}/..", f"{ARTIFACTS}/../../../..{ASSISTANT}", f"{ARTIFACTS}/a/./b", f"{ARTIFACTS}//a"),
        *(f"{ARTIFACTS}/", f"{ARTIFACTS}/a\\..\\b", f"/static-files/..{ASSISTANT}", "/static-files/"),
        *(
            "/api/2.0/mlflow/logged-models/m-1/y",
            "/api/2.0/mlflow/logged-models/export",
            "/api/2.0/mlflow/logged-models/",
            "http://other/health",
        ),
    ],
)
def test_no_spelling_comes_past_the_door(path: str) -> None:
    assert not is_open("GET", path)


def test_artifacts_in_folders_and_odd_names_of_models_are_let_through() -> None:
    assert is_open("PUT", f"{ARTIFACTS}/workspaces/default/1/a b/model.v1..pkl")
    assert is_open("GET", f"{ARTIFACTS}/1/.hidden/é%2F")
    assert is_open("HEAD", "/health")


@pytest.mark.parametrize("kind", ["websocket", "of a later version"])
def test_what_is_neither_http_nor_the_start_is_closed(kind: str) -> None:
    sent: list[MutableMapping[str, Any]] = []

    async def behind(*_: Any) -> None:
        pytest.fail("it was let through")

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    asyncio.run(Door(behind)({"type": kind, "path": OPEN, "method": "GET"}, receive, send))
    assert [message["type"] for message in sent] == ["websocket.close"]


def test_a_reader_is_let_in_by_no_route_that_writes() -> None:
    reads = re.compile(
        r".*/(search|search-datasets|get-latest-versions)|/graphql|.*/(logged-models/search|traces/metrics)"
    )
    let_in = TABLE.let_in(READER)
    assert {route for route in let_in if route[0] != "GET" and not reads.fullmatch(route[1])} == set()


def basic(account: str) -> bytes:
    return b"Basic " + base64.b64encode(f"{account}:of 4711".encode())


@pytest.mark.parametrize(
    ("logins", "may"),
    [
        ((), True),  # MLflow asks for a login
        ((basic(RETENTION),), True),
        ((basic("admin"),), True),
        ((basic(PROMOTER),), False),
        ((basic(READER),), False),
        ((basic(RETENTION), basic(PROMOTER)), False),
        ((b"Basic !!!",), False),
        ((b"Bearer " + base64.b64encode(b"retention:x"),), False),
    ],
)
def test_the_account_of_retention_alone_deletes_files(logins: tuple[bytes, ...], *, may: bool) -> None:
    headers = [(b"Authorization", login) for login in logins]
    for prefix in ("/api", "/ajax-api"):
        path = f"{prefix}/2.0/mlflow-artifacts/artifacts/1/models/m-1/artifacts"
        assert may_delete("DELETE", path, headers) is may
        assert may_delete("GET", path, headers)
        assert may_delete("PUT", path, headers)
    # What `podium doctor` wrote to try the store, and nothing beside it.
    probes = "/api/2.0/mlflow-artifacts/artifacts/0/podium-doctor/"
    assert may_delete("DELETE", f"{probes}0123456789abcdef.txt", headers)
    assert may_delete("DELETE", f"{probes}../models/m-1/artifacts", headers) is may
    assert {path for _, path in TABLE.let_in(RETENTION) - TABLE.let_in(PROMOTER)} == {
        f"{prefix}/2.0/mlflow-artifacts/artifacts/{{artifact_path:path}}" for prefix in ("/api", "/ajax-api")
    }


def test_who_may_not_delete_files_is_told_so_and_nothing_behind_the_door_runs() -> None:
    sent: list[MutableMapping[str, Any]] = []

    async def behind(*_: Any) -> None:
        pytest.fail("it was let through")

    async def receive() -> dict[str, Any]:
        return {"type": "http.request"}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "DELETE",
        "path": f"{ARTIFACTS}/1/models/m-1/artifacts",
        "headers": [(b"authorization", basic(PROMOTER))],
    }
    asyncio.run(Door(behind)(scope, receive, send))
    assert sent[0]["status"] == 403
    assert b"Only the account 'retention' deletes files" in sent[1]["body"]


def test_nobody_is_let_in_but_by_what_holds_no_data() -> None:
    let_in = TABLE.let_in("nobody")
    info = ("/api/3.0/mlflow/server-info", "/ajax-api/3.0/mlflow/server-info")
    assert {route for _, route in let_in} == {"/health", "/static-files/{path:path}", *info}
