"""Hold a version, release it, or restore it from quarantine.

A version that is held is never deleted, against all rules of the model file. A version in quarantine can be
restored until it is deleted; its files must be those that were registered. Only approvers of the model may
trigger this. Their login and their reason go on record.
"""

from datetime import timedelta
from typing import Any

from airflow.sdk import Context, dag

from podium.model_file.loading import find_spec, load_specs
from podium.settings import models_dir
from podium_airflow.failures import WAIT_OUT_AN_OUTAGE, podium_task
from podium_airflow.forms import hold_form
from podium_airflow.notes import tell_event
from podium_airflow.people import person
from podium_airflow.runs import run_reference, triggered_by


@podium_task(execution_timeout=timedelta(minutes=30))
def hold(**context: Context) -> dict[str, Any]:
    """Record it, as who triggered this may."""
    from podium.lifecycle.holding import Keeping, keeping_request, say
    from podium.services import connect

    form, run = context["params"], run_reference(context)
    spec, asks = find_spec(models_dir(), form["model"]), person(triggered_by(context))
    request = keeping_request(
        spec, Keeping(form["what"]), form["version"], asks=asks, reason=form["reason"], run=run
    )
    said = say(connect(), request)
    tell_event(context, said)
    return said.as_json()


@dag(
    schedule=None,
    # An approver may trigger it, and not let it run.
    is_paused_upon_creation=False,
    doc_md=__doc__,
    description="Hold a version, release it, or restore it from quarantine",
    tags=["podium"],
    default_args={"owner": "podium", **WAIT_OUT_AN_OUTAGE},
)
def hold_version() -> None:
    """Wire the step."""
    hold()


hold_version().params = hold_form(load_specs(models_dir())[0])
