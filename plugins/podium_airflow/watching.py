"""Waits for verdicts on watch windows without a worker, and acts on them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator, Context
from airflow.triggers.base import BaseTrigger, TriggerEvent

from podium.errors import PodiumError
from podium_airflow.closing import end_approvals
from podium_airflow.failures import task_outcomes
from podium_airflow.notes import leave_note
from podium_airflow.runs import refuse_wrong_form

if TYPE_CHECKING:
    from podium.services import Services

log = logging.getLogger(__name__)

LOOK_SECONDS = 10.0
PROPOSED, CLOSED, STILL_OPEN = "proposed", "closed", "still_open"
# Model and run of each rollback, which are announced next.
RolledBack = list[tuple[str, str]]


class WatchTrigger(BaseTrigger):
    """Looks every few seconds, in the triggerer, whether a watch window has its verdict, or none is open.

    Args:
        seconds: Between two looks.
        asking: Runs that were started to ask people about a rollback, and do not yet.
    """

    def __init__(self, seconds: float = LOOK_SECONDS, asking: Sequence[str] = ()) -> None:
        super().__init__()
        self.seconds, self.asking = seconds, list(asking)

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Say how Airflow makes it again."""
        return "podium_airflow.watching.WatchTrigger", {"seconds": self.seconds, "asking": self.asking}

    def is_due(self, services: Services) -> bool:
        """Whether the task has something to do."""
        return something_is_due(services, self.asking)

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait; while the ledger is away the windows wait too."""
        # Its connections are used again at each look: Postgres has few.
        services = await asyncio.to_thread(_services)
        while True:
            # The task has just looked.
            await asyncio.sleep(self.seconds)
            try:
                is_due = await asyncio.to_thread(self.is_due, services)
            except PodiumError as error:
                log.warning("%s", error)
                is_due = False
            if is_due:
                yield TriggerEvent({})
                return


class WatchSensor(BaseOperator):
    """Records the verdicts on watch windows, and rolls back where they say so; waits as long as one is open.

    It ends with the first rollback, so that it is announced, and where people are to be asked about one, or
    no more; what else is open the next run watches, which this one starts.
    """

    def execute(self, context: Context) -> RolledBack:
        """Judge what is open; wait if nothing came of it."""
        from podium.monitoring.watch_act import act
        from podium.services import connect

        with task_outcomes():
            refuse_wrong_form(context)
            done = act(connect())
            for sentence in done.told:
                log.info("%s", sentence)
            asking = [run for run in done.proposed if _is_started(context, run)]
            proposed = [run for run in done.proposed if run not in asking]
            context["ti"].xcom_push(key=PROPOSED, value=proposed)
            context["ti"].xcom_push(key=CLOSED, value=done.closed)
            context["ti"].xcom_push(key=STILL_OPEN, value=done.still_open)
            if done.told:
                leave_note(context, "; ".join(done.told))
            if done.rolled_back or proposed or done.closed:
                return done.rolled_back
            if not done.still_open:
                if not done.told:
                    leave_note(context, "no watch window is open")
                return []
        self.defer(trigger=WatchTrigger(LOOK_SECONDS, asking), method_name="look_again")
        raise AssertionError("a waiting task does not continue")

    def look_again(self, context: Context, event: dict[str, Any]) -> RolledBack:  # noqa: ARG002 - Airflow's signature
        """Judge again after the trigger saw something to do."""
        return self.execute(context)


def proposed(context: Context) -> list[dict[str, str]]:
    """Return how the runs are started that ask people about a rollback; end those that nobody need answer."""
    end_approvals(context["ti"].xcom_pull(task_ids="judge", key=CLOSED) or [])
    runs = context["ti"].xcom_pull(task_ids="judge", key=PROPOSED) or []
    return [{"trigger_run_id": run.partition("/")[2]} for run in runs]


def next_run(context: Context) -> list[dict[str, str]]:
    """Return how the run is started that watches the windows that are open still; nothing if none is."""
    if not context["ti"].xcom_pull(task_ids="judge", key=STILL_OPEN):
        return []
    # The same run however often this is asked, and another after each run.
    return [{"trigger_run_id": f"after__{context['dag_run'].start_date.isoformat()}"}]


def something_is_due(services: Services, asking: Sequence[str]) -> bool:
    """Whether ``judge`` has something to do; also where no window is open any more."""
    from podium.monitoring.watch_act import is_due

    return is_due(services, asking)


def _is_started(context: Context, run: str) -> bool:
    """Whether a run is there already, as ``dag_id/run_id``; it may not have asked anybody yet."""
    dag_id, _, run_id = run.partition("/")
    return context["ti"].get_dr_count(dag_id=dag_id, run_ids=[run_id]) > 0


def _services() -> Services:
    from podium.services import connect

    return connect()
