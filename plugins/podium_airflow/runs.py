"""What a task needs to know of its Airflow run."""

from __future__ import annotations

from datetime import datetime
from urllib.parse import quote, urlparse

from airflow.sdk import Context, XComArg, conf, timezone

ANSWERS_PREFIX = "/podium"


def run_reference(context: Context) -> str:
    """Name the Airflow run as the ledger does: ``dag_id/run_id``."""
    dag_run = context["dag_run"]
    return f"{dag_run.dag_id}/{dag_run.run_id}"


def run_id_of(reference: str) -> str:
    """Return Airflow's id of the run that ``run_reference`` named."""
    return reference.partition("/")[2]


def answers_url(reference: str) -> str:
    """Return where the API server shows what a run was answered so far; ``podium_plugin`` serves it."""
    prefix = urlparse(conf.get("api", "base_url", fallback="")).path.rstrip("/")
    dag_id, _, run_id = reference.partition("/")
    return f"{prefix}{ANSWERS_PREFIX}/answers/{quote(dag_id)}/{quote(run_id, safe='')}.svg"


def as_of(context: Context) -> datetime:
    """Return the moment as of which the run sees the world: the form's, else the run's logical date.

    A run triggered without a logical date has the moment at which it was asked to run.
    """
    dag_run = context["dag_run"]
    chosen = context["params"].get("as_of")
    moment: datetime = timezone.parse(chosen) if chosen else dag_run.logical_date or dag_run.run_after
    return moment


def triggered_by(context: Context) -> str | None:
    """Return the name that Airflow's login gave to whoever triggered the run; None for a scheduled run."""
    name: str | None = context["dag_run"].triggering_user_name
    return name


def clear_runs(task_id: str, dag_id: str, run_ids: XComArg) -> None:
    """Add the task that clears runs of a Dag: that is how a parked approval hears that it was superseded."""
    from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator

    TriggerDagRunOperator.partial(task_id=task_id, trigger_dag_id=dag_id, reset_dag_run=True).expand(
        trigger_run_id=run_ids
    )
