"""Let the trigger of watch windows wait through an outage, and the task end; print both as JSON."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

from airflow.sdk.exceptions import TaskDeferred

from podium.errors import Outage
from podium.monitoring import watch_act
from podium.monitoring.watch_act import Acted
from podium_airflow import watching
from podium_airflow.watching import WatchSensor, WatchTrigger, next_run

LOOKS: list[bool | Outage] = [Outage("the ledger did not answer"), Outage("still away"), False, True]


def looks_left(looks: Iterator[bool | Outage]) -> int:
    """Return how many looks are left when the trigger says that something is to be done."""

    def is_due(*_: object) -> bool:
        found = next(looks)
        if isinstance(found, Outage):
            raise found
        return found

    watching.something_is_due = is_due
    watching._services = lambda: None  # type: ignore[assignment, return-value]

    async def first() -> None:
        await anext(WatchTrigger(0).run())

    asyncio.run(first())
    return len(list(looks))


def ends(acted: Acted, there: int = 0) -> dict[str, Any]:
    """Return whether the task waits on after a look, for which runs, and which run is to watch on."""
    pushed: dict[str, Any] = {}
    started = datetime(2026, 5, 1, tzinfo=UTC)
    context: Any = {
        "dag": SimpleNamespace(dag_id="watch_champion", params={}),
        "dag_run": SimpleNamespace(dag_id="watch_champion", run_id="r", conf={}, start_date=started),
        "params": {},
        "ti": SimpleNamespace(
            get_dr_count=lambda dag_id, run_ids: there,  # noqa: ARG005 - as Airflow calls it
            xcom_push=lambda key, value: pushed.update({key: value}),
            xcom_pull=lambda task_ids, key: pushed[key],  # noqa: ARG005 - as Airflow calls it
        ),
    }
    watch_act.act = lambda _: acted  # type: ignore[assignment]
    try:
        WatchSensor(task_id="judge").execute(context)
    except TaskDeferred as waits:
        trigger: Any = waits.trigger
        return {"waits": trigger.asking, "next": []}
    return {"waits": None, "next": next_run(context)}


print(
    json.dumps(
        {
            "looks left": looks_left(iter(LOOKS)),
            "open": ends(Acted([], [], [], [], 2)),
            "proposed": ends(Acted([], [], ["propose_rollback/verdict-7"], [], 1)),
            "about to ask": ends(Acted([], [], ["propose_rollback/verdict-7"], [], 1), there=1),
            "rolled back": ends(Acted([], [("m", "r")], [], [], 2)),
            "closed": ends(Acted([], [], [], ["propose_rollback/verdict-7"], 1)),
            "last": ends(Acted(["m v2: good"], [], [], [], 0)),
        }
    )
)
