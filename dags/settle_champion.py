"""Settle a champion that was moved outside Podium.

Until then, promotions and rollbacks of the model are frozen. `accept` makes the live version the recorded
champion, `revert` moves the alias back to the recorded one. Only approvers of the model may trigger this, and
accepting takes as many of them as approving: each triggers it once.

A run settles only the move that was known when it was triggered: after a further move, look again and trigger
a new run. Clearing a refused run does not change the refusal.
"""

from datetime import timedelta
from typing import Any

from airflow.sdk import Context, dag

from podium.model_file.loading import find_spec, load_specs
from podium.settings import models_dir
from podium_airflow.announcing import Announced, announce_on_success, note_announced
from podium_airflow.assets import CHAMPIONS, CHAMPIONS_MOVED_OUTSIDE
from podium_airflow.failures import WAIT_OUT_AN_OUTAGE, podium_task
from podium_airflow.forms import settle_form
from podium_airflow.notes import tell_event
from podium_airflow.people import person
from podium_airflow.runs import asked, run_reference, triggered_by


@podium_task(execution_timeout=timedelta(minutes=30))
def settle(**context: Context) -> dict[str, Any]:
    """Accept or revert, as who triggered this may."""
    from podium.lifecycle.settle import Settlement, settle_request
    from podium.lifecycle.settle import settle as settle_move
    from podium.services import connect

    services, form = connect(), context["params"]
    spec = find_spec(models_dir(), form["model"])
    asks = person(triggered_by(context))
    settlement, run = Settlement(form["settlement"]), run_reference(context)
    request = settle_request(spec, settlement, asks=asks, reason=form["reason"], run=run)
    settled = settle_move(services, spec, request, asked(context))
    tell_event(context, settled)
    return settled.as_json()


@podium_task(outlets=[CHAMPIONS, CHAMPIONS_MOVED_OUTSIDE])
def announce(settled: dict[str, Any], **context: Context) -> Announced:
    """Notify the followers of the champion; nothing while people are missing."""
    return announce_on_success(context, model=settled["model"], run=run_reference(context))


@dag(
    schedule=None,
    # An approver may trigger it, and not let it run.
    is_paused_upon_creation=False,
    doc_md=__doc__,
    description="Accept or revert a champion that was moved outside Podium",
    tags=["podium"],
    default_args={"owner": "podium", **WAIT_OUT_AN_OUTAGE},
)
def settle_champion() -> None:
    """Wire the steps."""
    note_announced(announce(settle()))


settle_champion().params = settle_form(load_specs(models_dir())[0])
