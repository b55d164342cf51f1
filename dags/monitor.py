"""Judge windows of a champion's rows.

One Dag per model file that has a section `monitoring`, with a run per window (its data interval). It asks:
does the model do harm, did its inputs move, is the data whole? docs/monitoring.md explains it.

- **judge** adds up what batch scoring counted of the window, and counts rows that it did not count. It judges
  the window with all windows before, and records it. A window that was judged before is replaced; one that
  the champion was trained on is skipped.
- **picture** draws all windows into the MLflow run "monitoring of v3" of the model's experiment.
- **announce** updates the asset `retraining of <model>` where the record wants a new training of the
  model: its lifecycle starts. **note_announced** records that it did.

A backfill judges past windows. Clear a run to judge its window again, such as when its labels have come.
"""

from airflow.sdk import Context, CronDataIntervalTimetable, dag

from podium.model_file.loading import load_specs
from podium.model_file.monitoring import MonitoringSpec
from podium.model_file.spec import ModelSpec
from podium.settings import models_dir
from podium_airflow.announcing import Announced, announce_retraining, note_announced
from podium_airflow.assets import retraining_asset
from podium_airflow.compute import heavy
from podium_airflow.failures import WAIT_OUT_AN_OUTAGE, podium_task
from podium_airflow.notes import leave_note
from podium_airflow.parsing import is_wanted
from podium_airflow.runs import run_reference


def build_monitoring(spec: ModelSpec, section: MonitoringSpec) -> None:
    """Make the Dag of one model file."""

    @podium_task(**heavy(spec.compute))
    def judge(**context: Context) -> None:
        from podium.metrics.windows import Window, newest_whole
        from podium.monitoring.run import describe_window, monitor_window
        from podium.services import connect

        # A run that somebody triggered has no data interval.
        start, end = (context.get(f"data_interval_{side}") for side in ("start", "end"))
        known = start is not None and end is not None
        window = Window(start, end) if known else newest_whole(section.windows, context["dag_run"].run_after)
        judged = monitor_window(connect(), spec, window, run_reference(context))
        leave_note(context, describe_window(judged, window))

    @podium_task()
    def picture() -> None:
        from podium.reporting.drift_run import keep_picture
        from podium.services import connect

        keep_picture(connect(), spec.name)

    @podium_task(outlets=[retraining_asset(spec.name)])
    def announce(**context: Context) -> Announced:
        return announce_retraining(context, spec.name)

    @dag(
        dag_id=spec.monitoring_dag_id,
        description=f"Judge windows of the rows of {spec.name}",
        schedule=CronDataIntervalTimetable(section.windows, timezone="UTC"),
        catchup=False,
        # Each window is judged by those before it.
        max_active_runs=1,
        doc_md=__doc__,
        tags=["podium", spec.name],
        default_args={"owner": spec.owner, **WAIT_OUT_AN_OUTAGE},
    )
    def monitoring() -> None:
        announced = announce()
        judge() >> [announced, picture()]
        note_announced(announced)

    monitoring()


for model_spec in load_specs(models_dir())[0].values():
    if model_spec.monitoring is not None and is_wanted(model_spec.monitoring_dag_id):
        build_monitoring(model_spec, model_spec.monitoring)
