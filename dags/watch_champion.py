"""Judge new champions beside the previous ones.

After a promotion model servers ask the previous champion the same requests as the new one, and count
(docs/watch-window.md). This Dag adds up the counts every ten seconds while a watch window is open; it waits
in the triggerer, without a worker.

- **judge** records how a window ended: good, bad, both bad, inconclusive or not judged. With
  `watch.auto_rollback: on` in its model file, a bad version is rolled back by the steps of
  `rollback_champion`: proof first, compared and swapped, on record as `watch window of v8`. The
  model is frozen then until an approver triggers `settle_champion` with `accept`.
- **proposals** and **ask** start a run of `propose_rollback` for each bad version of a model with
  `auto_rollback: propose`, the default. There the approvers decide.
- **others** and **again** start this Dag once more at once where other windows are open still.
- **announce** updates the asset of the champion that moved, and **note_announced** records that it did.

It runs after each promotion of a watched model, and every ten minutes in case that one was missed.
"""

from datetime import timedelta
from typing import Any

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import Context, dag

from podium.model_file.loading import load_specs
from podium.settings import models_dir
from podium_airflow.announcing import Announced, announce_on_success, note_announced
from podium_airflow.assets import CHAMPIONS
from podium_airflow.failures import WAIT_OUT_AN_OUTAGE, podium_task
from podium_airflow.parsing import watch_schedule
from podium_airflow.watching import WatchSensor, next_run, proposed


@podium_task()
def proposals(**context: Context) -> list[dict[str, str]]:
    """Name the runs that are to ask people about a rollback; end those whose champion was moved since."""
    return proposed(context)


@podium_task()
def others(**context: Context) -> list[dict[str, str]]:
    """Name the run that watches the windows that are open still; none if none is."""
    return next_run(context)


# What is not announced here reconcile announces; the next window waits for no announcement.
@podium_task(outlets=[CHAMPIONS], retries=2)
def announce(rolled_back: list[Any], **context: Context) -> Announced:
    """Notify the followers of a champion that was rolled back."""
    return [
        told
        for model, run in rolled_back or []
        for told in announce_on_success(context, model=model, run=run)
    ]


@dag(
    schedule=watch_schedule(load_specs(models_dir())[0].values()),
    catchup=False,
    max_active_runs=1,
    # A bad version would serve on.
    is_paused_upon_creation=False,
    doc_md=__doc__,
    description="Judge new champions beside the previous ones, and roll back if the model file allows it",
    tags=["podium"],
    default_args={"owner": "podium", **WAIT_OUT_AN_OUTAGE},
)
def watch_champion() -> None:
    """Wire the steps."""
    judged = WatchSensor(task_id="judge", execution_timeout=timedelta(minutes=30))
    note_announced(announce(judged.output))
    asks, rest = proposals(), others()
    judged >> [asks, rest]
    start("ask", "propose_rollback").expand_kwargs(asks)
    start("again", "watch_champion").expand_kwargs(rest)


def start(task_id: str, dag_id: str) -> Any:
    """Return what starts runs of a Dag, each once."""
    return TriggerDagRunOperator.partial(
        task_id=task_id,
        trigger_dag_id=dag_id,
        logical_date=None,
        skip_when_already_exists=True,
        openlineage_inject_parent_info=False,
    )


watch_champion()
