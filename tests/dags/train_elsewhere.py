"""Run the example Dag and the first tasks of the lifecycle that it starts; print what came of it."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

from airflow.dag_processing.dagbag import DagBag
from airflow.sdk.api.datamodels._generated import AssetEventDagRunReference
from airflow.sdk.execution_time.comms import AssetEventDagRunReferenceResult
from airflow.sdk.execution_time.context import (
    OutletEventAccessors,
    TriggeringAssetEventsAccessor,
    set_current_context,
)

from podium_airflow.elsewhere import announced_by

LIFECYCLE = "lifecycle_churn"
# MLflow keeps its files here.
os.chdir(os.environ["PODIUM_MODELS_DIR"])


def context_of(dag_id: str, **run: Any) -> dict[str, Any]:
    known = {"run_type": "manual", "clear_number": 0, "conf": {}, "triggering_user_name": None}
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    given = {"dag_id": dag_id, "run_id": "r", "logical_date": None, "run_after": moment, **known, **run}
    dag = DAGS[dag_id]
    xcoms: dict[str, Any] = {}
    return {
        "dag": dag,
        "dag_run": SimpleNamespace(**given),
        "params": dag.params.dump(),
        "outlet_events": OutletEventAccessors(),
        "triggering_asset_events": TriggeringAssetEventsAccessor.build([]),
        "ti": SimpleNamespace(xcom_push=lambda **_: None, xcom_pull=lambda task_ids: xcoms[task_ids]),
        "xcoms": xcoms,
        "run_id": "r",
    }


DAGS = {
    **DagBag(os.environ["AIRFLOW__CORE__DAGS_FOLDER"]).dags,
    **DagBag(os.environ["EXAMPLE"]).dags,
}
source = context_of("train_churn", triggering_user_name="olga")
with set_current_context(source):
    run_id = DAGS["train_churn"].get_task("train").python_callable()
    tell = DAGS["train_churn"].get_task("tell")
    # By its operator, which refuses arguments that are called as a key of the context is.
    tell.op_args = (run_id,)
    tell.execute(source)
(outlet,) = tell.outlets
event = AssetEventDagRunReference(
    asset={"name": outlet.name, "uri": outlet.uri, "extra": {}},
    extra=source["outlet_events"][outlet].extra,
    source_task_id="tell",
    source_dag_id="train_churn",
    source_run_id="r",
    source_map_index=-1,
    source_aliases=[],
    timestamp=datetime.now(UTC),
)
started = context_of(LIFECYCLE, run_type="asset_triggered")
started["triggering_asset_events"] = TriggeringAssetEventsAccessor.build(
    [AssetEventDagRunReferenceResult.from_asset_event_dag_run_reference(event)]
)
with set_current_context(started):
    train = DAGS[LIFECYCLE].get_task("train")
    started["xcoms"]["train"] = train.execute(started)
    version = DAGS[LIFECYCLE].get_task("register").execute(started)
    found = announced_by(started, train.spec)
print(
    json.dumps(
        {
            "run": run_id,
            "taken": started["xcoms"]["train"],
            "version": version,
            "asked by": found and found.asked_by,
        }
    )
)
