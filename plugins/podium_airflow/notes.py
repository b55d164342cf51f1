"""The note of a run: one sentence that says how it came out.

A task may set no note in Airflow 3.3. So it leaves the sentence as an XCom, and the scheduler, which has
Airflow's database, writes the newest of them into the note when the run ends.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from airflow.sdk import Context

from podium.text import one_line
from podium_airflow.runs import airflow_url, run_reference, wanted_by

if TYPE_CHECKING:
    from airflow.models.dagrun import DagRun

    from podium.ledger.events import Event
    from podium.model_file.spec import ModelSpec

log = logging.getLogger(__name__)

NOTE = "podium_note"
# Airflow's table holds no more.
_LONGEST = 1000
_FAILED = "failed"


def leave_note(context: Context, sentence: str) -> None:
    """Leave a sentence for the note of the run; the newest one of a run is shown."""
    context["ti"].xcom_push(key=NOTE, value=one_line(sentence))


def failures(context: Context) -> dict[str, str]:
    """Return what each task of the run that failed said."""
    run = context["dag_run"]
    states = context["ti"].get_task_states(run.dag_id, run_ids=[run.run_id]).get(run.run_id, {})
    failed = [task for task, state in states.items() if state == _FAILED]
    return {task: context["ti"].xcom_pull(task_ids=task, key=NOTE) or "see its log" for task in failed}


def tell_outcome(context: Context, spec: ModelSpec) -> None:
    """Say how a lifecycle run came out, where the report is and what to do next; leave it for the note."""
    from podium.lifecycle.outcome import outcome_of
    from podium.reporting.links import decision_page, model_page
    from podium.services import connect

    model = spec.name
    came_out = outcome_of(connect(), model, run_reference(context), failures(context))
    wanted = wanted_by(context, spec)
    sentence = came_out.sentence + (f"; started by: {wanted.reason}" if wanted else "")
    leave_note(context, sentence)
    log.info("%s %s", model, one_line(sentence))
    asked = came_out.request
    log.info(
        "Report: %s",
        model_page(airflow_url(), model) if asked is None else decision_page(airflow_url(), asked),
    )
    log.info("Next: %s.", came_out.todo)


def tell_sentence(context: Context, sentence: str) -> None:
    """Say what a run has done; leave it for the note."""
    leave_note(context, sentence)
    log.info("%s", one_line(sentence))


def tell_event(context: Context, *events: Event) -> None:
    """Say what a run has recorded, by whom and why; leave it for the note."""
    from podium.reporting.overview import describe

    tell_sentence(context, "; ".join(f"{event.model}: {describe(event)}" for event in events))


def write_note(dag_run: DagRun) -> None:
    """Write the newest sentence that a task of a run has left into the run's note."""
    from airflow.models.xcom import XComModel
    from sqlalchemy import select
    from sqlalchemy.orm import object_session

    if (session := object_session(dag_run)) is None:
        return
    # Private are Airflow's tables:
    # https://github.com/apache/airflow/blob/3.3.2/airflow-core/src/airflow/models/dagrun.py
    # https://github.com/apache/airflow/blob/3.3.2/airflow-core/src/airflow/models/xcom.py
    newest = (
        select(XComModel.value)
        .where(XComModel.dag_run_id == dag_run.id, XComModel.key == NOTE)
        .order_by(XComModel.timestamp.desc())
        .limit(1)
    )
    # In the transaction of the scheduler, which lets nobody commit before its own end.
    if sentence := session.scalar(newest):
        dag_run.note = str(sentence)[:_LONGEST]
