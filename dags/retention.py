"""Delete old versions.

Per model with a section `retention`: a version that no rule keeps goes to quarantine, where its files stay
and an approver can restore it. After `quarantine_days` it is deleted: files first, its entry in MLflow last.
All rules are asked again right before each step. Afterwards the files of all versions that stay are compared
with those that were registered. The ledger keeps everything. docs/retention.md explains the rules.

Where more than `ask_above` of a model would go at once, nothing goes. **proposals** and **ask** start a run
of `propose_removal`, where the approvers decide about exactly these versions.

It is born paused: nothing of yours is deleted before you unpause it.
"""

from datetime import timedelta
from typing import Any

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import Context, dag

from podium.model_file.loading import load_specs
from podium.settings import models_dir
from podium_airflow.failures import WAIT_OUT_AN_OUTAGE, podium_task
from podium_airflow.forms import retention_form
from podium_airflow.notes import leave_note
from podium_airflow.parsing import scheduled
from podium_airflow.retention_secret import retention_password, with_retention_password
from podium_airflow.runs import run_reference, triggered_by

_MODELS = sorted(name for name, spec in load_specs(models_dir())[0].items() if spec.retention is not None)


@podium_task()
def choose_models(**context: Context) -> list[str]:
    """Name the models of this run."""
    named = context["params"]["model"]
    return [named] if named else _MODELS


@podium_task(execution_timeout=timedelta(hours=1))
def proposals(models: list[str], **context: Context) -> list[dict[str, str]]:
    """Record where more would go than goes unasked; name the runs that are to ask people."""
    from podium.lifecycle.removal import propose_all
    from podium.services import connect

    runs = propose_all(connect(), models, run_reference(context), triggered_by(context))
    return [{"trigger_run_id": run.partition("/")[2]} for run in runs]


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
    runs, gone = proposals(models), let_go.expand(model=models)
    runs >> gone
    TriggerDagRunOperator.partial(
        task_id="ask",
        trigger_dag_id="propose_removal",
        logical_date=None,
        skip_when_already_exists=True,
        openlineage_inject_parent_info=False,
    ).expand_kwargs(runs)


retention().params = retention_form(_MODELS)
