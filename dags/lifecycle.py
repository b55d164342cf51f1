"""Take a model from training data to champion.

One Dag per model file: train, register, validate, nominate, wait for people, promote, announce.

- **validate** runs the gates beside the champion, re-scored on the same rows. A refused version stops here.
- **approve** waits under *required actions* for the approvers; it holds no worker and no trigger. A newer
  candidate closes the requests of older runs (**close_superseded**).
- **outcome** shows how the run came out: one of the tasks after it runs, the others are skipped.
- **promote** acts on the decision in the ledger, not on the colour of a task.

Trigger it by hand to choose `as_of`, to override params, for a trial run (`profile`; it ends after its
gates), or to take a run that was trained before or an existing version instead of training. What you ask for
stands on the approval card. A run that a backfill starts again is refused: trigger it yourself.
"""

from datetime import timedelta
from typing import Any

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import Context, dag, task

from podium.model_file.loading import load_specs
from podium.model_file.spec import ModelSpec
from podium.names import RunOutcome
from podium.settings import models_dir
from podium_airflow.approval_sensor import ApprovalSensor
from podium_airflow.assets import champion_asset
from podium_airflow.compute import heavy
from podium_airflow.failures import WAIT_OUT_AN_OUTAGE, podium_task, task_outcomes
from podium_airflow.forms import lifecycle_form
from podium_airflow.parsing import is_wanted, scheduled
from podium_airflow.runs import as_of, clear_runs, run_id_of, run_reference, started_again


def build_lifecycle(spec: ModelSpec) -> None:
    """Make the Dag of one model file."""

    @podium_task(**heavy(spec.compute))
    def train(**context: Context) -> str:
        from podium.lifecycle.train import train
        from podium.services import connect

        form, run, again = context["params"], run_reference(context), started_again(context)
        return train(connect(), spec, as_of(context), form, run, started_again=again)

    @podium_task()
    def register(mlflow_run: str, **context: Context) -> int:
        from podium.lifecycle.register import register_version
        from podium.services import connect

        return register_version(connect(), spec, mlflow_run, run_reference(context))

    @podium_task(multiple_outputs=False, **heavy(spec.compute))
    def validate(version: int, **context: Context) -> dict[str, Any]:
        from podium.lifecycle.validate import validate_version
        from podium.services import connect

        return validate_version(connect(), spec, version, run_reference(context)).as_json()

    @podium_task()
    def nominate(**context: Context) -> list[str]:
        from podium.lifecycle.nominate import nominate_version
        from podium.services import connect

        nomination = nominate_version(connect(), spec.name, run_reference(context))
        return [run_id_of(run) for run in nomination["superseded"]]

    @task.branch(trigger_rule="none_failed")
    @task_outcomes()
    def outcome(**context: Context) -> str:
        from podium.lifecycle.outcome import outcome_of
        from podium.services import connect

        return outcome_of(connect(), spec.name, run_reference(context))

    @podium_task(multiple_outputs=False, execution_timeout=timedelta(minutes=30))
    def promote(**context: Context) -> dict[str, Any]:
        from podium.lifecycle.promote import promote
        from podium.services import connect

        return promote(connect(), spec.name, run_reference(context)).as_json()

    @podium_task(outlets=[champion_asset(spec.name)])
    def announce(promoted: dict[str, Any], **context: Context) -> None:
        from podium.lifecycle.champion import refuse_overtaken
        from podium.services import connect

        refuse_overtaken(connect(), promoted)
        context["outlet_events"][champion_asset(spec.name)].extra = promoted

    @dag(
        dag_id=spec.lifecycle_dag_id,
        description=spec.description,
        schedule=scheduled(spec.schedule),
        catchup=False,
        doc_md=__doc__,
        tags=["podium", spec.name],
        params=lifecycle_form(spec),
        default_args={"owner": spec.owner, **WAIT_OUT_AN_OUTAGE},
    )
    def lifecycle() -> None:
        validated = validate(register(train()))
        superseded = nominate()
        came_out, promoted = outcome(), promote()
        validated >> superseded >> ApprovalSensor(task_id="approve", spec=spec) >> came_out
        came_out >> promoted >> announce(promoted)
        came_out >> [EmptyOperator(task_id=other) for other in RunOutcome if other is not RunOutcome.PROMOTE]
        clear_runs("close_superseded", spec.lifecycle_dag_id, superseded)

    lifecycle()


for model_spec in load_specs(models_dir())[0].values():
    if is_wanted(model_spec.lifecycle_dag_id):
        build_lifecycle(model_spec)
