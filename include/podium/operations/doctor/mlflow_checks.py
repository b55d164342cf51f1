"""MLflow: does it answer as this client's version, to a login only, and does it keep what it is given?"""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import mlflow
import requests
from requests.auth import AuthBase, HTTPBasicAuth
from requests.utils import get_auth_from_url

from podium.errors import PodiumError
from podium.operations.addresses import is_loopback, without_login
from podium.operations.doctor.findings import Finding, State
from podium.operations.doctor.http import NoLogin, ask
from podium.settings import Settings

MLFLOW, LOGIN, ARTIFACTS = "mlflow", "mlflow login", "mlflow artifacts"
_START = "start MLflow, or set MLFLOW_TRACKING_URI to where it is"
_QUESTION = "/api/2.0/mlflow/registered-models/search?max_results=1"
# An experiment that MLflow makes itself: who may change experiments may write below it. This page and
# /version are not in MLflow's documented API: https://github.com/mlflow/mlflow/blob/v3.17.2/mlflow/server/__init__.py
_PROBE = "/api/2.0/mlflow-artifacts/artifacts/0/podium-doctor"


def check_mlflow(settings: Settings) -> Iterator[Finding]:
    """Yield what is found; a server that does not answer ends the check."""
    if not settings.mlflow_tracking_uri:
        yield Finding(MLFLOW, State.NOT_CHECKED, "MLFLOW_TRACKING_URI is not set")
        return
    uri = settings.mlflow_tracking_uri.rstrip("/")
    if not uri.startswith(("http://", "https://")):
        yield Finding(
            MLFLOW,
            State.NOT_CHECKED,
            f"{without_login(uri)} is not a server: nobody can log in or write to it",
        )
        return
    login = _login(settings, uri)
    try:
        yield _server(uri, login)
        yield _logins(uri, settings.mlflow_username)
        yield _artifacts(uri, login)
    except PodiumError as error:
        yield Finding(MLFLOW, State.PROBLEM, f"{without_login(uri)}: {error}", _START)


def _login(settings: Settings, uri: str) -> AuthBase:
    """Return this client's login: of the environment, or of the address, as MLflow's client has it."""
    if settings.mlflow_username is not None and settings.mlflow_password is not None:
        return HTTPBasicAuth(settings.mlflow_username, settings.mlflow_password.get_secret_value())
    in_address = get_auth_from_url(uri)
    return HTTPBasicAuth(*in_address) if all(in_address) else NoLogin()


def _server(uri: str, login: AuthBase) -> Finding:
    answer = ask("GET", f"{uri}/version", login)
    if answer.status_code in (401, 403):
        return Finding(
            MLFLOW,
            State.PROBLEM,
            f"{without_login(uri)} refused this login: {answer.status_code}",
            "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD to an account of MLflow",
        )
    if not answer.ok:
        return Finding(MLFLOW, State.PROBLEM, f"{without_login(uri)} answered {_short(answer)}", _START)
    version = answer.text.strip()[:30]
    observed = f"{version} at {without_login(uri)}"
    if version != mlflow.__version__:
        remedy = f"install mlflow=={version} here, or {mlflow.__version__} there"
        return Finding(MLFLOW, State.PROBLEM, f"{observed}, but this client is {mlflow.__version__}", remedy)
    return Finding(MLFLOW, State.OK, f"{observed}, as this client")


def _logins(uri: str, username: str | None) -> Finding:
    wrong = HTTPBasicAuth(username or "podium-doctor", secrets.token_hex())
    answers = {
        "no password": ask("GET", uri + _QUESTION),
        "a wrong password": ask("GET", uri + _QUESTION, wrong),
    }
    taken = [how for how, answer in answers.items() if answer.ok]
    if taken:
        reached = "only this machine reaches it" if is_loopback(uri) else "and other machines reach it"
        state = State.WARNING if is_loopback(uri) else State.PROBLEM
        remedy = "run `mlflow server --app-name basic-auth`: without it, anybody can move a champion"
        return Finding(LOGIN, state, f"it accepts {' and '.join(taken)}; {reached}", remedy)
    odd = [
        f"{how}: {_short(answer)}" for how, answer in answers.items() if answer.status_code not in (401, 403)
    ]
    if odd:
        return Finding(
            LOGIN, State.PROBLEM, f"neither accepted nor refused: {'; '.join(odd)}", "see MLflow's log"
        )
    return Finding(LOGIN, State.OK, "requests without a password, or with a wrong one, are refused")


def _artifacts(uri: str, login: AuthBase) -> Finding:
    """Write, read back and delete a small object through MLflow."""
    name, body = f"{uri}{_PROBE}/{secrets.token_hex(8)}.txt", secrets.token_hex().encode()
    written = ask("PUT", name, login, data=body)
    if written.status_code == 403:
        return Finding(
            ARTIFACTS,
            State.WARNING,
            "this login may not write",
            "use the promoter's account if this machine is to train or promote",
        )
    if not written.ok:
        remedy = "see MLflow's log; it needs --artifacts-destination, and the store's keys in its environment"
        return Finding(ARTIFACTS, State.PROBLEM, f"writing answered {_short(written)}", remedy)
    read = ask("GET", name, login)
    deleted = ask("DELETE", name, login)
    if not read.ok or read.content != body:
        observed = f"the written object came back as {_short(read)}"
        return Finding(ARTIFACTS, State.PROBLEM, observed, "see the logs of MLflow and of the store")
    if not deleted.ok:
        observed = f"written and read back, but deleting answered {_short(deleted)}"
        return Finding(
            ARTIFACTS, State.WARNING, observed, f"delete {_PROBE.rpartition('/artifacts/')[2]} in the bucket"
        )
    return Finding(ARTIFACTS, State.OK, "a small object was written, read back and deleted")


def _short(answer: requests.Response) -> str:
    return f"{answer.status_code} {answer.text[:200]}"
