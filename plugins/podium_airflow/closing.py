"""How a parked approval hears that its request is closed, or answered: the API server ends its wait.

A parked task has no process. Only Airflow's database can wake it, and only the API server has that. It asks
the ledger first, so that this ends nothing but what is closed, whoever asks for it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

from podium.errors import Outage
from podium.text import one_line

log = logging.getLogger(__name__)

TASK = "approve"
_PARKED = "awaiting_input"
_BUSY = ("scheduled", "queued", "running", "restarting", "up_for_retry", "up_for_reschedule")


def end_approvals(runs: Iterable[str]) -> None:
    """Let the approvals of runs end whose requests are closed, so that nobody answers them any more.

    Args:
        runs: As ``dag_id/run_id``.

    Raises:
        Outage: Airflow did not answer, or is just putting up such a request; ask again.
    """
    from podium_airflow.people import airflow

    for run in runs:
        state = airflow().end_closed_approval(*run.split("/", 1))
        if state in _BUSY:
            raise Outage(f"{run}: its task '{TASK}' is {state} at this moment, and cannot be ended")
        log.info("The request of %s is closed; its task '%s' ends without an answer.", one_line(run), TASK)


def end_closed_approval(dag_id: str, run_id: str) -> str | None:
    """End the wait of a run's approval if its request has a decision, in Airflow's database.

    Returns:
        The state of the approval before that; None if there is no such task, or no decision.

    Raises:
        Outage: The ledger did not answer.
    """
    from airflow.models.taskinstance import TaskInstance
    from airflow.sdk import timezone
    from airflow.utils.session import create_session
    from sqlalchemy import select

    from podium.lifecycle.approval import is_closed
    from podium_airflow.answers import connected

    if not is_closed(connected(), f"{dag_id}/{run_id}"):
        return None
    # Private are Airflow's tables and sessions:
    # https://github.com/apache/airflow/blob/3.3.2/airflow-core/src/airflow/models/taskinstance.py
    # https://github.com/apache/airflow/blob/3.3.2/airflow-core/src/airflow/utils/session.py
    its = (TaskInstance.dag_id == dag_id, TaskInstance.run_id == run_id, TaskInstance.task_id == TASK)
    with create_session() as session:
        task = session.scalar(select(TaskInstance).where(*its).with_for_update(of=TaskInstance))
        if task is None:
            return None
        state = None if task.state is None else str(task.state)
        if state == _PARKED:
            # As if nobody had answered in time: the scheduler looks for that every few seconds.
            task.trigger_timeout = timezone.utcnow()
        return state


def resume_answered(dag_id: str, run_id: str) -> bool:
    """Let an approval go on that Airflow has parked although its answer is there.

    Airflow looks at the task, waits for the lock of whoever parks it, and believes what it saw before: of an
    answer at that moment it keeps the words and wakes nobody.

    Returns:
        Whether there was such a one.
    """
    from airflow.models.hitl import HITLDetail
    from airflow.models.taskinstance import TaskInstance
    from airflow.sdk import timezone
    from airflow.utils.session import create_session
    from sqlalchemy import select

    # Private are Airflow's tables and sessions, and how it parks a task and resumes it:
    # https://github.com/apache/airflow/blob/3.3.2/airflow-core/src/airflow/models/hitl.py
    # https://github.com/apache/airflow/blob/3.3.2/airflow-core/src/airflow/api_fastapi/core_api/routes/public/hitl.py
    answered = (
        select(TaskInstance)
        .join(HITLDetail, HITLDetail.ti_id == TaskInstance.id)
        .where(
            TaskInstance.dag_id == dag_id,
            TaskInstance.run_id == run_id,
            TaskInstance.task_id == TASK,
            TaskInstance.state == _PARKED,
            HITLDetail.responded_at.is_not(None),
        )
        .with_for_update(of=TaskInstance)
    )
    with create_session() as session:
        task = session.scalar(answered)
        if task is None:
            return False
        log.warning("%s/%s was parked with its answer; it continues.", one_line(dag_id), one_line(run_id))
        # The scheduler looks for that every few seconds, and resumes it with the answer.
        task.trigger_timeout = timezone.utcnow()
    return True
