"""Take a model from training data to champion.

One Dag per model file: train, register, validate, nominate, wait for people, promote, announce,
note_announced. The last green task before **outcome** is where the run ended; the run's note says why.

- **validate** runs the gates beside the champion, re-scored on the same rows. A refused version stops here.
- **nominate** makes the version the candidate and closes the requests of older runs. A version on older data
  than one that waits for a decision stops here.
- **approve** waits under *required actions* for the approvers; it holds no worker and no trigger.
- **ramp**, only with a section `ramp` in the model file, raises the share of the clients that the approved
  version answers, as long as the evidence is not bad (docs/watch-window.md). It holds no worker.
- **promote** acts on the decision in the ledger, not on the colour of a task.
- **announce** updates the asset `champion of <model>`, and **note_announced** records that it did. If neither
  happens, **reconcile** announces the promotion.
- **outcome** says in one sentence how the run came out, whatever happened, and what to do next.

If the model file has a section `monitoring`, a window that shows harm starts the Dag too, as of the end of
that window. The approval card and the run's note show the reason.

If the model file has a section `training`, another Dag trains. Each update of its asset starts this Dag with
the MLflow run that the update names, and **train** only adds the holdout.

Trigger it by hand to choose `as_of`, to override params, or for a trial run (`profile`; it ends
after its gates). You can also take an earlier training run or an existing version instead of training. The
approval card shows what you asked for. A run that a backfill starts again is refused: trigger it yourself.
"""

from datetime import timedelta

from airflow.sdk import DAG, Context, chain

from podium.model_file.loading import load_specs
from podium.model_file.spec import ModelSpec
from podium.settings import models_dir
from podium_airflow.announcing import Announced, announce_promotion, move_cursors
from podium_airflow.approval_sensor import ApprovalSensor
from podium_airflow.assets import champion_asset
from podium_airflow.closing import end_approvals
from podium_airflow.compute import heavy
from podium_airflow.elsewhere import announced_by
from podium_airflow.failures import WAIT_OUT_AN_OUTAGE
from podium_airflow.forms import lifecycle_form
from podium_airflow.lifecycle_task import LifecycleTask
from podium_airflow.notes import tell_outcome
from podium_airflow.parsing import is_wanted, lifecycle_schedule
from podium_airflow.ramping import RampSensor, end_ramp
from podium_airflow.runs import as_of, run_reference, started_again


def train(spec: ModelSpec, context: Context) -> str:
    """Train, or take the finished run or the version that the form names; return the MLflow run."""
    from podium.lifecycle.train import train
    from podium.services import connect

    form, run, again = dict(context["params"]), run_reference(context), started_again(context)
    if (announced := announced_by(context, spec)) is not None:
        form["mlflow_run"] = announced.mlflow_run
    moment = as_of(context, spec)
    return train(connect(), spec, moment, form, run, started_again=again)


def register(spec: ModelSpec, context: Context) -> int:
    """Make a version of the MLflow run; return its number."""
    from podium.lifecycle.register import register_version
    from podium.reporting.registered_model import describe_model
    from podium.services import connect

    services, mlflow_run = connect(), context["ti"].xcom_pull(task_ids="train")
    version = register_version(services, spec, mlflow_run, run_reference(context))
    describe_model(services, spec)
    return version


def validate(spec: ModelSpec, context: Context) -> None:
    """Run the gates on the version."""
    from podium.lifecycle.validate import validate_version
    from podium.services import connect

    version = context["ti"].xcom_pull(task_ids="register")
    validate_version(connect(), spec, version, run_reference(context))


def nominate(spec: ModelSpec, context: Context) -> None:
    """Make the version the candidate, and end the approvals that it takes the place of."""
    from podium.lifecycle.nominate import nominate_version
    from podium.services import connect

    nomination = nominate_version(connect(), spec.name, run_reference(context))
    end_approvals(nomination["superseded"])


def promote(spec: ModelSpec, context: Context) -> None:
    """Make the version champion, as the decision in the ledger says."""
    from podium.lifecycle.promote import promote
    from podium.lifecycle.watched import Terms
    from podium.services import connect

    promote(connect(), spec.name, run_reference(context), Terms.of(spec), ramped=spec.ramp is not None)


def announce(spec: ModelSpec, context: Context) -> Announced:
    """Update the asset of the model's champion."""
    return announce_promotion(context, spec.name)


def note_announced(_: ModelSpec, context: Context) -> None:
    """Record that the promotion was announced."""
    # Nothing where somebody marked the task before it as a success.
    move_cursors(context["ti"].xcom_pull(task_ids="announce") or [])


def outcome(spec: ModelSpec, context: Context) -> None:
    """End a ramp that led to no promotion, and say how the run came out."""
    # Also where the model file has no ramp any more.
    end_ramp(context, spec)
    tell_outcome(context, spec)


def build_lifecycle(spec: ModelSpec) -> DAG:
    """Make the Dag of one model file."""
    with DAG(
        dag_id=spec.lifecycle_dag_id,
        dag_display_name=f"{spec.name} lifecycle",
        description=spec.description,
        schedule=lifecycle_schedule(spec),
        catchup=False,
        doc_md=__doc__,
        tags=["podium", spec.name],
        default_args={"owner": spec.owner, **WAIT_OUT_AN_OUTAGE},
    ) as dag:
        heavily = heavy(spec.compute)
        chain(
            LifecycleTask(function=train, spec=spec, **heavily),
            LifecycleTask(function=register, spec=spec),
            LifecycleTask(function=validate, spec=spec, **heavily),
            LifecycleTask(function=nominate, spec=spec),
            ApprovalSensor(task_id="approve", spec=spec),
            *([] if spec.ramp is None else [RampSensor(spec=spec)]),
            LifecycleTask(function=promote, spec=spec, execution_timeout=timedelta(minutes=30)),
            LifecycleTask(function=announce, spec=spec, outlets=[champion_asset(spec.name)]),
            LifecycleTask(function=note_announced, spec=spec),
            # A teardown runs whatever came before it, and changes nothing about how the run came out.
            LifecycleTask(function=outcome, spec=spec).as_teardown(),
        )
    # Not set before: Airflow would check the schema of each param again, for every model.
    dag.params.update(lifecycle_form(spec))
    return dag


for model_spec in load_specs(models_dir())[0].values():
    if is_wanted(model_spec.lifecycle_dag_id):
        build_lifecycle(model_spec)
