"""MLflow's logins, on a real server that takes logins."""

from __future__ import annotations

import os
import socket
from typing import Any

import pytest
import requests

from podium.errors import Outage, PodiumError
from podium.operations.mlflow_accounts import MlflowAdmin, register_models
from podium.operations.mlflow_server import ADMIN, PROMOTER, READER
from support.mlflow_server import GuardedMlflow
from support.patience import PATIENCE_SECONDS

PASSWORDS = {PROMOTER: "of the promoter 4711", READER: "of the readers 4711"}


@pytest.fixture
def admin(mlflow_server: GuardedMlflow) -> MlflowAdmin:
    return MlflowAdmin(mlflow_server.uri, mlflow_server.password)


def asked(server: GuardedMlflow, login: tuple[str, str], path: str, body: Any = None) -> requests.Response:
    method, url = ("POST" if body else "GET"), f"{server.uri}/api/{path}"
    return requests.request(method, url, json=body, auth=login, timeout=PATIENCE_SECONDS)


def test_the_promoter_alone_makes_models_and_both_programs_read(
    admin: MlflowAdmin, mlflow_server: GuardedMlflow
) -> None:
    admin.make_accounts(PASSWORDS)
    promoter, reader = PASSWORDS.items()
    assert register_models(mlflow_server.uri, PASSWORDS[PROMOTER], ["apples", "pears"]) == ["apples", "pears"]
    for login in (promoter, reader):
        assert asked(mlflow_server, login, "2.0/mlflow/registered-models/get?name=pears").status_code == 200
    for path, body in (
        ("2.0/mlflow/registered-models/create", {"name": "plums"}),
        ("2.0/mlflow/registered-models/alias", {"name": "pears", "alias": "champion", "version": "1"}),
        ("2.0/mlflow/users/create", {"username": "friend", "password": "a password of 4711"}),
    ):
        assert asked(mlflow_server, reader, path, body).status_code == 403, path
    assert register_models(mlflow_server.uri, PASSWORDS[PROMOTER], ["pears", "plums"]) == ["plums"]


def test_made_again_the_accounts_have_their_new_passwords_and_nothing_twice(
    admin: MlflowAdmin, mlflow_server: GuardedMlflow
) -> None:
    keeper, search = (mlflow_server.username, mlflow_server.password), "2.0/mlflow/registered-models/search"
    for password in ("the first of readers", "the second of readers"):
        admin.make_accounts({**PASSWORDS, READER: password})
        assert asked(mlflow_server, (READER, password), search).ok
    assert asked(mlflow_server, (READER, "the first of readers"), search).status_code == 401

    roles = asked(mlflow_server, keeper, "3.0/mlflow/roles/list?workspace=default").json()["roles"]
    (role,) = [role["id"] for role in roles if role["name"] == "promoter"]
    granted = asked(mlflow_server, keeper, f"3.0/mlflow/roles/permissions/list?role_id={role}").json()
    assert sorted((g["resource_type"], g["permission"]) for g in granted["role_permissions"]) == [
        ("experiment", "MANAGE"),
        ("registered_model", "MANAGE"),
        ("workspace", "USE"),
    ]
    held = asked(mlflow_server, keeper, f"3.0/mlflow/users/roles/list?username={PROMOTER}").json()["roles"]
    assert [one["id"] for one in held if one["name"] == "promoter"] == [role]


def test_a_refused_administrator_is_no_outage_and_no_password_is_told(mlflow_server: GuardedMlflow) -> None:
    with pytest.raises(PodiumError, match="MLflow refused") as refused:
        MlflowAdmin(mlflow_server.uri, "not the password").make_accounts(PASSWORDS)
    assert not isinstance(refused.value, Outage)
    with pytest.raises(PodiumError, match="MLflow refused") as no_promoter:
        register_models(mlflow_server.uri, "not the password", ["quinces"])
    assert not isinstance(no_promoter.value, Outage)
    told = f"{refused.value} {no_promoter.value}"
    assert not [one for one in ("not the password", *PASSWORDS.values()) if one in told]


def test_no_answer_is_an_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # nobody listens
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(Outage, match=f"did not answer.*{url}") as silent:
            MlflowAdmin(url, "of nobody 4711").make_accounts(PASSWORDS)
        with pytest.raises(Outage, match=f"did not answer.*{url}"):
            register_models(url, PASSWORDS[PROMOTER], ["quinces"])
    assert not [one for one in ("of nobody 4711", *PASSWORDS.values()) if one in str(silent.value)]


def test_the_login_of_this_process_is_neither_used_nor_changed(
    admin: MlflowAdmin, mlflow_server: GuardedMlflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "somebody")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "of somebody")
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "a token of somebody")
    before = dict(os.environ)
    admin.make_accounts(PASSWORDS)
    register_models(mlflow_server.uri, PASSWORDS[PROMOTER], ["apples"])
    assert dict(os.environ) == before


def test_the_administrator_changes_their_own_password(
    admin: MlflowAdmin, mlflow_server: GuardedMlflow
) -> None:
    admin.set_password(ADMIN, "another one 4711")
    try:
        path = "2.0/mlflow/users/list"
        assert asked(mlflow_server, (ADMIN, "another one 4711"), path).status_code == 200
    finally:
        MlflowAdmin(mlflow_server.uri, "another one 4711").set_password(ADMIN, mlflow_server.password)
    assert asked(mlflow_server, (ADMIN, mlflow_server.password), path).status_code == 200
