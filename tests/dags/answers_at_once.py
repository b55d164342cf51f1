"""Put up an approval card in Airflow's database, answer it from many threads at once; prints what is told."""

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
from airflow.models.dag import DagModel
from airflow.models.dag_version import DagVersion
from airflow.models.dagbundle import DagBundleModel
from airflow.models.dagrun import DagRun
from airflow.models.hitl import HITLDetail
from airflow.models.taskinstance import TaskInstance
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, timezone
from airflow.utils.session import create_session
from airflow.utils.types import DagRunTriggeredByType, DagRunType

from podium_airflow import initialise

DAG_ID, RUN = os.environ["ASKED"].split("/")
TASK = "approve"
TOGETHER = 24


def put_up_a_card() -> None:
    with create_session() as session:
        session.add(DagBundleModel(name="dags"))
        session.flush()
        session.add(DagModel(dag_id=DAG_ID, bundle_name="dags", relative_fileloc="lifecycle.py"))
        session.flush()
        version = DagVersion(dag_id=DAG_ID, version_number=1, bundle_name="dags")
        session.add(version)
        session.flush()
        run = DagRun(
            dag_id=DAG_ID,
            run_id=RUN,
            run_type=DagRunType.MANUAL,
            run_after=timezone.utcnow(),
            triggered_by=DagRunTriggeredByType.TEST,
            state="running",
        )
        session.add(run)
        session.flush()
        with DAG(DAG_ID, schedule=None):
            task = EmptyOperator(task_id=TASK)
        instance = TaskInstance(task, run_id=RUN, dag_version_id=version.id, state="awaiting_input")
        session.add(instance)
        session.flush()
        people = [{"id": name, "name": name} for name in ("Approver", "admin")]
        card = HITLDetail(
            ti_id=instance.id,
            options=["Approve", "Reject"],
            subject="?",
            multiple=False,
            params={},
            assignees=people,
        )
        session.add(card)


def main() -> None:
    initialise.main()
    put_up_a_card()
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
    together = threading.Barrier(TOGETHER)

    def say(number: int) -> list[object]:
        option, headers = ("Reject", admin) if number == TOGETHER - 1 else ("Approve", approver)
        body = {"chosen_options": [option], "params_input": {"reason": f"the answer with number {number}"}}
        path = f"/api/v2/dags/{DAG_ID}/dagRuns/{RUN}/taskInstances/{TASK}/-1/hitlDetails"
        together.wait()
        said = requests.patch(url + path, json=body, headers=headers, timeout=300)
        return [number, said.status_code, said.text]

    with ThreadPoolExecutor(TOGETHER) as pool:
        told = list(pool.map(say, range(TOGETHER)))
    # Its log goes where this program prints.
    server.should_exit = True
    serving.join()
    print(json.dumps(told))


main()
