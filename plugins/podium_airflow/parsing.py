"""Which Dags a Dag file has to build, and when they run."""

from __future__ import annotations

from airflow.sdk import CronTriggerTimetable, get_parsing_context


def is_wanted(dag_id: str) -> bool:
    """Tell whether a Dag is wanted: before a task only its own is, else all.

    Each task parses its Dag file; with many models most of that would be the Dags of the others.
    https://airflow.apache.org/docs/apache-airflow/stable/howto/dynamic-dag-generation.html
    """
    return get_parsing_context().dag_id in (None, dag_id)


def scheduled(cron: str | None) -> CronTriggerTimetable | None:
    """Return the timetable of a cron expression in UTC; None for a Dag that is only triggered.

    Without a start date the first scheduled run is the next one, not at once the last one.
    """
    return CronTriggerTimetable(cron, timezone="UTC") if cron else None
