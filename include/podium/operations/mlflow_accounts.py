"""MLflow's logins: the promoter's, who changes what is registered, retention's, who deletes, the readers'."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import requests

from podium.errors import Outage, PodiumError
from podium.names import RETENTION
from podium.operations.mlflow_server import ADMIN, PROMOTER

_TIMEOUT_SECONDS = 60
_WORKSPACE = "default"
# Both may change everything; the door lets retention alone delete files (``mlflow_door``).
_ROLES = {PROMOTER: "promoter", RETENTION: "retention"}


class MlflowAdmin:
    """MLflow's own administration over REST.

    MLflow's ``AuthServiceClient`` does the same, but its import is that of the whole MLflow server: 4 s of
    processor time and 180 MB for each `make up`. It also takes its login from the environment alone.

    Args:
        url: MLflow's address.
        password: The administrator's.
    """

    def __init__(self, url: str, password: str) -> None:
        self._url = url.rstrip("/")
        self._login = (ADMIN, password)

    def make_accounts(self, passwords: Mapping[str, str]) -> None:
        """Make the accounts of the programs, or set their passwords. The readers change nothing.

        Args:
            passwords: By login name. Programs have theirs from their environment, so here it is the same.

        Raises:
            PodiumError: MLflow refused.
            Outage: It did not answer.
        """
        # Not all of these routes are documented: https://github.com/mlflow/mlflow/blob/v3.17.2/mlflow/server/auth/routes.py
        there = {user["username"] for user in self._call("GET", "2.0/mlflow/users/list")["users"]}
        for name, password in passwords.items():
            if name in there:
                self.set_password(name, password)
            else:
                self._call("POST", "2.0/mlflow/users/create", {"username": name, "password": password})
        for name in passwords:
            if name in _ROLES:
                self._give_role(name, _ROLES[name])

    def set_password(self, name: str, password: str) -> None:
        """Give an account another password; after its own, the administrator logs in anew.

        Raises:
            PodiumError: MLflow refused.
            Outage: It did not answer.
        """
        login = {"username": name, "password": password}
        if name == ADMIN:
            login["current_password"] = self._login[1]  # of one's own account MLflow asks for it
        self._call("PATCH", "2.0/mlflow/users/update-password", login)

    def _give_role(self, account: str, name: str) -> None:
        roles = self._call("GET", f"3.0/mlflow/roles/list?workspace={_WORKSPACE}")["roles"]
        known = {role["name"]: role["id"] for role in roles}
        if name not in known:
            made = self._call("POST", "3.0/mlflow/roles/create", {"workspace": _WORKSPACE, "name": name})
            known[name] = made["role"]["id"]
        role = known[name]
        granted = self._call("GET", f"3.0/mlflow/roles/permissions/list?role_id={role}")["role_permissions"]
        for kind, permission in (
            ("workspace", "USE"),
            ("registered_model", "MANAGE"),
            ("experiment", "MANAGE"),
        ):
            if (kind, permission) not in {(g["resource_type"], g["permission"]) for g in granted}:
                grant = {"resource_type": kind, "resource_pattern": "*", "permission": permission}
                self._call("POST", "3.0/mlflow/roles/permissions/add", {"role_id": role, **grant})
        mine = self._call("GET", f"3.0/mlflow/users/roles/list?username={account}")["roles"]
        if role not in [held["id"] for held in mine]:
            self._call("POST", "3.0/mlflow/roles/assign", {"username": account, "role_id": role})

    def _call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        return _call(method, f"{self._url}/api/{path}", self._login, body)


def register_models(url: str, password: str, names: Iterable[str]) -> list[str]:
    """Make the registered models that are missing, owned by the promoter, and return their names.

    Args:
        url: MLflow's address.
        password: The promoter's.
        names: The models of the model files.

    Raises:
        PodiumError: MLflow refused.
        Outage: It did not answer.
    """
    made = []
    base = f"{url.rstrip('/')}/api/2.0/mlflow/registered-models"
    for name in names:
        body = {"name": name}
        if _call("POST", f"{base}/create", (PROMOTER, password), body, allowed=_EXISTS) is not None:
            made.append(name)
    return made


_EXISTS = "RESOURCE_ALREADY_EXISTS"


def _call(
    method: str, url: str, login: tuple[str, str], body: Mapping[str, Any] | None, allowed: str | None = None
) -> Any:
    """Ask; None where the answer is the error that the caller allows."""
    try:
        answer = requests.request(method, url, json=body, auth=login, timeout=_TIMEOUT_SECONDS)
    except requests.RequestException as error:
        raise Outage(f"MLflow did not answer {method} {url}: {error}") from error
    if answer.status_code >= 500:
        raise Outage(f"MLflow failed at {method} {url}: {answer.status_code} {answer.text[:300]}")
    if allowed is not None and allowed in answer.text:
        return None
    if not answer.ok:
        raise PodiumError(
            f"MLflow refused {method} {url} to {login[0]}: {answer.status_code} {answer.text[:300]}"
        )
    return answer.json()
