"""Ask whether many old versions may go.

The Dag `retention` starts a run of this where more than `ask_above` of a model would go at once. The run is
named after the proposal on record, and all that it asks about comes from there: a run that somebody starts
under another name fails, and asks nobody.

- **approve** waits under *required actions* for the approvers of the model. The card lists the versions, each
  with its size and age.
- **remove** acts on the decision in the ledger: exactly the versions on the card go. All rules are asked
  again right before each step. After a rejection, or without a decision, none goes.
"""

from datetime import timedelta
from typing import Any

from airflow.sdk import Context, dag

from podium.model_file.loading import find_spec
from podium.settings import models_dir
from podium_airflow.approval_sensor import RemovalSensor
from podium_airflow.failures import WAIT_OUT_AN_OUTAGE, podium_task
from podium_airflow.notes import tell_sentence
from podium_airflow.retention_secret import retention_password, with_retention_password
from podium_airflow.runs import run_reference


@podium_task(execution_timeout=timedelta(hours=6), **with_retention_password())
def remove(**context: Context) -> dict[str, Any]:
    """Move and delete what people have approved, and look at what stays."""
    from podium.lifecycle.removal import proposal_of, remove_approved
    from podium.services import connect

    services, run = connect(), run_reference(context)
    spec = find_spec(models_dir(), proposal_of(services.ledger, run).model)
    done = remove_approved(services, spec, retention_password(), run)
    tell_sentence(context, str(done))
    return {"model": spec.name, "said": str(done)}


@dag(
    schedule=None,
    # Retention would ask, and nobody would be asked.
    is_paused_upon_creation=False,
    doc_md=__doc__,
    description="Ask the approvers whether many old versions may go, and remove exactly these",
    tags=["podium"],
    default_args={"owner": "podium", **WAIT_OUT_AN_OUTAGE},
)
def propose_removal() -> None:
    """Wire the steps."""
    RemovalSensor(task_id="approve") >> remove()


propose_removal()
