"""Delete old versions.

Per model with a section `retention`: a version that no rule keeps goes to quarantine, where its files stay
and an approver can restore it. After `quarantine_days` it is deleted: files first, its entry in MLflow last.
All rules are asked again right before each step. Afterwards the files of all versions that stay are compared
with those that were registered. The ledger keeps everything. docs/retention.md explains the rules.

Where more than `ask_above` would go at once, nothing goes. Look at `podium retention MODEL --dry-run`; then
an approver triggers this with the model and `allow`.

It is born paused: nothing of yours is deleted before you unpause it.
"""

from datetime import timedelta
from typing import Any

from airflow.sdk import Context, dag

from podium.model_file.loading import load_specs
from podium.settings import models_dir
from podium_airflow.failures import WAIT_OUT_AN_OUTAGE, podium_task
from podium_airflow.forms import retention_form
from podium_airflow.notes import leave_note
from podium_airflow.parsing import scheduled
from podium_airflow.people import person
from podium_airflow.retention_secret import retention_password, with_retention_password
from podium_airflow.runs import run_reference, triggered_by

_MODELS = sorted(name for name, spec in load_specs(models_dir())[0].items() if spec.retention is not None)


@podium_task()
def allow_much(**context: Context) -> None:
    """Record that an approver allows more than goes unasked, if somebody ticked that."""
    from podium.lifecycle.holding import record_allowance
    from podium.model_file.loading import find_spec
    from podium.services import connect

    form = context["params"]
    if form["allow"]:
        spec, asks = find_spec(models_dir(), form["model"] or ""), person(triggered_by(context))
        record_allowance(connect(), spec, asks=asks, reason=form["reason"] or "", run=run_reference(context))


@podium_task()
def choose_models(**context: Context) -> list[str]:
    """Name the models of this run."""
    named = context["params"]["model"]
    return [named] if named else _MODELS


@podium_task(execution_timeout=timedelta(hours=6), max_active_tis_per_dagrun=1, **with_retention_password())
def let_go(model: str, **context: Context) -> dict[str, Any]:
    """Move, delete, and look at what stays."""
    from podium.lifecycle.retention import retain
    from podium.model_file.loading import find_spec
    from podium.services import connect

    spec = find_spec(models_dir(), model)
    done = retain(connect(), spec, retention_password(), run_reference(context))
    leave_note(context, str(done))
    return {"model": model, "said": str(done)}


@dag(
    schedule=scheduled("30 2 * * 0"),
    catchup=False,
    max_active_runs=1,
    is_paused_upon_creation=True,
    doc_md=__doc__,
    description="Delete old versions that nothing keeps, after a quarantine",
    tags=["podium"],
    default_args={"owner": "podium", **WAIT_OUT_AN_OUTAGE},
)
def retention() -> None:
    """Wire the steps."""
    models = choose_models()
    allow_much() >> models
    let_go.expand(model=models)


retention().params = retention_form(_MODELS)
