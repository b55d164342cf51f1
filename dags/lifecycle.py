"""Take a model from training data to champion.

One Dag per model file: train, register, validate, nominate, wait for a person, promote, announce.

- **validate** runs the gates beside the champion, re-scored on the same rows. A refused version goes no
  further: the rest is skipped, and its report is on the version and in the MLflow run.
- **approve** waits under *required actions* for an approver; it holds no worker and no trigger.
- **promote** acts on the decision in the ledger, not on the colour of a task.

Trigger it by hand to choose `as_of` (train on what was known then) or to override params.
"""

from typing import Any

from airflow.sdk import Context, CronTriggerTimetable, Param, dag, task

from podium.settings import models_dir
from podium.spec import ModelSpec, load_specs
from podium_airflow.approval_sensor import ApprovalSensor
from podium_airflow.assets import champion_asset
from podium_airflow.outcomes import WAIT_OUT_AN_OUTAGE, task_outcomes
from podium_airflow.runs import as_of, run_reference

FORM = {
    "as_of": Param(
        None,
        type=["null", "string"],
        format="date-time",
        title="As of",
        description="Train on what was known at this moment. Empty: the run's logical date.",
    ),
    "params": Param({}, type="object", title="Params", description="Replace params of the model file."),
}


def build_lifecycle(spec: ModelSpec) -> None:
    """Make the Dag of one model file."""

    @task(multiple_outputs=False)
    @task_outcomes()
    def train(**context: Context) -> dict[str, Any]:
        from podium.parts import connect
        from podium.training import train_model

        overrides = context["params"]["params"]
        trained = train_model(spec, connect().settings, as_of(context), overrides, run_reference(context))
        return trained.as_json()

    @task
    @task_outcomes()
    def register(trained: dict[str, Any], **context: Context) -> int:
        from podium.lifecycle import register_version
        from podium.parts import connect
        from podium.training import TrainedRun

        parts = connect()
        run = run_reference(context)
        return register_version(parts.registry, parts.ledger, spec, TrainedRun(**trained), run)

    @task(multiple_outputs=False)
    @task_outcomes()
    def validate(version: int, **context: Context) -> dict[str, Any]:
        from podium.lifecycle import validate_version
        from podium.parts import connect

        parts = connect()
        report = validate_version(parts.registry, parts.ledger, spec, version, run_reference(context))
        return {**report.as_json(), "markdown": report.markdown()}

    @task(multiple_outputs=False)
    @task_outcomes()
    def nominate(report: dict[str, Any], **context: Context) -> dict[str, Any]:
        from podium.lifecycle import nominate_version
        from podium.parts import connect

        parts = connect()
        return dict(nominate_version(parts.registry, parts.ledger, report, run_reference(context)))

    @task(multiple_outputs=False)
    @task_outcomes()
    def promote(**context: Context) -> dict[str, Any]:
        from podium.parts import connect
        from podium.promotion import promote as promote_approved

        parts = connect()
        return promote_approved(parts.registry, parts.ledger, run_reference(context)).as_json()

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
        params=FORM,
        default_args={"owner": spec.owner, **WAIT_OUT_AN_OUTAGE},
    )
    def lifecycle() -> None:
        report = validate(register(train()))
        nomination = nominate(report)
        approval = ApprovalSensor(task_id="approve", spec=spec, nomination=nomination, report=report)
        promoted = promote()
        nomination >> approval >> promoted >> announce(promoted)

    lifecycle()


for model_spec in load_specs(models_dir())[0].values():
    build_lifecycle(model_spec)
