"""Ask whether to roll back, as a watch window proposes.

`watch_champion` starts a run of this for each bad version of a model with `watch.auto_rollback: propose`, the
default. The run is named after the verdict on record, and all that it asks about comes from
there: a run that somebody starts under another name fails, and asks nobody.

- **approve** waits under *required actions* for the approvers of the model, with the evidence on the card.
- **roll_back** acts on the decision in the ledger: proof first, compared and swapped, on record under the
  name of the approver. Where the version to go back to fails its proof, the model is frozen until an approver
  triggers `settle_champion` with `accept`. After a rejection the champion stays.
- **announce** updates the asset of the champion, and **note_announced** records that it did.
"""

from datetime import timedelta
from typing import Any

from airflow.sdk import Context, dag

from podium_airflow.announcing import Announced, announce_on_success, note_announced
from podium_airflow.approval_sensor import RollbackSensor
from podium_airflow.assets import CHAMPIONS
from podium_airflow.failures import WAIT_OUT_AN_OUTAGE, podium_task
from podium_airflow.notes import tell_event
from podium_airflow.runs import run_reference


@podium_task(execution_timeout=timedelta(minutes=30))
def roll_back(**context: Context) -> dict[str, Any]:
    """Prove the version of before and move the alias, if people have approved."""
    from podium.monitoring.watch_propose import roll_back_approved
    from podium.services import connect

    moved = roll_back_approved(connect(), run_reference(context))
    tell_event(context, moved)
    return moved.as_json()


@podium_task(outlets=[CHAMPIONS])
def announce(moved: dict[str, Any], **context: Context) -> Announced:
    """Tell the followers of the champion."""
    return announce_on_success(context, model=moved["model"], run=run_reference(context))


@dag(
    schedule=None,
    # A bad version would serve on, and nobody would be asked.
    is_paused_upon_creation=False,
    doc_md=__doc__,
    description="Ask the approvers whether to roll back, as a watch window proposes",
    tags=["podium"],
    default_args={"owner": "podium", **WAIT_OUT_AN_OUTAGE},
)
def propose_rollback() -> None:
    """Wire the steps."""
    moved = roll_back()
    RollbackSensor(task_id="approve") >> moved
    note_announced(announce(moved))


propose_rollback()
