"""Find champions that were moved outside Podium.

Compares each model's live `champion` alias with the ledger, every five minutes by default. A champion that
was moved, deleted or left dangling by hand is recorded and announced, and promotions and rollbacks of that
model are frozen until it is settled: reverted at once where the model file says `champion_moved_outside: revert`,
else accepted or reverted by an approver with `settle_champion`.

Also finishes a promotion or rollback that was stopped half-way, and renews the other aliases and tags.
"""

from typing import Any

from airflow.sdk import Context, CronTriggerTimetable, dag, task

from podium.settings import models_dir, reconcile_schedule
from podium.spec import find_spec, load_specs
from podium_airflow.assets import MOVES_OUTSIDE, moved_outside_asset
from podium_airflow.outcomes import WAIT_OUT_AN_OUTAGE, task_outcomes

MODELS = list(load_specs(models_dir())[0])


@task(multiple_outputs=False, outlets=[MOVES_OUTSIDE], map_index_template="{{ task.op_kwargs['model'] }}")
@task_outcomes()
def compare_with_ledger(model: str, **context: Context) -> dict[str, Any] | None:
    """Look at one model; what is new is recorded and announced."""
    from podium.parts import connect
    from podium.reconcile import reconcile

    parts = connect()
    found = reconcile(parts.registry, parts.ledger, find_spec(models_dir(), model))
    if found is None:
        return None
    context["outlet_events"][MOVES_OUTSIDE].add(moved_outside_asset(model), extra=found.as_json())
    return found.as_json()


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
    """Look at every model, each for itself."""
    compare_with_ledger.expand(model=MODELS)


reconcile_champions()
