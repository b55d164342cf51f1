"""Run the approval sensor of a run that a newer candidate has overtaken; ends without a card."""

from __future__ import annotations

import json
import os
from types import SimpleNamespace
from typing import Any

from podium.model_file.loading import find_spec
from podium.settings import models_dir
from podium_airflow.approval_sensor import ApprovalSensor

dag_id, run_id = os.environ["ASKED"].split("/")
# Without a supervisor, putting up a card or parking would fail here.
context: Any = {
    "dag_run": SimpleNamespace(
        dag_id=dag_id, run_id=run_id, triggering_user_name="olga", conf={}, run_type="manual", clear_number=0
    ),
    "task_instance": SimpleNamespace(id="none", try_number=1),
}
sensor = ApprovalSensor(task_id="approve", spec=find_spec(models_dir(), os.environ["MODEL"]))
sensor.execute(context)
print(json.dumps({"parked": False}))
