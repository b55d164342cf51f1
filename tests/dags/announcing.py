"""Run the announcing tasks of Podium's Dags with a real ledger; prints what each would tell Airflow.

``STEPS`` is JSON: a list of ``[dag, task, run, argument]``. The argument ``"before"`` stands for what the
step before returned, and ``"none"`` for no argument.
"""

from __future__ import annotations

import json
import os
from types import SimpleNamespace
from typing import Any

from airflow.dag_processing.dagbag import DagBag
from airflow.sdk.exceptions import AirflowException
from airflow.sdk.execution_time.context import OutletEventAccessors, set_current_context

from podium.errors import PodiumError
from podium_airflow.lifecycle_task import LifecycleTask

bag = DagBag(os.environ["AIRFLOW__CORE__DAGS_FOLDER"])


def run(dag_id: str, task_id: str, run_id: str, argument: Any) -> dict[str, Any]:
    dag = bag.dags[dag_id]
    task = dag.get_task(task_id)
    notes: list[str] = []
    context: Any = {
        "dag": dag,
        "dag_run": SimpleNamespace(dag_id=dag_id, run_id=run_id, conf={}),
        "outlet_events": OutletEventAccessors(),
        "ti": SimpleNamespace(
            xcom_push=lambda value, **_: notes.append(value),
            xcom_pull=lambda **_: None if argument == "none" else argument,
        ),
    }
    arguments = [] if argument == "none" else [argument]
    with set_current_context(context):
        try:
            if isinstance(task, LifecycleTask):
                returned = task.execute(context)
            else:
                returned = task.python_callable(*arguments, **context)
        except (AirflowException, PodiumError) as error:
            return {"raised": type(error).__name__, "text": str(error), "told": []}
    told = []
    outlets = {outlet.name for outlet in task.outlets}
    for accessor in context["outlet_events"]._dict.values():
        if accessor.extra:
            told.append([accessor.key.name, accessor.extra])
        told += [
            [event.dest_asset_key.name, event.extra]
            for event in accessor.asset_alias_events
            if event.source_alias_name in outlets
        ]
    return {"returned": json.loads(json.dumps(returned)), "told": told, "notes": notes}


done: list[dict[str, Any]] = []
for dag_id, task_id, run_id, argument in json.loads(os.environ["STEPS"]):
    given = done[-1].get("returned") if argument == "before" else argument
    done.append(run(dag_id, task_id, run_id, given))
print(json.dumps(done))
