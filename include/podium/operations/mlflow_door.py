"""The door of the MLflow server: it opens for the routes that Podium uses, and for no other.

MLflow has many routes that Podium does not use: an assistant that runs shell commands, a generator of demo
data, a gateway to language models with its secrets, jobs, webhooks. Some of them ask only for a login,
whoever it is. So whatever is not listed here is not found, and neither is what a later MLflow adds.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

from podium.names import RETENTION
from podium.operations.mlflow_server import ADMIN

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

# Clients ask below /api/, MLflow's pages below /ajax-api/. A line: methods, and the route in FastAPI's words.
_UNDER_BOTH = """
POST             2.0/mlflow/experiments/create
POST             2.0/mlflow/experiments/delete
POST             2.0/mlflow/experiments/delete-experiment-tag
GET              2.0/mlflow/experiments/get
GET              2.0/mlflow/experiments/get-by-name
POST             2.0/mlflow/experiments/restore
GET,POST         2.0/mlflow/experiments/search
POST             2.0/mlflow/experiments/set-experiment-tag
POST             2.0/mlflow/experiments/update

POST             2.0/mlflow/runs/create
POST             2.0/mlflow/runs/delete
POST             2.0/mlflow/runs/delete-tag
GET              2.0/mlflow/runs/get
POST             2.0/mlflow/runs/log-batch
POST             2.0/mlflow/runs/log-inputs
POST             2.0/mlflow/runs/log-metric
POST             2.0/mlflow/runs/log-model
POST             2.0/mlflow/runs/log-parameter
POST             2.0/mlflow/runs/outputs
POST             2.0/mlflow/runs/restore
POST             2.0/mlflow/runs/search
POST             2.0/mlflow/runs/set-tag
POST             2.0/mlflow/runs/update
GET              2.0/mlflow/metrics/get-history
GET              2.0/mlflow/metrics/get-history-bulk-interval

POST             2.0/mlflow/logged-models
GET,PATCH,DELETE 2.0/mlflow/logged-models/{model_id}
GET              2.0/mlflow/logged-models/{model_id}/artifacts/directories
POST             2.0/mlflow/logged-models/{model_id}/params
PATCH            2.0/mlflow/logged-models/{model_id}/tags
DELETE           2.0/mlflow/logged-models/{model_id}/tags/{tag_key}
POST             2.0/mlflow/logged-models/search

GET,POST,DELETE  2.0/mlflow/registered-models/alias
POST             2.0/mlflow/registered-models/create
DELETE           2.0/mlflow/registered-models/delete
DELETE           2.0/mlflow/registered-models/delete-tag
GET              2.0/mlflow/registered-models/get
GET,POST         2.0/mlflow/registered-models/get-latest-versions
POST             2.0/mlflow/registered-models/rename
GET              2.0/mlflow/registered-models/search
POST             2.0/mlflow/registered-models/set-tag
PATCH            2.0/mlflow/registered-models/update

POST             2.0/mlflow/model-versions/create
DELETE           2.0/mlflow/model-versions/delete
DELETE           2.0/mlflow/model-versions/delete-tag
GET              2.0/mlflow/model-versions/get
GET              2.0/mlflow/model-versions/get-download-uri
GET              2.0/mlflow/model-versions/search
POST             2.0/mlflow/model-versions/set-tag
PATCH            2.0/mlflow/model-versions/update

GET              2.0/mlflow/artifacts/list
GET              2.0/mlflow-artifacts/artifacts
GET,PUT,DELETE   2.0/mlflow-artifacts/artifacts/{artifact_path:path}
POST             2.0/mlflow-artifacts/mpu/abort/{artifact_path:path}
POST             2.0/mlflow-artifacts/mpu/complete/{artifact_path:path}
POST             2.0/mlflow-artifacts/mpu/create/{artifact_path:path}
GET              2.0/mlflow-artifacts/presigned/{artifact_path:path}

POST             2.0/mlflow/users/create
GET              2.0/mlflow/users/current
DELETE           2.0/mlflow/users/delete
GET              2.0/mlflow/users/get
GET              2.0/mlflow/users/list
PATCH            2.0/mlflow/users/update-admin
PATCH            2.0/mlflow/users/update-password
GET              3.0/mlflow/users/current/permissions
GET              3.0/mlflow/users/permissions/get
POST             3.0/mlflow/users/permissions/grant
GET              3.0/mlflow/users/permissions/list
POST             3.0/mlflow/users/permissions/revoke
GET              3.0/mlflow/users/roles/list
POST             3.0/mlflow/roles/assign
POST             3.0/mlflow/roles/create
DELETE           3.0/mlflow/roles/delete
GET              3.0/mlflow/roles/get
GET              3.0/mlflow/roles/list
POST             3.0/mlflow/roles/permissions/add
GET              3.0/mlflow/roles/permissions/list
DELETE           3.0/mlflow/roles/permissions/remove
PATCH            3.0/mlflow/roles/permissions/update
DELETE           3.0/mlflow/roles/unassign
PATCH            3.0/mlflow/roles/update
GET              3.0/mlflow/roles/users/list

GET              3.0/mlflow/server-info
GET              3.0/mlflow/workspaces
GET              3.0/mlflow/workspaces/{workspace_name}
"""
# What MLflow's pages ask for besides. GraphQL reads runs and experiments, under the same permissions.
_OF_PAGES = """
GET              /
GET              /static-files/{path:path}
POST             /graphql
GET              /get-artifact
GET              /model-versions/get-artifact
POST             /ajax-api/2.0/mlflow/experiments/search-datasets
GET              /ajax-api/2.0/mlflow/metrics/get-history-bulk
GET              /ajax-api/2.0/mlflow/metrics/get-history-bulk-interval
GET              /ajax-api/2.0/mlflow/logged-models/{model_id}/artifacts/files
POST             /ajax-api/3.0/mlflow/traces/metrics
GET              /ajax-api/3.0/mlflow/ui-telemetry
"""
_OF_PROBES = """
GET              /health
GET              /version
"""


def open_routes() -> dict[str, frozenset[str]]:
    """Return the routes that are served, each with its methods."""
    under_both = list(_parsed(_UNDER_BOTH))
    routes = [
        (f"/{prefix}/{path}", methods) for prefix in ("api", "ajax-api") for path, methods in under_both
    ]
    return dict([*routes, *_parsed(_OF_PAGES), *_parsed(_OF_PROBES)])


def _parsed(table: str) -> Iterable[tuple[str, frozenset[str]]]:
    for line in filter(None, table.splitlines()):
        methods, path = line.split()
        yield path, frozenset(methods.split(","))


def _pattern(route: str) -> str:
    pieces = re.split(r"(\{\w+(?::path)?\})", route)
    return "".join(_PLACEHOLDERS[piece] if "{" in piece else re.escape(piece) for piece in pieces)


# As narrow as can be: a later route beside a placeholder is not open by it.
_PLACEHOLDERS = {
    "{model_id}": r"m-\w+",
    "{tag_key}": "[^/]+",
    "{workspace_name}": "[^/]+",
    "{artifact_path:path}": ".+",
    "{path:path}": ".+",
}
_OPEN = tuple((re.compile(_pattern(route)), methods) for route, methods in open_routes().items())
# Routers read each of these in a way of their own; no address that Podium uses has one.
_AMBIGUOUS = re.compile(r"//|/\.\.?(?:/|$)|[\\\x00-\x1f\x7f]")


def is_open(method: str, path: str) -> bool:
    """Tell whether a request is let through.

    Args:
        method: As the request has it; HEAD counts as GET.
        path: Decoded, as the routers behind the door get it.
    """
    if _AMBIGUOUS.search(path):
        return False
    wanted = "GET" if method == "HEAD" else method
    return any(wanted in methods and pattern.fullmatch(path) for pattern, methods in _OPEN)


# Deletes a version's files. Whoever registers versions and moves aliases needs that never.
_DELETES_FILES = re.compile(r"/(?:ajax-)?api/2\.0/mlflow-artifacts/artifacts/.+")
# But for what `podium doctor` writes, to see whether the store works.
_PROBES = re.compile(r"/api/2\.0/mlflow-artifacts/artifacts/0/podium-doctor/[0-9a-f]{16}\.txt")
_MAY_DELETE_FILES = frozenset((ADMIN, RETENTION))


def may_delete(method: str, path: str, headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Tell whether a request deletes no files, or has the login of who may, whose password MLflow checks.

    Args:
        method: As the request has it.
        path: Decoded, as the routers behind the door get it.
        headers: As ASGI gives them.
    """
    if method != "DELETE" or not _DELETES_FILES.fullmatch(path) or _PROBES.fullmatch(path):
        return True
    logins = [value for name, value in headers if name.lower() == b"authorization"]
    # Without a login MLflow asks for one; of two nobody knows which one it would take.
    return not logins or (len(logins) == 1 and _account(logins[0]) in _MAY_DELETE_FILES)


def _account(authorization: bytes) -> str:
    """Return the name in a Basic login; "" where it is none."""
    kind, _, login = authorization.decode("latin-1").partition(" ")
    if kind.lower() != "basic":
        return ""
    try:
        return base64.b64decode(login.strip(), validate=True).decode().partition(":")[0]
    except (binascii.Error, UnicodeDecodeError):
        return ""


class Door:
    """Answers 404 to whatever is not open, before anything of the application behind it runs.

    Args:
        app: The application behind the door.
    """

    def __init__(self, app: App) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection, as ASGI prescribes."""
        if scope["type"] == "http" and not may_delete(scope["method"], scope["path"], scope["headers"]):
            await _forbidden(send)
        elif scope["type"] == "lifespan" or (
            scope["type"] == "http" and is_open(scope["method"], scope["path"])
        ):
            await self.app(scope, receive, send)
        elif scope["type"] == "http":
            await _not_found(scope, send)
        else:
            # A websocket, which nobody here uses: the server makes 403 of it.
            await send({"type": "websocket.close", "code": 1000})


async def _not_found(scope: Scope, send: Send) -> None:
    answer = {
        "error_code": "ENDPOINT_NOT_FOUND",
        "message": f"Podium does not serve {scope['method']} {scope['path']} of MLflow: "
        "it serves runs, models, artifacts and accounts. See docs/security.md.",
    }
    await _answer(send, 404, b"" if scope["method"] == "HEAD" else json.dumps(answer).encode())


async def _forbidden(send: Send) -> None:
    answer = {
        "error_code": "PERMISSION_DENIED",
        "message": f"Only the account '{RETENTION}' deletes files. See docs/retention.md.",
    }
    await _answer(send, 403, json.dumps(answer).encode())


async def _answer(send: Send, status: int, body: bytes) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def create_app() -> Door:
    """Make MLflow's server with logins behind the door; what ``mlflow server`` calls."""
    # Documented only as the entry point `basic-auth`: https://github.com/mlflow/mlflow/tree/v3.17.2/mlflow/server/auth
    from mlflow.server.auth import create_app as create_mlflow

    return Door(create_mlflow())
