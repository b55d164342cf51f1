"""Approval cards in Airflow's database, as a parked task puts them up."""

from __future__ import annotations

from airflow.models.dag import DagModel
from airflow.models.dag_version import DagVersion
from airflow.models.dagrun import DagRun
from airflow.models.hitl import HITLDetail
from airflow.models.taskinstance import TaskInstance
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, timezone
from airflow.utils.session import create_session
from airflow.utils.types import DagRunTriggeredByType, DagRunType

TASK = "approve"


def put_up_a_card(dag_id: str, run_id: str) -> None:
    with create_session() as session:
        session.add(DagModel(dag_id=dag_id, bundle_name="dags", relative_fileloc="lifecycle.py"))
        session.flush()
        version = DagVersion(dag_id=dag_id, version_number=1, bundle_name="dags")
        session.add(version)
        session.flush()
        run = DagRun(
            dag_id=dag_id,
            run_id=run_id,
            run_type=DagRunType.MANUAL,
            run_after=timezone.utcnow(),
            triggered_by=DagRunTriggeredByType.TEST,
            state="running",
        )
        session.add(run)
        session.flush()
        with DAG(dag_id, schedule=None):
            task = EmptyOperator(task_id=TASK)
        instance = TaskInstance(task, run_id=run_id, dag_version_id=version.id, state="awaiting_input")
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
