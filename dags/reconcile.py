"""Find champions that were moved outside Podium.

Compares each model's live `champion` alias with the ledger, every five minutes by default. A champion that
was moved, deleted or left dangling by hand is recorded and announced, and promotions and rollbacks of that
model are frozen until it is settled: reverted at once where the model file says
`champion_moved_outside: revert`, else accepted or reverted by an approver with `settle_champion`.

Also finishes a promotion or rollback that was stopped half-way, and renews the other aliases and tags.
"""

from typing import Any

from airflow.sdk import Context, CronTriggerTimetable, dag

from podium.model_file.loading import load_specs
from podium.settings import models_dir, reconcile_schedule
from podium_airflow.assets import MOVES_OUTSIDE, moved_outside_asset
from podium_airflow.failures import WAIT_OUT_AN_OUTAGE, podium_task


@podium_task(outlets=[MOVES_OUTSIDE])
def compare_with_ledger(**context: Context) -> list[dict[str, Any]]:
    """Look at every model; what is new is recorded and announced."""
    from podium.lifecycle.reconcile import reconcile_all
    from podium.services import connect

    services = connect()
    found, errors = reconcile_all(services, load_specs(models_dir())[0].values())
    for event in found:
        context["outlet_events"][MOVES_OUTSIDE].add(moved_outside_asset(event.model), extra=event.as_json())
    for error in errors:
        raise error
    return [event.as_json() for event in found]


@dag(
    dag_id="reconcile",
    schedule=CronTriggerTimetable(reconcile_schedule(), timezone="UTC"),
    catchup=False,
    max_active_runs=1,
    is_paused_upon_creation=False,
    doc_md=__doc__,
    description="Find champions that were moved outside Podium, and revert them where the model file says so",
    tags=["podium"],
    # The next run is minutes away: no long waiting here.
    default_args={"owner": "podium", **WAIT_OUT_AN_OUTAGE, "retries": 2},
)
def reconcile_champions() -> None:
    """One look at all models."""
    compare_with_ledger()


reconcile_champions()
