"""Find champions that were moved outside Podium.

Compares each model's live `champion` alias with the ledger, every five minutes by default. A champion that
was moved, deleted or left dangling by hand is recorded and announced, and promotions and rollbacks of that
model are frozen until it is settled. With `champion_moved_outside: revert` in the model file it is reverted
at once; otherwise an approver accepts or reverts it with `settle_champion`.

Also finishes a promotion or rollback that was stopped half-way, resets the other aliases and tags, and
announces moves that their own run did not announce within twenty minutes.
"""

from typing import Any

from airflow.sdk import Context, dag
from airflow.sdk.exceptions import AirflowFailException

from podium.model_file.loading import load_specs
from podium.settings import models_dir, reconcile_schedule
from podium_airflow.announcing import announce_on_success, move_cursors
from podium_airflow.assets import CHAMPIONS, CHAMPIONS_MOVED_OUTSIDE
from podium_airflow.failures import WAIT_OUT_AN_OUTAGE, podium_task
from podium_airflow.notes import tell_event
from podium_airflow.parsing import scheduled


@podium_task(outlets=[CHAMPIONS, CHAMPIONS_MOVED_OUTSIDE])
def compare_with_ledger(**context: Context) -> dict[str, Any]:
    """Look at every model, record what is new, and announce what nobody announced yet."""
    from podium.lifecycle.reconcile import reconcile_all
    from podium.services import connect

    found, errors = reconcile_all(connect(), load_specs(models_dir())[0].values())
    if found:
        tell_event(context, *found)
    # The next task fails with them: a task that fails announces nothing.
    return {"announced": announce_on_success(context), "errors": [error.with_code() for error in errors]}


@podium_task()
def note_announced(looked: dict[str, Any] | None, **_: Any) -> None:
    """Record what was announced, and fail if something went wrong with a model."""
    looked = looked or {"announced": [], "errors": []}
    move_cursors(looked["announced"])
    if looked["errors"]:
        raise AirflowFailException("\n".join(looked["errors"]))


@dag(
    dag_id="reconcile",
    schedule=scheduled(reconcile_schedule()),
    catchup=False,
    max_active_runs=1,
    is_paused_upon_creation=False,
    doc_md=__doc__,
    description="Find champions that were moved outside Podium, and revert them if the model file asks",
    tags=["podium"],
    # The next run is minutes away: no long waiting here.
    default_args={"owner": "podium", **WAIT_OUT_AN_OUTAGE, "retries": 2},
)
def reconcile_champions() -> None:
    """One look at all models."""
    note_announced(compare_with_ledger())


reconcile_champions()
