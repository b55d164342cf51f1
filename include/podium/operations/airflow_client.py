"""A small client of Airflow's REST API: trigger a Dag, watch its tasks, answer a required action."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NoReturn
from urllib.parse import quote

import requests
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    retry_if_result,
    stop_after_delay,
    wait_fixed,
)

from podium.errors import Outage, PodiumError

TIMEOUT_SECONDS = 30
# How long an Airflow that does not answer is asked again by whoever follows a run, which goes on without it.
SILENCE_SECONDS = 120
ROLLBACK_DAG = "rollback_champion"
ADOPT_DAG = "adopt_model"
HOLD_DAG, RETIRE_DAG, RETENTION_DAG = "hold_version", "retire_model", "retention"
_NOT_FOUND = 404
_ENDED = ("success", "failed")
_LOOK_AGAIN = wait_fixed(0.5)


@dataclass(frozen=True)
class Account:
    """Somebody's account in Airflow.

    Attributes:
        name: The login name.
        roles: The roles that it has.
        active: Whether it may log in.
        email: Its address; "" if Airflow knows none.
    """

    name: str
    roles: frozenset[str]
    active: bool
    email: str = ""


@dataclass(frozen=True)
class Run:
    """A run of a Dag.

    Attributes:
        dag_id: Of which Dag.
        run_id: Its id.
        form: What its form asked for.
        note: What stands beside it in Airflow; "" for nothing.
    """

    dag_id: str
    run_id: str
    form: Mapping[str, Any]
    note: str


class AirflowClient:
    """Airflow, as one logged-in user sees it.

    Args:
        url: Airflow's address, such as ``http://127.0.0.1:8080``.
        user: Login name.
        password: Its password.

    Raises:
        PodiumError: Airflow refused the login.
        Outage: Airflow did not answer.
    """

    def __init__(self, url: str, user: str, password: str) -> None:
        self.url = url.rstrip("/")
        self.user = user
        self._session = requests.Session()
        token = self._call("POST", "/auth/token", {"username": user, "password": password})
        self._session.headers["Authorization"] = f"Bearer {token['access_token']}"

    def dag_ids(self) -> list[str]:
        """Return the ids of all Dags that Airflow has parsed."""
        return [dag["dag_id"] for dag in self._call("GET", "/api/v2/dags?limit=1000")["dags"]]

    def import_errors(self) -> list[dict[str, Any]]:
        """Return the import errors, each with ``filename`` and ``stack_trace``."""
        errors: list[dict[str, Any]] = self._call("GET", "/api/v2/importErrors")["import_errors"]
        return errors

    def wait_for_dag(self, dag_id: str, timeout_seconds: float = 120) -> None:
        """Wait until Airflow has parsed a Dag and can run it; it is listed a moment before that.

        Raises:
            PodiumError: It has not within the time; says what it knows and any import errors.
        """

        def give_up(_: RetryCallState) -> NoReturn:
            errors = "\n".join(error["stack_trace"] for error in self.import_errors())
            raise PodiumError(
                f"Airflow has no Dag {dag_id} after {timeout_seconds} s: {self.dag_ids()}\n{errors}"
            )

        until_known = Retrying(
            retry=retry_if_result(lambda details: details is None),
            wait=_LOOK_AGAIN,
            stop=stop_after_delay(timeout_seconds),
            retry_error_callback=give_up,
        )
        until_known(self._call, "GET", f"/api/v2/dags/{dag_id}/details", missing=_NOT_FOUND)

    def is_paused(self, dag_id: str) -> bool:
        """Tell whether a Dag is kept from running."""
        return bool(self._call("GET", f"/api/v2/dags/{dag_id}")["is_paused"])

    def set_paused(self, dag_id: str, *, paused: bool) -> None:
        """Keep a Dag from running, or let it run."""
        self._call("PATCH", f"/api/v2/dags/{dag_id}", {"is_paused": paused})

    def trigger(self, dag_id: str, form: Mapping[str, Any]) -> str:
        """Start a run and return its id.

        Raises:
            PodiumError: Airflow refused: the form is wrong, or this user may not.
        """
        body = {"logical_date": None, "conf": dict(form)}
        return str(self._call("POST", f"/api/v2/dags/{dag_id}/dagRuns", body)["dag_run_id"])

    def assert_not_paused(self, dag_id: str) -> None:
        """Make sure that a run of a Dag would not wait until somebody switches the Dag on.

        Raises:
            PodiumError: It is paused.
        """
        if self.is_paused(dag_id):
            raise PodiumError(
                f"the Dag {dag_id} is paused in Airflow, so its runs do not continue. Ask an operator to "
                f"switch it on, in Airflow or with `airflow dags unpause {dag_id}`"
            )

    def run_state(self, dag_id: str, run_id: str) -> str:
        """Return the state of a run, such as ``running`` or ``success``."""
        return str(self._call("GET", f"/api/v2/dags/{dag_id}/dagRuns/{run_id}")["state"])

    def failed_runs(self, since: datetime) -> list[Run]:
        """Return the runs of all Dags that failed after a moment."""
        moment = quote(since.isoformat(), safe="")
        found = self._all(f"/api/v2/dags/~/dagRuns?state=failed&end_date_gte={moment}", "dag_runs")
        return [
            Run(run["dag_id"], run["dag_run_id"], run["conf"] or {}, run.get("note") or "") for run in found
        ]

    def next_run(self, dag_id: str) -> tuple[datetime | None, bool]:
        """Return when a Dag's next scheduled run may start, and whether the Dag is paused."""
        dag = self._call("GET", f"/api/v2/dags/{dag_id}", missing=_NOT_FOUND) or {"is_paused": False}
        due = dag.get("next_dagrun_run_after")
        return (datetime.fromisoformat(due) if due else None), bool(dag["is_paused"])

    def queued_at(self, dag_id: str, run_id: str) -> datetime | None:
        """Return when a run was queued last, which each clear of it renews; None if Airflow does not know.

        Raises:
            PodiumError: This user may not ask.
        """
        path = f"/api/v2/dags/{dag_id}/dagRuns/{quote(run_id, safe='')}"
        run = self._call("GET", path, missing=_NOT_FOUND)
        return datetime.fromisoformat(run["queued_at"]) if run and run["queued_at"] else None

    def wait_for_end(
        self,
        dag_id: str,
        run_id: str,
        on_step: Callable[[str, str], None] | None = None,
        on_look: Callable[[], None] | None = None,
    ) -> str:
        """Wait until a run has ended, however long it takes, and return its state.

        Args:
            dag_id: Of which Dag.
            run_id: The run.
            on_step: Called with task and state each time that a task's state was seen to change.
            on_look: Called each time that Airflow was asked.

        Raises:
            PodiumError: The Dag is paused, so that the run may never end.
            Outage: Airflow has not answered for ``SILENCE_SECONDS``.
        """
        seen: dict[str, str | None] = {}

        def tell(step: Callable[[str, str], None]) -> None:
            for task_id, state in self.task_states(dag_id, run_id).items():
                if state is not None and seen.get(task_id) != state:
                    seen[task_id] = state
                    step(task_id, state)

        def look() -> str | None:
            # The state first: the tasks of a run that has ended have their last states.
            state = self.run_state(dag_id, run_id)
            if on_step is not None:
                tell(on_step)
            if on_look is not None:
                on_look()
            if state in _ENDED:
                return state
            self.assert_not_paused(dag_id)
            return None

        in_silence = Retrying(
            retry=retry_if_exception_type(Outage),
            wait=_LOOK_AGAIN,
            stop=stop_after_delay(SILENCE_SECONDS),
            reraise=True,
        )
        until_ended = Retrying(retry=retry_if_result(lambda state: state is None), wait=_LOOK_AGAIN)
        return str(until_ended(in_silence, look))

    def task_states(self, dag_id: str, run_id: str) -> dict[str, str | None]:
        """Return the state of each task of a run."""
        answer = self._call("GET", f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances")
        return {task["task_id"]: task["state"] for task in answer["task_instances"]}

    def required_action(self, dag_id: str, run_id: str, task_id: str) -> dict[str, Any]:
        """Return what a task asks people: ``subject``, ``body``, ``options``, and an answer if it has one."""
        answer: dict[str, Any] = self._call("GET", self._action(dag_id, run_id, task_id))
        return answer

    def answer(self, dag_id: str, run_id: str, task_id: str, option: str, form: Mapping[str, Any]) -> None:
        """Answer a required action.

        Raises:
            PodiumError: Airflow refused: it is answered already, or this user is not asked.
        """
        body = {"chosen_options": [option], "params_input": dict(form)}
        self._call("PATCH", self._action(dag_id, run_id, task_id), body)

    def end_closed_approval(self, dag_id: str, run_id: str) -> str | None:
        """End the wait of an approval whose request is closed; Podium's plugin does it.

        Returns:
            The state of the approval before that; None if there is nothing to end.
        """
        path = f"/podium/closed/{quote(dag_id, safe='')}/{quote(run_id, safe='')}"
        state: str | None = self._call("POST", path)["state"]
        return state

    def account(self, name: str) -> Account | None:
        """Return the account of a login, in whatever case its name is written; None if there is none.

        Raises:
            PodiumError: This user may not ask.
        """
        answer = self._call("GET", f"/auth/fab/v1/users/{quote(name, safe='')}", missing=_NOT_FOUND)
        return None if answer is None else _account(answer)

    def accounts(self) -> list[Account]:
        """Return all accounts.

        Raises:
            PodiumError: This user may not ask.
        """
        return [_account(user) for user in self._all("/auth/fab/v1/users", "users")]

    def permissions(self) -> dict[str, frozenset[tuple[str, str]]]:
        """Return what each role may, as pairs such as ``("can_edit", "HITL Detail")``.

        Raises:
            PodiumError: This user may not ask.
        """
        return {
            role["name"]: frozenset(
                (held["action"]["name"], held["resource"]["name"]) for held in role["actions"]
            )
            for role in self._all("/auth/fab/v1/roles", "roles")
        }

    def _all(self, path: str, what: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        while True:
            page = self._call("GET", f"{path}{'&' if '?' in path else '?'}limit=100&offset={len(found)}")
            found += page[what]
            if not page[what] or len(found) >= page["total_entries"]:
                return found

    def _action(self, dag_id: str, run_id: str, task_id: str) -> str:
        return f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/-1/hitlDetails"

    def _call(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, missing: int | None = None
    ) -> Any:
        """Ask; None where the answer is the status that stands for 'there is none'."""
        try:
            answer = self._session.request(method, self.url + path, json=body, timeout=TIMEOUT_SECONDS)
        except requests.RequestException as error:
            raise Outage(f"Airflow did not answer {method} {path}: {error}") from error
        if answer.status_code >= 500:
            raise Outage(f"Airflow failed at {method} {path}: {answer.status_code} {answer.text[:300]}")
        if answer.status_code == missing:
            return None
        if not answer.ok:
            raise PodiumError(
                f"Airflow refused {method} {path} to {self.user}: {answer.status_code} {answer.text[:500]}"
            )
        return answer.json()


def _account(user: Mapping[str, Any]) -> Account:
    roles = frozenset(role["name"] for role in user["roles"] or ())
    return Account(user["username"], roles, user["active"] is True, user.get("email") or "")
