"""Take a model from training data to champion.

One Dag per model file: train, register, validate, nominate, wait for people, promote, announce,
note_announced. The last green task before **outcome** is where the run ended; the run's note says why.

- **validate** runs the gates beside the champion, re-scored on the same rows. A refused version stops here.
- **nominate** makes the version the candidate and closes the requests of older runs. A version on older data
  than one that waits for a decision stops here.
- **approve** waits under *required actions* for the approvers; it holds no worker and no trigger.
- **promote** acts on the decision in the ledger, not on the colour of a task.
- **announce** updates the asset `champion of <model>`, and **note_announced** records that it did. If neither
  happens, **reconcile** announces the promotion.
- **outcome** says in one sentence how the run came out, whatever happened, and what to do next.

Where the model file has a section `monitoring`, a window that shows harm starts it too: as of the end of that
window, with the reason on the approval card and in the run's note.

Trigger it by hand to choose `as_of`, to override params, for a trial run (`profile`; it ends after its
gates), or to take a run that was trained before or an existing version instead of training. What you ask for
stands on the approval card. A run that a backfill starts again is refused: trigger it yourself.
"""

from datetime import timedelta

from airflow.sdk import Context, dag

from podium.model_file.loading import load_specs
from podium.model_file.spec import ModelSpec
from podium.settings import models_dir
from podium_airflow.announcing import Announced, announce_promotion, note_announced
from podium_airflow.approval_sensor import ApprovalSensor
from podium_airflow.assets import champion_asset
from podium_airflow.closing import end_approvals
from podium_airflow.compute import heavy
from podium_airflow.failures import WAIT_OUT_AN_OUTAGE, plain_task, podium_task
from podium_airflow.forms import lifecycle_form
from podium_airflow.notes import tell_outcome
from podium_airflow.parsing import is_wanted, lifecycle_schedule
from podium_airflow.runs import as_of, run_reference, started_again


def build_lifecycle(spec: ModelSpec) -> None:
    """Make the Dag of one model file."""

    @podium_task(**heavy(spec.compute))
    def train(**context: Context) -> str:
        from podium.lifecycle.train import train
        from podium.services import connect

        form, run, again = context["params"], run_reference(context), started_again(context)
        moment = as_of(context, spec.name)
        return train(connect(), spec, moment, form, run, started_again=again)

    @podium_task()
    def register(mlflow_run: str, **context: Context) -> int:
        from podium.lifecycle.register import register_version
        from podium.services import connect

        return register_version(connect(), spec, mlflow_run, run_reference(context))

    @podium_task(**heavy(spec.compute))
    def validate(version: int, **context: Context) -> None:
        from podium.lifecycle.validate import validate_version
        from podium.services import connect

        validate_version(connect(), spec, version, run_reference(context))

    @podium_task()
    def nominate(**context: Context) -> None:
        from podium.lifecycle.nominate import nominate_version
        from podium.services import connect

        nomination = nominate_version(connect(), spec.name, run_reference(context))
        end_approvals(nomination["superseded"])

    @podium_task(execution_timeout=timedelta(minutes=30))
    def promote(**context: Context) -> None:
        from podium.lifecycle.promote import promote
        from podium.services import connect

        promote(connect(), spec.name, run_reference(context))

    @podium_task(outlets=[champion_asset(spec.name)])
    def announce(**context: Context) -> Announced:
        return announce_promotion(context, spec.name)

    @plain_task()
    def outcome(**context: Context) -> None:
        tell_outcome(context, spec.name)

    @dag(
        dag_id=spec.lifecycle_dag_id,
        dag_display_name=f"{spec.name} lifecycle",
        description=spec.description,
        schedule=lifecycle_schedule(spec),
        catchup=False,
        doc_md=__doc__,
        tags=["podium", spec.name],
        default_args={"owner": spec.owner, **WAIT_OUT_AN_OUTAGE},
    )
    def lifecycle() -> None:
        validated, announced = validate(register(train())), announce()
        validated >> nominate() >> ApprovalSensor(task_id="approve", spec=spec) >> promote() >> announced
        # A teardown runs whatever came before it, and changes nothing about how the run came out.
        note_announced(announced) >> outcome().as_teardown()

    # Not set: Airflow would check the schema of each param again, for every model.
    lifecycle().params.update(lifecycle_form(spec))


for model_spec in load_specs(models_dir())[0].values():
    if is_wanted(model_spec.lifecycle_dag_id):
        build_lifecycle(model_spec)
