"""Adopt a registered model that was there before Podium.

Puts its versions on record, with the digest of each file and what MLflow knows of them. Takes its champion
over: the version at the alias `champion`, at another alias, of a number, or in a stage such as `Production`.
Nothing is moved; the alias `champion` is set if it does not exist. From then on a move outside
Podium is found, a rollback can go back to the champion, and the next lifecycle run compares with it.

Only approvers of the model may trigger this, and it takes as many of them as approving: each triggers it
once. A run that was refused stays so when it is cleared; one that was stopped continues where it was.
"""

from datetime import timedelta
from typing import Any

from airflow.sdk import Context, dag

from podium.model_file.loading import find_spec, load_specs
from podium.settings import models_dir
from podium_airflow.announcing import Announced, announce_on_success, note_announced
from podium_airflow.assets import CHAMPIONS, CHAMPIONS_MOVED_OUTSIDE
from podium_airflow.failures import WAIT_OUT_AN_OUTAGE, podium_task
from podium_airflow.forms import adopt_form
from podium_airflow.notes import tell_sentence
from podium_airflow.people import person
from podium_airflow.runs import asked, run_reference, triggered_by


@podium_task(execution_timeout=timedelta(hours=12))
def adopt(**context: Context) -> dict[str, Any]:
    """Read the versions, put them on record, and take the champion over."""
    from podium.lifecycle.adopt import adopt as adopt_model
    from podium.lifecycle.adopt import adopt_request
    from podium.services import connect

    form, spec = context["params"], find_spec(models_dir(), context["params"]["model"])
    who, run = person(triggered_by(context)), run_reference(context)
    request = adopt_request(spec, asks=who, reason=form["reason"], run=run)
    stage = form["from_stage"]
    adopted = adopt_model(connect(), spec, request, asked(context), form["champion"], stage)
    tell_sentence(context, adopted.sentence())
    return {"model": spec.name}


@podium_task(outlets=[CHAMPIONS, CHAMPIONS_MOVED_OUTSIDE])
def announce(adopted: dict[str, Any], **context: Context) -> Announced:
    """Tell the followers of the champion; nothing while people are missing."""
    return announce_on_success(context, model=adopted["model"], run=run_reference(context))


@dag(
    schedule=None,
    # An approver may trigger it, and not let it run.
    is_paused_upon_creation=False,
    doc_md=__doc__,
    description="Put the versions of a registered model on record, and take its champion over",
    tags=["podium"],
    default_args={"owner": "podium", **WAIT_OUT_AN_OUTAGE},
)
def adopt_model() -> None:
    """Wire the steps."""
    note_announced(announce(adopt()))


adopt_model().params = adopt_form(load_specs(models_dir())[0])
