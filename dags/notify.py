"""Tell people what happened, what waits for them, and what is overdue: docs/notifications.md.

Sends each minute what is on record and was not announced yet. It has a schedule only if a channel is
configured (`PODIUM_NOTIFY_CHANNELS`). A failing channel is tried again each minute, for a day; it fails no
run, and `podium doctor` names it.
"""

from functools import cache
from typing import Any

from airflow.sdk import dag

from podium.settings import notifications_are_on
from podium_airflow.failures import WAIT_OUT_AN_OUTAGE, podium_task
from podium_airflow.parsing import scheduled


@podium_task()
def tell(**_: Any) -> None:
    """Tell what there is to tell."""
    import logging

    from podium.operations.notify.sweep import chosen_channels, sweep
    from podium.services import connect
    from podium_airflow.notifying import connected_channels
    from podium_airflow.people import airflow

    services, log = connect(), logging.getLogger(__name__)
    done = sweep(services, cache(airflow), connected_channels(chosen_channels(services.settings)))
    for notice, channel in done.told:
        log.info("Notified %s: %s", channel, notice.subject)
    if done.waiting:
        log.info("%s notices wait for the end of the quiet hours.", done.waiting)
    for problem in done.failed:
        log.warning("%s", problem)


@dag(
    dag_id="notify",
    schedule=scheduled("* * * * *" if notifications_are_on() else None),
    catchup=False,
    max_active_runs=1,
    is_paused_upon_creation=False,
    doc_md=__doc__,
    description="Tell people what happened, what waits for them, and what is overdue",
    tags=["podium"],
    # The next run is a minute away.
    default_args={"owner": "podium", **WAIT_OUT_AN_OUTAGE, "retries": 2},
)
def notify() -> None:
    """One look."""
    tell()


notify()
