"""Trigger, clear and backfill over Airflow's own REST API, in this process; print what is told of runs."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from uuid import UUID

from podium_airflow import initialise

initialise.main()

from airflow.api_fastapi.app import create_app
from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db
from airflow.models.dagbundle import DagBundleModel
from airflow.models.dagrun import DagRun
from airflow.utils.session import create_session
from starlette.testclient import TestClient

from podium.operations.airflow_client import AirflowClient
from podium_airflow import people, runs

ROLLBACK, LIFECYCLE = "rollback_champion", "lifecycle_soccer_match_outcome"
MONDAY = "2026-06-01T06:00:00Z"

with create_session() as session:
    session.merge(DagBundleModel(name="dags-folder"))
sync_bag_to_db(DagBag(os.environ["AIRFLOW__CORE__DAGS_FOLDER"]), "dags-folder", None)


class Here(AirflowClient):
    """Airflow's API in this process, as one logged-in user sees it."""

    def __init__(self, server: TestClient, user: str, variable: str) -> None:
        self.url, self.user = "", user
        login = {"username": user, "password": os.environ[f"PODIUM_{variable}_PASSWORD"]}
        token = server.post("/auth/token", json=login).json()["access_token"]
        self.headers = {"Authorization": f"Bearer {token}"}

        def request(method: str, path: str, json: Any, **_: Any) -> Any:
            answer = server.request(method, path, json=json, headers=self.headers)
            answer.ok = answer.is_success
            return answer

        self._session = SimpleNamespace(request=request)


def context_of(dag_id: str, run_id: str) -> dict[str, Any]:
    """What a task of the run would be told."""
    with create_session() as session:
        found = session.query(DagRun).filter(DagRun.dag_id == dag_id, DagRun.run_id == run_id).one()
        tries = [task.id for task in found.task_instances if task.task_id in ("move_champion_back", "train")]
        return {"dag_run": found, "task_instance": SimpleNamespace(id=UUID(str(tries[0])))}


def asked(run_id: str) -> str:
    found = runs.asked(context_of(ROLLBACK, run_id))
    if found.queued_at is None:
        return "nobody knows"
    return "ahead of time" if found.at > found.queued_at else "in time"


with TestClient(create_app(apps="core")) as server:
    operator, podium = Here(server, "operator", "OPERATOR"), Here(server, "podium", "LOOKUP")
    people.airflow = lambda: podium
    form = {"model": "bug-severity-clf", "reason": "it is no good"}
    later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    body = {"logical_date": None, "run_after": later, "conf": form}
    now = operator.trigger(ROLLBACK, form)
    ahead = operator._call("POST", f"/api/v2/dags/{ROLLBACK}/dagRuns", body)["dag_run_id"]
    seen = {"now": asked(now), "ahead": asked(ahead)}
    with create_session() as session:
        # As if it stood marked as queued again after its time: only that moment is renewed.
        run = session.query(DagRun).filter(DagRun.run_id == ahead).one()
        run.queued_at = datetime.now(UTC) + timedelta(hours=2)
    seen["ahead, marked as queued"] = asked(ahead)
    for run_id in (now, ahead):
        whole = {"dry_run": False, "dag_run_id": run_id, "only_failed": False, "reset_dag_runs": True}
        operator._call("POST", f"/api/v2/dags/{ROLLBACK}/clearTaskInstances", whole)
    seen |= {"now, cleared": asked(now), "ahead, cleared": asked(ahead)}

    backfill = {"dag_id": LIFECYCLE, "from_date": MONDAY, "to_date": MONDAY, "reprocess_behavior": "failed"}
    admin = Here(server, "admin", "ADMIN")
    admin._call("POST", "/api/v2/backfills", backfill)
    (made,) = admin._call("GET", f"/api/v2/dags/{LIFECYCLE}/dagRuns")["dag_runs"]
    context = context_of(LIFECYCLE, made["dag_run_id"])
    seen["backfill"] = [runs.triggered_by(context), runs.asked_for(context), runs.started_again(context)]
    # A lifecycle that is marked as failed goes on until its last task has told how it came out.
    operator._call("PATCH", f"/api/v2/dags/{ROLLBACK}/dagRuns/{now}", {"state": "failed"})
    hour = timedelta(hours=1)
    since = {"an hour ago": datetime.now(UTC) - hour, "later": datetime.now(UTC) + hour}
    seen["failed"] = {
        when: [[run.dag_id, run.run_id == now, run.note] for run in podium.failed_runs(moment)]
        for when, moment in since.items()
    }
    due, paused = podium.next_run(LIFECYCLE)
    seen["next run"] = [due is not None and due.weekday(), paused, *podium.next_run(ROLLBACK)]
    for one in admin._call("GET", f"/api/v2/backfills?dag_id={LIFECYCLE}")["backfills"]:
        admin._call("PUT", f"/api/v2/backfills/{one['id']}/cancel")
    operator._call("POST", "/api/v2/backfills", {**backfill, "dag_run_conf": {"version": 9}})
    context = context_of(LIFECYCLE, made["dag_run_id"])
    seen["another's backfill"] = [
        runs.triggered_by(context),
        runs.asked_for(context),
        runs.started_again(context),
    ]
print(json.dumps(seen))
