"""See what Podium reads of an Airflow run, and which tasks refuse a wrong form; print it as JSON."""

import json
import os
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import uuid6
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk.api.datamodels._generated import DagRun
from airflow.sdk.exceptions import AirflowFailException
from airflow.sdk.execution_time.context import set_current_context

from podium.errors import PodiumError
from podium.model_file.loading import find_spec
from podium.model_file.training import TrainingSpec
from podium.settings import models_dir
from podium_airflow import elsewhere, people, runs
from podium_airflow.assets import retraining_asset, trained_asset
from podium_airflow.elsewhere import announced_by, tell_trained
from podium_airflow.lifecycle_task import LifecycleTask

SPEC = find_spec(models_dir(), "soccer-match-outcome")
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
bag = DagBag(os.environ["AIRFLOW__CORE__DAGS_FOLDER"])


def context_of(dag_id: str, **more: object) -> dict[str, object]:
    known = dict.fromkeys(DagRun.model_fields)
    run = {"run_type": "manual", "state": "running", "run_after": NOW, "consumed_asset_events": []}
    dag_run = DagRun(**{**known, "clear_number": 0, **run, "dag_id": dag_id, "run_id": "r", **more})
    dag = bag.dags[dag_id]
    params = {**dag.params.dump(), **(dag_run.conf or {})}
    return {
        "dag": dag,
        "dag_run": dag_run,
        "params": params,
        "task_instance": SimpleNamespace(id=uuid6.uuid7()),
        # The note of the run goes nowhere here.
        "ti": SimpleNamespace(xcom_push=lambda **_: None),
    }


def problem_of(conf: object, dag_id: str = "lifecycle_soccer_match_outcome") -> str:
    try:
        runs.refuse_wrong_form(context_of(dag_id, conf=conf))
    except PodiumError as error:
        return str(error)
    return ""


def refusing(dag_id: str) -> list[str]:
    """Name the tasks that refuse a key which the form does not have, before they do anything."""
    found = []
    for task in bag.dags[dag_id].tasks:
        context = context_of(dag_id, conf={"verison": 3})
        with set_current_context(context):
            try:
                if isinstance(task, LifecycleTask):
                    task.execute(context)
                else:
                    task.python_callable()
            except AirflowFailException as error:
                found += [task.task_id] if "unknown key 'verison'" in str(error) else []
            except (AttributeError, TypeError):
                continue
    return sorted(found)


def moment(as_of: str) -> str:
    try:
        context = context_of("lifecycle_soccer_match_outcome", conf={"as_of": as_of})
        return runs.as_of(context, SPEC).isoformat()
    except PodiumError as error:
        return str(error)


ELSEWHERE = SPEC.model_copy(update={"training": TrainingSpec(asset="trained")})


def who_is_told(events: dict[object, list[object]] | None = None, **run: object) -> str | None:
    """Return whom a task of somebody's own Dag names as who asked for a training."""
    asset, extra = trained_asset(ELSEWHERE), SimpleNamespace(extra=None)
    context = context_of("reconcile", **{"triggering_user_name": None, **run})
    context |= {"outlet_events": {asset: extra}, "triggering_asset_events": events or {}}
    elsewhere.find_spec = lambda *_: ELSEWHERE
    # What the ledger says is another test.
    elsewhere.retraining_wanted = lambda *_: None
    tell_trained(context, ELSEWHERE.name, "a-run")
    assert extra.extra["mlflow_run"] == "a-run"
    return extra.extra["asked_by"]


def what_is_taken(*events: object, run_type: str = "asset_triggered") -> object:
    context = context_of("lifecycle_soccer_match_outcome", run_type=run_type)
    context["triggering_asset_events"] = {trained_asset(ELSEWHERE): events}
    try:
        found = announced_by(context, ELSEWHERE)
    except PodiumError as error:
        return str(error)
    return found and [found.mlflow_run, found.asked_by]


def told(minute: int, source: str | None = "r", **extra: object) -> object:
    return SimpleNamespace(timestamp=NOW + timedelta(minutes=minute), source_run_id=source, extra=extra)


RETRAINING = retraining_asset(ELSEWHERE.name)
BY_AMY = {"mlflow_run": "first", "asked_by": "amy"}


def queued(first: datetime, **more: object) -> str | None:
    people.airflow = lambda: SimpleNamespace(queued_at=lambda *_: first)
    asked = runs.asked(context_of("rollback_champion", **more))
    assert asked.at == NOW
    return None if asked.queued_at is None else asked.queued_at.isoformat()


made = datetime.now(UTC)
print(
    json.dumps(
        {
            "form": {
                "none": problem_of(None),
                "known": problem_of({"version": 3, "params": {"anything": 1}}),
                "unknown": problem_of({"verison": 3}),
                "without a form": problem_of({"version": 3}, "reconcile"),
                "long": problem_of({"params": {"strength": "x" * 10_000}}),
            },
            "asked_for": runs.asked_for(
                context_of("lifecycle_soccer_match_outcome", conf={"version": 3, "params": {}, "as_of": None})
            ),
            "refusing": {dag_id: refusing(dag_id) for dag_id in sorted(bag.dags)},
            "moments": {
                text: moment(text) for text in ("2025-06-01T00:00:00Z", "2025-02-30T00:00:00Z", "soon")
            },
            "started_again": {
                f"{run_type}, cleared {cleared} times": runs.started_again(
                    context_of("reconcile", run_type=run_type, clear_number=cleared)
                )
                for run_type in ("scheduled", "manual", "backfill")
                for cleared in (0, 1)
            },
            "who is told": {
                "a person": who_is_told(triggering_user_name="amy"),
                "a schedule": who_is_told(run_type="scheduled"),
                "a backfill, cleared": who_is_told(
                    run_type="backfill", clear_number=1, triggering_user_name="amy"
                ),
                "monitoring": who_is_told({RETRAINING: [told(1)]}, run_type="asset_triggered"),
                "monitoring, over the API": who_is_told(
                    {RETRAINING: [told(1, from_rest_api=True)]}, run_type="asset_triggered"
                ),
                "monitoring and another asset": who_is_told(
                    {RETRAINING: [told(1)], trained_asset(ELSEWHERE): [told(2)]}, run_type="asset_triggered"
                ),
                # Airflow's own mapping has an empty list for what it does not hold.
                "another asset": who_is_told(
                    defaultdict(list, {trained_asset(ELSEWHERE): [told(2)]}), run_type="asset_triggered"
                ),
                "nobody": who_is_told(),
            },
            "taken": {
                "one": what_is_taken(told(1, **BY_AMY)),
                "the newest": what_is_taken(told(2, mlflow_run="second", asked_by="bo"), told(1, **BY_AMY)),
                "over the API": what_is_taken(told(1, **BY_AMY, from_rest_api=True)),
                "of no task": what_is_taken(told(1, None, **BY_AMY)),
                "without a run": what_is_taken(told(1)),
                "by hand": what_is_taken(told(1, **BY_AMY), run_type="manual"),
            },
            "queued": {
                "as Airflow says": queued(NOW),
                "cleared": queued(NOW, clear_number=1),
                "unknown": queued(None),
            },
            # Marked as queued again, years later: the try's own id tells when the run was made.
            "renewed": queued(made + timedelta(days=999)),
            "made": made.isoformat(),
        }
    )
)
