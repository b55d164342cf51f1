"""End a model.

No run of a retired model does anything; model servers report that it is retired, and keep serving what
they have in memory. Its versions are kept for `retention.retired_days`. Then they are deleted as old versions
are, except held ones. Its record stays. `undo` lets the model continue. Only approvers of the model may
trigger this.
"""

from datetime import timedelta
from typing import Any

from airflow.sdk import Context, dag

from podium.model_file.loading import find_spec, load_specs
from podium.settings import models_dir
from podium_airflow.failures import WAIT_OUT_AN_OUTAGE, podium_task
from podium_airflow.forms import retire_form
from podium_airflow.notes import tell_event
from podium_airflow.people import person
from podium_airflow.runs import run_reference, triggered_by


@podium_task(execution_timeout=timedelta(minutes=30))
def retire(**context: Context) -> dict[str, Any]:
    """Record it, as who triggered this may."""
    from podium.lifecycle.holding import Ending, ending_request, say
    from podium.services import connect

    form, run = context["params"], run_reference(context)
    spec, asks = find_spec(models_dir(), form["model"]), person(triggered_by(context))
    said = say(
        connect(), ending_request(spec, Ending(form["what"]), asks=asks, reason=form["reason"], run=run)
    )
    tell_event(context, said)
    return said.as_json()


@dag(
    schedule=None,
    is_paused_upon_creation=False,
    doc_md=__doc__,
    description="End a model: no run starts, and its versions are deleted after a while",
    tags=["podium"],
    default_args={"owner": "podium", **WAIT_OUT_AN_OUTAGE},
)
def retire_model() -> None:
    """Wire the step."""
    retire()


retire_model().params = retire_form(load_specs(models_dir())[0])
