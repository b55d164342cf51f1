"""Run the approval sensor of a run that was overtaken, and resume another with an answer of nobody.

The first ends without a card; the second asks again, and what it asks and logs is printed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

from airflow.sdk.exceptions import TaskAwaitingInput

from podium.model_file.loading import find_spec
from podium.settings import models_dir
from podium_airflow import approval_sensor
from podium_airflow.approval_sensor import ApprovalSensor

RUNS, MODELS = os.environ["ASKED"].split(), os.environ["MODEL"].split()


def sensor_of(place: int) -> tuple[ApprovalSensor, Any]:
    dag_id, run_id = RUNS[place].split("/")
    run = SimpleNamespace(
        dag_id=dag_id, run_id=run_id, triggering_user_name="olga", conf={}, run_type="manual", clear_number=0
    )
    context = {"dag_run": run, "task_instance": SimpleNamespace(id="none", try_number=1)}
    return ApprovalSensor(task_id="approve", spec=find_spec(models_dir(), MODELS[place])), context


asked: list[str] = []
logged: list[str] = []


def log(text: str, *values: object) -> None:
    logged.append(text % values)


def parks(run: Callable[[], None]) -> bool:
    try:
        run()
    except TaskAwaitingInput:
        return True
    return False


ApprovalSensor.log = SimpleNamespace(info=log, warning=log)  # type: ignore[assignment]
approval_sensor.upsert_hitl_detail = lambda **card: asked.append(card["subject"])
overtaken, of_overtaken = sensor_of(0)
resumed, of_resumed = sensor_of(1)
answer = {"chosen_options": ["Approve"], "params_input": {}, "responded_by_user": None}
event = {**answer, "responded_at": datetime.now(UTC)}
parked = [
    parks(lambda: overtaken.execute(of_overtaken)),
    parks(lambda: resumed.execute_complete(of_resumed, event)),
]
print(json.dumps({"asked": asked, "logged": logged, "parked": parked}))
