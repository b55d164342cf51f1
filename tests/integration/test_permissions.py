"""Who may do what, over REST, on the real permission models of Airflow and MLflow: see docs/security.md."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pytest
import requests

from podium.errors import PodiumError
from podium.names import PEOPLE
from podium.operations.airflow_client import AirflowClient
from podium.operations.mlflow_accounts import MlflowAdmin
from podium.settings import PROJECT_ROOT
from podium.stack.layout import Layout, Paths, load_layout
from podium.stack.running_stack import Stack
from support.patience import PATIENCE_SECONDS

DAG = "lifecycle_toy_hasty"
# Nothing of these is there, so whoever may do it is told that (404, 409 or 422), and nothing happens.
RUN = f"/api/v2/dags/{DAG}/dagRuns/no-such-run"
TASK = f"{RUN}/taskInstances/approve"
ANSWER = {"chosen_options": ["Approve"], "params_input": {}}
CALLS: Mapping[str, tuple[str, str, Any]] = {
    "see Dags": ("GET", "/api/v2/dags", None),
    "see runs": ("GET", f"/api/v2/dags/{DAG}/dagRuns", None),
    "see task logs": ("GET", f"{TASK}/logs/1", None),
    "see what waits for an answer": ("GET", "/api/v2/dags/~/dagRuns/~/hitlDetails", None),
    "pause a Dag, or let it run": ("PATCH", "/api/v2/dags/no-such-dag", {"is_paused": True}),
    "trigger a run": ("POST", "/api/v2/dags/no-such-dag/dagRuns", {"logical_date": None}),
    "trigger `settle_champion`": ("POST", "/api/v2/dags/settle_champion/dagRuns", {"conf": "wrong"}),
    "trigger `adopt_model`": ("POST", "/api/v2/dags/adopt_model/dagRuns", {"conf": "wrong"}),
    "trigger `hold_version`": ("POST", "/api/v2/dags/hold_version/dagRuns", {"conf": "wrong"}),
    "trigger `retire_model`": ("POST", "/api/v2/dags/retire_model/dagRuns", {"conf": "wrong"}),
    "trigger `retention`": ("POST", "/api/v2/dags/retention/dagRuns", {"conf": "wrong"}),
    "answer an approval": ("PATCH", f"{TASK}/-1/hitlDetails", ANSWER),
    "clear tasks": ("POST", "/api/v2/dags/no-such-dag/clearTaskInstances", {"dag_run_id": "x"}),
    "mark a task as success": ("PATCH", TASK, {"new_state": "success"}),
    "mark a run as success": ("PATCH", RUN, {"state": "success"}),
    "delete a run": ("DELETE", RUN, None),
    "delete a Dag": ("DELETE", "/api/v2/dags/no-such-dag", None),
    "change what a task returned": ("PATCH", f"{TASK}/xcomEntries/return_value", {"value": "1"}),
    "start a backfill": (
        "POST",
        "/api/v2/backfills",
        {"dag_id": "no-such-dag", "from_date": "2026-01-01T00:00:00Z", "to_date": "2026-01-02T00:00:00Z"},
    ),
    "read connections": ("GET", "/api/v2/connections", None),
    "write a variable": ("PATCH", "/api/v2/variables/no_such", {"key": "no_such", "value": "x"}),
    "read the audit log": ("GET", "/api/v2/eventLogs", None),
    "see accounts": ("GET", "/auth/fab/v1/users", None),
    "make an account": ("POST", "/auth/fab/v1/users", {"username": "x"}),
}  # fmt: skip


def documented() -> dict[str, dict[str, bool]]:
    """The table of the document: what -> role -> whether."""
    text = (PROJECT_ROOT / "docs" / "security.md").read_text()
    lines = re.findall(r"(?m)^\| (.+) \|$", text.partition("## MLflow")[0])
    head, _, *rows = ([cell.strip() for cell in line.split("|")] for line in lines)
    roles = head[1:]
    return {what: dict(zip(roles, (cell == "yes" for cell in cells), strict=True)) for what, *cells in rows}


@pytest.fixture(scope="module")
def people(stack: Stack, operator: AirflowClient) -> dict[str, AirflowClient]:
    operator.wait_for_dag(DAG)
    return {role: AirflowClient(stack.airflow_url, name, stack.passwords[name]) for name, role in PEOPLE}


@pytest.fixture(scope="module")
def secrets(stack: Stack) -> Layout:
    found = load_layout(Paths(stack.state_dir))
    assert found is not None
    return found


def ask(client: AirflowClient, what: str) -> int:
    method, path, body = CALLS[what]
    return client._session.request(method, client.url + path, json=body, timeout=PATIENCE_SECONDS).status_code


def test_the_document_is_true(people: dict[str, AirflowClient]) -> None:
    table = documented()
    assert list(table) == list(CALLS)
    seen = {what: {role: ask(client, what) for role, client in people.items()} for what in CALLS}
    may = {what: {role: code != 403 for role, code in codes.items()} for what, codes in seen.items()}
    assert may == table
    assert not [codes for codes in seen.values() if {401, 405, 500} & set(codes.values())], seen


def test_without_a_login_nothing_is_shown(stack: Stack, people: dict[str, AirflowClient]) -> None:
    for method, path, body in CALLS.values():
        answer = requests.request(method, stack.airflow_url + path, json=body, timeout=PATIENCE_SECONDS)
        assert answer.status_code == 401


def test_podiums_own_account_reads_accounts_and_when_a_champions_move_was_asked_for(
    stack: Stack, secrets: Layout
) -> None:
    podium = AirflowClient(stack.airflow_url, "podium", secrets.secrets.airflow_podium)
    assert [what for what in CALLS if ask(podium, what) != 403] == ["see Dags", "see runs", "see accounts"]
    moves = {"rollback_champion", "settle_champion"}
    assert set(podium.dag_ids()) >= {*moves, DAG}
    for dag_id in moves:
        assert podium.queued_at(dag_id, "no-such-run") is None
        with pytest.raises(PodiumError, match="403"):
            podium.set_paused(dag_id, paused=True)
    # It tells of runs that failed or are missing, of whatever model.
    assert podium.queued_at(DAG, "no-such-run") is None
    with pytest.raises(PodiumError, match="403"):
        podium.set_paused(DAG, paused=True)
    account = podium.account("Approver")
    assert account is not None
    assert (account.name, account.roles, account.active) == ("approver", frozenset({"Approver"}), True)
    assert podium.account("nobody") is None


def test_mlflows_readers_read_and_change_nothing(stack: Stack, secrets: Layout) -> None:
    login = ("reader", secrets.secrets.mlflow_reader)

    def asked(method: str, path: str, body: Any = None, auth: Any = login) -> int:
        url = f"{stack.mlflow_url}/api/2.0/{path}"
        return requests.request(method, url, json=body, auth=auth, timeout=PATIENCE_SECONDS).status_code

    promoter = ("podium", secrets.secrets.mlflow_podium)
    made = asked("POST", "mlflow/registered-models/create", {"name": "guarded"}, promoter)
    assert made in (200, 400)  # made, or there from an earlier run
    experiment = {"name": "guarded"}
    assert asked("POST", "mlflow/experiments/create", experiment, promoter) in (200, 400)

    assert asked("GET", "mlflow/registered-models/get?name=guarded") == 200
    assert asked("GET", "mlflow/registered-models/search") == 200
    assert asked("GET", "mlflow/experiments/get-by-name?experiment_name=guarded") == 200
    alias = {"name": "guarded", "alias": "champion", "version": "1"}
    tag = {"name": "guarded", "key": "lifecycle_stage", "value": "Production"}
    for method, path, body in (
        ("POST", "mlflow/registered-models/alias", alias),
        ("DELETE", "mlflow/registered-models/alias", alias),
        ("POST", "mlflow/registered-models/set-tag", tag),
        ("DELETE", "mlflow/registered-models/delete", {"name": "guarded"}),
        ("POST", "mlflow/registered-models/create", {"name": "of-a-reader"}),
        ("POST", "mlflow/model-versions/create", {"name": "guarded", "source": "x"}),
        ("POST", "mlflow/model-versions/set-tag", {**tag, "version": "1"}),
        ("POST", "mlflow/experiments/create", {"name": "of-a-reader"}),
        ("PUT", "mlflow-artifacts/artifacts/workspaces/default/1/model.pkl", {}),
        ("POST", "mlflow/users/create", {"username": "x", "password": "x" * 16}),
        ("PATCH", "mlflow/users/update-admin", {"username": "reader", "is_admin": True}),
    ):
        assert asked(method, path, body) == 403, path
        assert asked(method, path, body, None) == 401, path
    assert asked("GET", "mlflow/registered-models/search", None, ("reader", "wrong")) == 401


def test_a_programs_password_in_mlflow_is_that_of_the_last_start(stack: Stack, secrets: Layout) -> None:
    known = secrets.secrets
    admin = MlflowAdmin(stack.mlflow_url, known.mlflow_admin)

    def answers(password: str) -> int:
        url = f"{stack.mlflow_url}/api/2.0/mlflow/registered-models/search"
        return requests.get(url, auth=("reader", password), timeout=PATIENCE_SECONDS).status_code

    admin.make_accounts({"podium": known.mlflow_podium, "reader": "changed-in-the-env-file"})
    assert (answers(known.mlflow_reader), answers("changed-in-the-env-file")) == (401, 200)
    admin.make_accounts({"podium": known.mlflow_podium, "reader": known.mlflow_reader})
    assert (answers(known.mlflow_reader), answers("changed-in-the-env-file")) == (200, 401)


def test_a_model_that_is_not_there_is_not_an_error(stack_services: Any) -> None:
    from podium.errors import NotFound

    assert stack_services.registry.champion("no-such-model") is None
    with pytest.raises(NotFound, match="no registered model no-such-model"):
        stack_services.registry.version("no-such-model", 1)
