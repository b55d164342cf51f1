"""What a task needs to know of its Airflow run."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlparse

from airflow.sdk import Context, conf, timezone

from podium.errors import PodiumError
from podium.model_file.types import nearest

if TYPE_CHECKING:
    from uuid import UUID

    from podium.ledger.events import Event
    from podium.lifecycle.asked import Asked
    from podium.model_file.spec import ModelSpec

ANSWERS_PREFIX = "/podium"
# It is shown on the approval card, and stays in the ledger.
_LONGEST_FORM = 10_000


def run_reference(context: Context) -> str:
    """Name the Airflow run as the ledger does: ``dag_id/run_id``."""
    dag_run = context["dag_run"]
    return f"{dag_run.dag_id}/{dag_run.run_id}"


def airflow_path() -> str:
    """Return where Airflow is on its web server, "" if at its root; for links on Airflow's own pages."""
    return urlparse(_base_url()).path.rstrip("/")


def airflow_url() -> str:
    """Return Airflow's address for people's browsers."""
    return _base_url().rstrip("/")


def _base_url() -> str:
    return str(conf.get("api", "base_url", fallback=""))


def answers_url(reference: str) -> str:
    """Return where the API server shows what a run was answered so far; ``podium_plugin`` serves it."""
    dag_id, _, run_id = reference.partition("/")
    return f"{airflow_path()}{ANSWERS_PREFIX}/answers/{quote(dag_id)}/{quote(run_id, safe='')}.svg"


def as_of(context: Context, spec: ModelSpec) -> datetime:
    """Return the moment as of which the run sees the world: the form's, else the run's logical date.

    A run that monitoring started has the end of the window that asked for it, and one triggered without a
    logical date the moment at which it was asked to run.

    Raises:
        PodiumError: The form's is none, or an asset event started the run that nothing on record asked for.
    """
    dag_run = context["dag_run"]
    if (wanted := wanted_by(context, spec)) is not None:
        return datetime.fromisoformat(wanted.details["as_of"])
    if not (chosen := context["params"].get("as_of")):
        known: datetime = dag_run.logical_date or dag_run.run_after
        return known
    try:
        moment: datetime = timezone.parse(chosen)
    except (ValueError, OverflowError) as error:
        raise PodiumError(
            f"as_of {chosen!r} is not a moment such as 2025-06-01T00:00:00Z: {error}"
        ) from error
    return moment


def wanted_by(context: Context, spec: ModelSpec) -> Event | None:
    """Return the event on record by which monitoring started the run; None: it did not.

    Raises:
        PodiumError: An asset event started it that is about no such event.
    """
    if context["dag_run"].run_type != "asset_triggered" or spec.training is not None:
        return None
    return retraining_wanted(context, spec.name)


def retraining_wanted(context: Context, model: str) -> Event:
    """Return the event on record by which monitoring asked for a training, of a run that its asset started.

    Raises:
        PodiumError: There is none.
    """
    from podium.lifecycle.wanted import retraining_on_record
    from podium.services import connect
    from podium_airflow.assets import retraining_asset

    told = context["triggering_asset_events"][retraining_asset(model)]
    return retraining_on_record(
        connect().ledger, model, [dict(event.extra or {}).get("seq") for event in told]
    )


def triggered_by(context: Context) -> str | None:
    """Return the name that Airflow's login gave to whoever triggered the run; None for a scheduled run."""
    name: str | None = context["dag_run"].triggering_user_name
    return name


def started_again(context: Context) -> bool:
    """Tell whether a backfill may have started the run again, with another form and by somebody else.

    Airflow keeps the name of whoever triggered the run first, and tells nobody that of the backfill:
    https://github.com/apache/airflow/blob/3.3.2/airflow-core/src/airflow/models/backfill.py
    """
    dag_run = context["dag_run"]
    return bool(dag_run.run_type == "backfill" and dag_run.clear_number != 0)


def asked_for(context: Context) -> dict[str, Any]:
    """Return what the form asked for, without what was left empty."""
    form = context["dag_run"].conf or {}
    return {key: value for key, value in form.items() if value not in (None, "", False, {}, [])}


def refuse_wrong_form(context: Context) -> None:
    """Refuse a run whose form has a key that nobody reads, or is too long to be shown to anybody.

    Airflow checks the values of the keys that it knows, and lets others pass.

    Raises:
        PodiumError: It has, or is.
    """
    dag, form = context["dag"], context["dag_run"].conf or {}
    for key in sorted(set(form) - set(dag.params)):
        there = ", ".join(sorted(dag.params)) or "nothing"
        raise PodiumError(f"{dag.dag_id}: unknown key {key!r}; {nearest(key, dag.params)}allowed: {there}")
    length = len(json.dumps(form))
    if length > _LONGEST_FORM:
        raise PodiumError(
            f"{dag.dag_id}: the form has {length:,} characters as JSON, at most {_LONGEST_FORM:,} are allowed"
        )


def asked(context: Context) -> Asked:
    """Return when the run was asked for, and when Airflow queued it, which nobody knows once it was cleared.

    Raises:
        Outage: Airflow did not answer.
    """
    from podium.lifecycle.asked import Asked
    from podium_airflow.people import airflow

    dag_run = context["dag_run"]
    queued = None
    if dag_run.clear_number == 0:
        queued = airflow().queued_at(dag_run.dag_id, dag_run.run_id)
    if queued is not None:
        # Marking a run as queued renews the one, a retry of the task the other.
        queued = min(queued, _made_at(context["task_instance"].id))
    return Asked(dag_run.run_after, queued)


def _made_at(try_id: UUID) -> datetime:
    """Return when Airflow made a try of a task: the first one with its run, by the time in its id (a UUID 7).

    https://github.com/apache/airflow/blob/3.3.2/airflow-core/src/airflow/models/taskinstance.py
    """
    return datetime.fromtimestamp((try_id.int >> 80) / 1000, UTC) + timedelta(milliseconds=1)
