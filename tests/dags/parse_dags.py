"""Parse the Dag folder and print what was found as one line of JSON. Run by ``conftest.py``."""

import json
import os
import socket
import sys
import warnings
from datetime import UTC, datetime, timedelta
from pathlib import Path

connections: list[str] = []
real_connect = socket.socket.connect


def connect(self: socket.socket, address: object) -> None:
    connections.append(repr(address))
    real_connect(self, address)  # type: ignore[arg-type]


from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG, Asset
from airflow.sdk.definitions.param import process_params
from airflow.serialization.decoders import decode_timetable
from airflow.serialization.encoders import encode_timetable
from airflow.timetables.base import TimeRestriction

# With the first asset Airflow asks every provider for the kinds that it knows; Amazon's loads boto3.
Asset(name="first", uri="podium://first")
before = set(sys.modules)
socket.socket.connect = connect  # type: ignore[method-assign]
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    bag = DagBag(os.environ["AIRFLOW__CORE__DAGS_FOLDER"])
from podium_airflow.parsing import scheduled

heavy = {"mlflow", "pandas", "numpy", "sklearn", "matplotlib", "skops", "scipy", "pyarrow", "optuna"}
heavy |= {"boto3", "celery", "kubernetes", "redis"}


def asking(dag: DAG) -> list[Asset]:
    return list(getattr(dag.timetable.asset_condition, "objects", []))


def cron(dag: DAG) -> object:
    timetable = getattr(dag.schedule, "timetable", dag.schedule)
    return getattr(timetable, "expression", None) or getattr(timetable, "summary", timetable)


def first_run_of(cron: str) -> datetime | None:
    """When a Dag that is made now runs first, as the scheduler reads its timetable from the database."""
    timetable = decode_timetable(json.loads(json.dumps(encode_timetable(scheduled(cron)))))
    now_on = TimeRestriction(earliest=None, latest=None, catchup=False)
    found = timetable.next_dagrun_info(last_automated_data_interval=None, restriction=now_on)
    return found and found.run_after


a_minute_ago = datetime.now(UTC) - timedelta(minutes=1)
weekly = f"{a_minute_ago.minute} {a_minute_ago.hour} * * {a_minute_ago.isoweekday() % 7}"
dags = {
    dag.dag_id: {
        "edges": sorted(
            f"{task.task_id} >> {after}" for task in dag.tasks for after in task.downstream_task_ids
        ),
        "tasks": sorted(dag.task_ids),
        "teardowns": sorted(task.task_id for task in dag.tasks if task.is_teardown),
        "display_name": dag.dag_display_name,
        "owners": sorted({task.owner for task in dag.tasks}),
        "retries": {task.task_id: task.retries for task in dag.tasks},
        "tags": sorted(dag.tags),
        "schedule": cron(dag),
        "started_by": sorted(asset.name for asset in asking(dag)),
        "catchup": dag.catchup,
        "paused_at_creation": dag.is_paused_upon_creation,
        "params": sorted(dag.params),
        "params_of_tasks": [
            process_params(dag, task, {"profile": "ci-smoke"}, suppress_exception=True) for task in dag.tasks
        ],
        "copies_of_the_form": [task.task_id for task in dag.tasks if set(task.params) & set(dag.params)],
        "doc": dag.doc_md,
        "fileloc": Path(dag.fileloc).name,
        "outlets": sorted(outlet.name for task in dag.tasks for outlet in task.outlets),
    }
    for dag in bag.dags.values()
}
ours = [str(item.message) for item in caught if "/dags/" in item.filename or "podium" in item.filename]
print(
    json.dumps(
        {
            "dags": dags,
            "import_errors": {Path(path).name: text for path, text in bag.import_errors.items()},
            "heavy": sorted(heavy & (set(sys.modules) - before)),
            "connections": connections,
            "warnings": ours,
            "days_to_first_run": (first_run_of(weekly) - a_minute_ago).days,
        }
    )
)
