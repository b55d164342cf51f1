"""Waits for verdicts on watch windows without a worker, and acts on them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator, Context
from airflow.triggers.base import BaseTrigger, TriggerEvent

from podium.errors import PodiumError
from podium_airflow.failures import task_outcomes
from podium_airflow.notes import leave_note
from podium_airflow.runs import refuse_wrong_form

if TYPE_CHECKING:
    from podium.ledger.store import Ledger

log = logging.getLogger(__name__)

LOOK_SECONDS = 10.0
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

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait; while the ledger is away the windows wait too."""
        # Its connections are used again at each look: Postgres has few.
        ledger = await asyncio.to_thread(_ledger)
        while True:
            try:
                is_due = await asyncio.to_thread(something_is_due, ledger)
            except PodiumError as error:
                log.warning("%s", error)
                is_due = False
            if is_due:
                yield TriggerEvent({})
                return
            await asyncio.sleep(self.seconds)


class WatchSensor(BaseOperator):
    """Records the verdicts on watch windows, and rolls back where they say so; waits as long as one is open.

    It ends with the first verdict, so that its rollback is announced; what else is open the next run watches.
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
            if done.told:
                leave_note(context, "; ".join(done.told))
                return done.rolled_back
            if not done.still_open:
                leave_note(context, "no watch window is open")
                return []
        self.defer(trigger=WatchTrigger(LOOK_SECONDS), method_name="look_again")
        raise AssertionError("a task that waits does not go on")

    def look_again(self, context: Context, event: dict[str, Any]) -> RolledBack:  # noqa: ARG002 - Airflow's signature
        """Judge again after the trigger saw something to do."""
        return self.execute(context)


def something_is_due(ledger: Ledger) -> bool:
    """Whether a window has its verdict or a rollback is owed; also where no window is open any more."""
    from podium.monitoring.watch_act import is_due

    return is_due(ledger)


def _ledger() -> Ledger:
    from podium.services import connect

    return connect().ledger
