"""Waits for verdicts on watch windows without a worker, and acts on them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
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
PROPOSED, CLOSED = "proposed", "closed"
# Model and run of each rollback, which are announced next.
RolledBack = list[tuple[str, str]]


class WatchTrigger(BaseTrigger):
    """Looks every few seconds, in the triggerer, whether a watch window has its verdict, or none is open.

    Args:
        seconds: Between two looks.
    """

    def __init__(self, seconds: float = LOOK_SECONDS) -> None:
        super().__init__()
        self.seconds = seconds

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Say how Airflow makes it again."""
        return "podium_airflow.watching.WatchTrigger", {"seconds": self.seconds}

    def is_due(self, services: Services) -> bool:
        """Whether the task has something to do."""
        return something_is_due(services)

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait; while the ledger is away the windows wait too."""
        # Its connections are used again at each look: Postgres has few.
        services = await asyncio.to_thread(_services)
        while True:
            try:
                is_due = await asyncio.to_thread(self.is_due, services)
            except PodiumError as error:
                log.warning("%s", error)
                is_due = False
            if is_due:
                yield TriggerEvent({})
                return
            await asyncio.sleep(self.seconds)


class WatchSensor(BaseOperator):
    """Records the verdicts on watch windows, and rolls back where they say so; waits as long as one is open.

    It ends with the first rollback, so that it is announced, and where people are to be asked about one, or
    no more; what else is open the next run watches.
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
            context["ti"].xcom_push(key=PROPOSED, value=done.proposed)
            context["ti"].xcom_push(key=CLOSED, value=done.closed)
            if done.told:
                leave_note(context, "; ".join(done.told))
            if done.rolled_back or done.proposed or done.closed:
                return done.rolled_back
            if not done.still_open:
                if not done.told:
                    leave_note(context, "no watch window is open")
                return []
        self.defer(trigger=WatchTrigger(LOOK_SECONDS), method_name="look_again")
        raise AssertionError("a waiting task does not continue")

    def look_again(self, context: Context, event: dict[str, Any]) -> RolledBack:  # noqa: ARG002 - Airflow's signature
        """Judge again after the trigger saw something to do."""
        return self.execute(context)


def proposed(context: Context) -> list[dict[str, str]]:
    """Return how the runs are started that ask people about a rollback; end those that nobody need answer."""
    end_approvals(context["ti"].xcom_pull(task_ids="judge", key=CLOSED) or [])
    runs = context["ti"].xcom_pull(task_ids="judge", key=PROPOSED) or []
    return [{"trigger_run_id": run.partition("/")[2]} for run in runs]


def something_is_due(services: Services) -> bool:
    """Whether ``judge`` has something to do; also where no window is open any more."""
    from podium.monitoring.watch_act import is_due

    return is_due(services)


def _services() -> Services:
    from podium.services import connect

    return connect()
