"""What a task needs to know of its Airflow run."""

from __future__ import annotations

from datetime import datetime

from airflow.sdk import Context, timezone


def run_reference(context: Context) -> str:
    """Name the Airflow run as the ledger does: ``dag_id/run_id``."""
    dag_run = context["dag_run"]
    return f"{dag_run.dag_id}/{dag_run.run_id}"


def run_id_of(reference: str) -> str:
    """Return Airflow's id of the run that ``run_reference`` named."""
    return reference.partition("/")[2]


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
