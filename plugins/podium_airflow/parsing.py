"""Which Dags a Dag file has to build, and when they run."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from datetime import timedelta
from typing import TYPE_CHECKING

from airflow.sdk import Asset, AssetAny, AssetOrTimeSchedule, get_parsing_context
from airflow.timetables.trigger import CronTriggerTimetable

from podium_airflow.assets import champion_asset, retraining_asset, trained_asset

if TYPE_CHECKING:
    from podium.model_file.spec import ModelSpec


def is_wanted(dag_id: str) -> bool:
    """Tell whether a Dag is wanted: before a task only its own is, else all.

    Each task parses its Dag file; with many models most of that would be the Dags of the others.
    https://airflow.apache.org/docs/apache-airflow/stable/howto/dynamic-dag-generation.html
    """
    return get_parsing_context().dag_id in (None, dag_id)


@functools.cache
def scheduled(cron: str | None) -> CronTriggerTimetable | None:
    """Return the timetable of a cron expression in UTC; None for a Dag that is only triggered.

    The first scheduled run is the next one. Airflow also starts the last one if it is not long ago: less than
    a tenth of the time between two runs, which is 17 hours of a week. It is the scheduler's timetable: of the
    SDK's Airflow makes this one each time it serialises a Dag, a sixth of that work.
    """
    # False, the default, still means that tenth:
    # https://github.com/apache/airflow/blob/3.3.2/airflow-core/src/airflow/timetables/trigger.py
    return CronTriggerTimetable(cron, timezone="UTC", run_immediately=timedelta(0)) if cron else None


def lifecycle_schedule(spec: ModelSpec) -> CronTriggerTimetable | AssetOrTimeSchedule | list[Asset] | None:
    """Return when a model's lifecycle runs: by its schedule, and when monitoring, if any, asks for it.

    That of a model which is trained elsewhere runs with each training; whoever trains follows monitoring.
    """
    timetable, trained = scheduled(spec.schedule), trained_asset(spec)
    if trained is None and spec.monitoring is None:
        return timetable
    asks = [retraining_asset(spec.name) if trained is None else trained]
    return asks if timetable is None else AssetOrTimeSchedule(timetable=timetable, assets=asks)


def watch_schedule(specs: Iterable[ModelSpec]) -> AssetOrTimeSchedule | None:
    """Return when watch windows are looked for: after each promotion of a watched model, and now and then."""
    watched = [champion_asset(spec.name) for spec in specs if spec.watch is not None]
    if not watched:
        return None
    return AssetOrTimeSchedule(timetable=scheduled("*/10 * * * *"), assets=AssetAny(*watched))
