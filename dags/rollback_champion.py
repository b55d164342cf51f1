"""Move a champion back.

Moves the `champion` alias of a model back to a version that was champion before, after proof that this
version can serve. Its files must be those that were registered, it must take what the champion's clients
send, and it must predict its stored example as it did in training. It refuses, and the run
fails, if no such version exists, if the champion was moved since you asked, or if it was moved outside
Podium. Clearing a refused run does not change the refusal, and a run asked for ahead of
time (`run_after`) is refused.

Leave `to_version` empty for the previous champion. Your name and the reason go on record. A version that
never was champion needs `force_version`, which only an approver of the model may tick; the record shows it.
"""

from datetime import timedelta
from typing import Any

from airflow.sdk import Context, dag

from podium.model_file.loading import find_spec, load_specs
from podium.settings import models_dir
from podium_airflow.announcing import Announced, announce_on_success, note_announced
from podium_airflow.assets import CHAMPIONS
from podium_airflow.failures import WAIT_OUT_AN_OUTAGE, podium_task
from podium_airflow.forms import rollback_form
from podium_airflow.notes import tell_event
from podium_airflow.people import person
from podium_airflow.runs import asked, run_reference, triggered_by


@podium_task(execution_timeout=timedelta(minutes=30))
def move_champion_back(**context: Context) -> dict[str, Any]:
    """Prove the target and move the alias."""
    from podium.lifecycle.rollback import force_version, frozen_first, rollback, rollback_request
    from podium.services import connect

    services, form = connect(), context["params"]
    policy = find_spec(models_dir(), form["model"]).approval
    asks = person(triggered_by(context))
    run = run_reference(context)
    model, to_version, reason = form["model"], form["to_version"], form["reason"]
    with frozen_first(services, model):
        request = rollback_request(model, to_version, asks=asks, reason=reason, run=run)
        if form["force_version"]:
            request = force_version(request, policy, asks)
    moved = rollback(services, request, asked(context))
    tell_event(context, moved)
    return moved.as_json()


@podium_task(outlets=[CHAMPIONS])
def announce(moved: dict[str, Any], **context: Context) -> Announced:
    """Notify the followers of the champion."""
    return announce_on_success(context, model=moved["model"], run=run_reference(context))


@dag(
    schedule=None,
    is_paused_upon_creation=False,
    doc_md=__doc__,
    description="Move a model's champion alias back to a former champion, after proof that it works",
    tags=["podium"],
    default_args={"owner": "podium", **WAIT_OUT_AN_OUTAGE},
)
def rollback_champion() -> None:
    """Wire the steps."""
    note_announced(announce(move_champion_back()))


rollback_champion().params = rollback_form(load_specs(models_dir())[0])
