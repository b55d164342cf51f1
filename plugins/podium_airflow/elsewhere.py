"""A Dag of yours trains a model, and tells Podium's lifecycle of its run.

The last task of such a Dag has the asset of the model file's section `training` among its outlets::

    @task(outlets=[TRAINED])
    def tell(mlflow_run: str, **context):
        tell_trained(context, "churn", mlflow_run)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow.sdk import Context

from podium.errors import PodiumError
from podium.model_file.loading import find_spec
from podium.settings import models_dir
from podium_airflow.assets import retraining_asset, trained_asset
from podium_airflow.runs import retraining_wanted, started_again, triggered_by

if TYPE_CHECKING:
    from podium.model_file.spec import ModelSpec

_RUN, _ASKED_BY = "mlflow_run", "asked_by"


def tell_trained(context: Context, model: str, mlflow_run: str) -> None:
    """Let the task's success start the lifecycle of a model with an MLflow run.

    Who asked is whoever triggered this Dag's run, as Airflow's login says.

    Args:
        context: Of a task that has the model's asset among its outlets.
        model: The model file's name.
        mlflow_run: What ``podium.training.announce`` returned.

    Raises:
        PodiumError: The model is not trained elsewhere, or no training is meant by an asset event.
    """
    asset = trained_asset(find_spec(models_dir(), model))
    if asset is None:
        raise PodiumError(f"{model}: its model file has no section training")
    context["outlet_events"][asset].extra = {_RUN: mlflow_run, _ASKED_BY: _who_asked(context, model)}


def _who_asked(context: Context, model: str) -> str | None:
    """Name who asked for this run: a login, a schedule, or monitoring; None where a person may be unknown."""
    dag_run = context["dag_run"]
    if started_again(context):
        return None
    if (name := triggered_by(context)) is not None:
        return name
    if dag_run.run_type == "scheduled":
        return f"schedule of {dag_run.dag_id}"
    if dag_run.run_type == "asset_triggered" and _by_monitoring_alone(context, model):
        retraining_wanted(context, model)
        return f"monitoring of {model}"
    return None


def _by_monitoring_alone(context: Context, model: str) -> bool:
    """Whether tasks of monitoring alone started the run: by another asset a person may have."""
    events, asset = context["triggering_asset_events"], retraining_asset(model)
    told = events.get(asset) or ()
    return bool(told) and list(events) == [asset] and all(map(_by_a_task, told))


def _by_a_task(event: Any) -> bool:
    """Whether a task updated the asset: over the API, which Airflow marks, somebody may name anybody."""
    return event.source_run_id is not None and "from_rest_api" not in (event.extra or {})


@dataclass(frozen=True)
class Announced:
    """A training elsewhere by which a lifecycle run was started.

    Attributes:
        mlflow_run: The run.
        asked_by: Who asked for it; None where nobody knows.
    """

    mlflow_run: str
    asked_by: str | None


def announced_by(context: Context, spec: ModelSpec) -> Announced | None:
    """Return the newest training by which the run was started; None: it was started otherwise.

    Raises:
        PodiumError: An asset event without an MLflow run started it.
    """
    asset = trained_asset(spec)
    if asset is None or context["dag_run"].run_type != "asset_triggered":
        return None
    newest = max(context["triggering_asset_events"][asset], key=lambda event: event.timestamp)
    extra = dict(newest.extra or {})
    if not isinstance(run := extra.get(_RUN), str):
        raise PodiumError(
            f"{spec.name}: the asset {asset.name} was updated without an MLflow run; let the task that "
            "updates it call podium_airflow.elsewhere.tell_trained"
        )
    return Announced(run, extra.get(_ASKED_BY) if _by_a_task(newest) else None)
