"""Take a model from training data to champion.

One Dag per model file: train, register, validate, nominate, wait for people, promote, announce.

- **validate** runs the gates beside the champion, re-scored on the same rows. A refused version goes no
  further: its report is on the version and in the MLflow run.
- **approve** waits under *required actions* for the approvers; it holds no worker and no trigger. A newer
  candidate closes the requests of older runs (**close_superseded**).
- **outcome** shows how the run came out: one of the tasks after it runs, the others are skipped.
- **promote** acts on the decision in the ledger, not on the colour of a task.

Trigger it by hand to choose `as_of` (train on what was known then), to override params, to try it on less
(`profile`; it ends after the gates), or to take a run that was trained before (`podium compare
--nominate-best`), or a version that is there already (`podium copy` brings one from another registry).
"""

from datetime import timedelta
from typing import Any

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import Context, CronTriggerTimetable, Param, dag, task

from podium.model_file.loading import load_specs
from podium.model_file.spec import ModelSpec
from podium.names import RunOutcome
from podium.settings import models_dir
from podium_airflow.approval_sensor import ApprovalSensor
from podium_airflow.assets import champion_asset
from podium_airflow.compute import heavy
from podium_airflow.failures import WAIT_OUT_AN_OUTAGE, task_outcomes
from podium_airflow.parsing import is_wanted
from podium_airflow.runs import as_of, run_id_of, run_reference

FORM = {
    "as_of": Param(
        None,
        type=["null", "string"],
        format="date-time",
        title="As of",
        description="Train on what was known at this moment. Empty: the run's logical date.",
    ),
    "mlflow_run": Param(
        None,
        type=["null", "string"],
        title="MLflow run",
        description="Take this finished training run instead of training; the gates judge it all the same.",
    ),
    "version": Param(
        None,
        type=["null", "integer"],
        minimum=1,
        title="Version",
        description="Take this version instead of training, such as one that `podium copy` brought here; "
        "the gates and the approval decide all the same.",
    ),
    "params": Param({}, type="object", title="Params", description="Replace params of the model file."),
}


def profile_param(spec: ModelSpec) -> Param:
    """The form's choice of a run on less, of those that the model file has."""
    return Param(
        None,
        type=["null", "string"],
        enum=[None, *(profile.value for profile in spec.profiles)],
        title="Profile",
        description="Try the lifecycle on less: a version that is never promoted. Empty: in full.",
    )


def build_lifecycle(spec: ModelSpec) -> None:
    """Make the Dag of one model file."""

    @task(**heavy(spec.compute))
    @task_outcomes()
    def train(**context: Context) -> str:
        from podium.lifecycle.nominate import refuse_decided_run
        from podium.lifecycle.register import run_to_take
        from podium.model_file.profiles import named_profile
        from podium.services import connect
        from podium.training.run import train_model

        services, run, form = connect(), run_reference(context), context["params"]
        refuse_decided_run(services.ledger, run)
        if trained := run_to_take(services.registry, spec.name, form):
            return trained
        profile = named_profile(form["profile"], spec.profiles, spec.name)
        return train_model(spec, services.settings, as_of(context), form["params"], run, profile).run_id

    @task
    @task_outcomes()
    def register(mlflow_run: str, **context: Context) -> int:
        from podium.lifecycle.register import register_version
        from podium.services import connect

        services = connect()
        return register_version(services.registry, services.ledger, spec, mlflow_run, run_reference(context))

    @task(multiple_outputs=False, **heavy(spec.compute))
    @task_outcomes()
    def validate(version: int, **context: Context) -> dict[str, Any]:
        from podium.lifecycle.validate import validate_version
        from podium.services import connect

        return validate_version(connect(), spec, version, run_reference(context)).as_json()

    @task
    @task_outcomes()
    def nominate(**context: Context) -> list[str]:
        from podium.lifecycle.nominate import nominate_version
        from podium.services import connect

        services = connect()
        nomination = nominate_version(services.registry, services.ledger, spec.name, run_reference(context))
        return [run_id_of(run) for run in nomination["superseded"]]

    @task.branch(trigger_rule="none_failed")
    @task_outcomes()
    def outcome(**context: Context) -> str:
        from podium.ledger.store import connect_ledger
        from podium.lifecycle.outcome import outcome_of

        return outcome_of(connect_ledger(), spec.name, run_reference(context))

    @task(multiple_outputs=False, execution_timeout=timedelta(minutes=30))
    @task_outcomes()
    def promote(**context: Context) -> dict[str, Any]:
        from podium.lifecycle.promote import promote as promote_approved
        from podium.services import connect

        services = connect()
        return promote_approved(
            services.registry, services.ledger, spec.name, run_reference(context)
        ).as_json()

    champion = champion_asset(spec.name)

    @task(outlets=[champion])
    def announce(promoted: dict[str, Any], **context: Context) -> None:
        context["outlet_events"][champion].extra = promoted

    @dag(
        dag_id=spec.lifecycle_dag_id,
        description=spec.description,
        # Without a start date the first scheduled run is the next one, not at once the last one.
        schedule=CronTriggerTimetable(spec.schedule, timezone="UTC") if spec.schedule else None,
        catchup=False,
        doc_md=__doc__,
        tags=["podium", spec.name],
        params={**FORM, "profile": profile_param(spec)},
        default_args={"owner": spec.owner, **WAIT_OUT_AN_OUTAGE},
    )
    def lifecycle() -> None:
        validated = validate(register(train()))
        superseded = nominate()
        approval = ApprovalSensor(task_id="approve", spec=spec)
        came_out = outcome()
        promoted = promote()
        validated >> superseded >> approval >> came_out
        came_out >> promoted >> announce(promoted)
        came_out >> [EmptyOperator(task_id=other) for other in RunOutcome if other is not RunOutcome.PROMOTE]
        # Clearing a run is how its parked approval hears that it was superseded.
        TriggerDagRunOperator.partial(
            task_id="close_superseded", trigger_dag_id=spec.lifecycle_dag_id, reset_dag_run=True
        ).expand(trigger_run_id=superseded)

    lifecycle()


for model_spec in load_specs(models_dir())[0].values():
    if is_wanted(model_spec.lifecycle_dag_id):
        build_lifecycle(model_spec)
