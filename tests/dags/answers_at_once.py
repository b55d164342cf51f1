"""Put up approval cards in Airflow's database, and answer each from many threads at once.

Then let the wait of each end, as a newer candidate does, and its run end with a note. Prints what was told,
and what became of the runs.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import requests
import uvicorn
from airflow.api_fastapi.app import create_app
from airflow.models.dagbundle import DagBundleModel
from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import TaskInstance
from airflow.models.xcom import XComModel
from airflow.sdk import timezone
from airflow.utils.session import create_session
from cards import TASK, put_up_a_card
from sqlalchemy import select, text

from podium_airflow import initialise
from podium_airflow.closing import end_closed_approval
from podium_airflow.notes import NOTE
from podium_plugin import RunNotes

RUNS = [asked.split("/") for asked in os.environ["ASKED"].split()]
TOGETHER = 24


def ended_with_a_note(dag_id: str, run_id: str) -> list[object]:
    its = (TaskInstance.dag_id == dag_id, TaskInstance.run_id == run_id)
    with create_session() as session:
        session.scalars(select(TaskInstance).where(*its)).one().state = "awaiting_input"
    before = end_closed_approval(dag_id, run_id)
    with create_session() as session:
        timeout = session.scalars(select(TaskInstance).where(*its)).one().trigger_timeout
        run = session.scalars(select(DagRun).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id)).one()
        place = {"dag_id": dag_id, "run_id": run_id, "task_id": TASK, "map_index": -1, "dag_run_id": run.id}
        session.add(XComModel(key=NOTE, value="v1: rejected by admin", **place))
        session.add(XComModel(key="return_value", value="something else", **place))
        session.flush()
        RunNotes().on_dag_run_success(run)
        return [before, timeout is not None and timeout <= timezone.utcnow(), run.note]


def answered_while_it_is_parked(url: str, headers: dict[str, str]) -> list[object]:
    """Answer at the moment when a worker parks the task: it holds the lock for which the answer waits."""
    dag_id, run_id = "lifecycle_parked", "at_this_moment"
    put_up_a_card(dag_id, run_id)
    path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{TASK}/-1/hitlDetails"
    body = {"chosen_options": ["Approve"], "params_input": {"reason": "just as it is parked"}}
    its = select(TaskInstance).where(TaskInstance.dag_id == dag_id, TaskInstance.run_id == run_id)
    with create_session() as session:
        session.scalars(its).one().state = "running"
    with ThreadPoolExecutor(1) as pool:
        with create_session() as session:
            task = session.scalars(its.with_for_update(of=TaskInstance)).one()
            answer = pool.submit(requests.patch, url + path, json=body, headers=headers, timeout=300)
            while not session.scalar(text("SELECT count(*) FROM pg_locks WHERE NOT granted")):
                time.sleep(0.1)
            task.state = "awaiting_input"
        status = answer.result().status_code
    with create_session() as session:
        task = session.scalars(its).one()
        resumes = task.trigger_timeout is not None and task.trigger_timeout <= timezone.utcnow()
        return [status, str(task.state), resumes]


def main() -> None:
    initialise.main()
    with create_session() as session:
        session.add(DagBundleModel(name="dags"))
    for dag_id, run_id in RUNS:
        put_up_a_card(dag_id, run_id)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = uvicorn.Server(uvicorn.Config(create_app(apps="core"), port=port, log_level="error"))
    serving = threading.Thread(target=server.run)
    serving.start()
    while not server.started:
        time.sleep(0.1)
    url = f"http://127.0.0.1:{port}"

    def logged_in(name: str) -> dict[str, str]:
        login = {"username": name, "password": os.environ[f"PODIUM_{name.upper()}_PASSWORD"]}
        token = requests.post(f"{url}/auth/token", json=login, timeout=60).json()["access_token"]
        return {"Authorization": f"Bearer {token}"}

    approver, admin = logged_in("approver"), logged_in("admin")

    def answered(dag_id: str, run_id: str) -> list[list[object]]:
        together = threading.Barrier(TOGETHER)
        path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{TASK}/-1/hitlDetails"
        with ThreadPoolExecutor(TOGETHER) as pool:
            return list(pool.map(lambda number: say(number, path, together), range(TOGETHER)))

    def say(number: int, path: str, together: threading.Barrier) -> list[object]:
        option, headers = ("Reject", admin) if number == TOGETHER - 1 else ("Approve", approver)
        body = {"chosen_options": [option], "params_input": {"reason": f"the answer with number {number}"}}
        together.wait()
        said = requests.patch(url + path, json=body, headers=headers, timeout=300)
        return [number, said.status_code, said.text]

    told = [answered(*run) for run in RUNS]
    parked = answered_while_it_is_parked(url, approver)
    # Its log goes where this program prints.
    server.should_exit = True
    serving.join()
    ended = [ended_with_a_note(*run) for run in RUNS]
    unknown = end_closed_approval("no_dag", "no_run")
    print(json.dumps({"told": told, "ended": ended, "parked": parked, "unknown": unknown}))


main()
