"""Score rows in batches.

One Dag per model file that has a section `scoring`: resolve, score (one task per partition), announce.

- **resolve** finds the version behind the alias once; all tasks of the run score with that one. A champion
  that was moved outside Podium scores nothing. A version that a rollback replaced scores only if the form
  allows it.
- **score** checks the version's bytes, and replaces all scores of its partition. A cleared run refuses a
  version that a rollback replaced since. A row that cannot be scored goes to the rejects, with its reason;
  the log has their number and the progress. The rows are counted for `monitor_<model>` in the same pass.
- **announce** updates the asset of all partitions; each **score** updates that of its own. A Dag can be
  scheduled on the asset `scores of <model>: <partition>`, on the alias `scores of <model>, by partition`, or
  on the asset `scores of <model>`, after all of them.

Trigger it by hand to choose another version or fewer partitions.
"""

from typing import Any

from airflow.sdk import Context, dag, get_current_context, task

from podium.model_file.loading import load_specs
from podium.model_file.spec import ModelSpec
from podium.settings import models_dir
from podium_airflow.assets import partition_asset, partitions_scored, scores_asset
from podium_airflow.compute import heavy
from podium_airflow.failures import WAIT_OUT_AN_OUTAGE, podium_task
from podium_airflow.forms import scoring_form
from podium_airflow.parsing import is_wanted, scheduled


def build_scoring(spec: ModelSpec) -> None:
    """Make the Dag of one model file."""

    @podium_task()
    def resolve(**context: Context) -> list[dict[str, Any]]:
        from podium.scoring.run import plan
        from podium.services import connect

        form = context["params"]
        version, rolled_back = form["version"], bool(form["allow_rolled_back"])
        return plan(connect(), spec, version, form["partitions"], allow_rolled_back=rolled_back)

    @podium_task(
        outlets=[partitions_scored(spec.name)],
        map_index_template="{{ partition }}",
        **heavy(spec.compute),
    )
    def score(planned: dict[str, Any], **context: Context) -> dict[str, Any]:
        from podium.scoring.run import score_planned
        from podium.services import connect

        # Airflow names the task by it; `context` here is a copy.
        get_current_context()["partition"] = planned["partition"]["name"]
        cleared = context["dag_run"].clear_number != 0
        done = score_planned(connect(), spec, planned, cleared=cleared)
        asset = partition_asset(spec.name, done.partition)
        context["outlet_events"][partitions_scored(spec.name)].add(asset, extra=done.as_json())
        return done.as_json()

    scores = scores_asset(spec.name)

    @task(outlets=[scores])
    def announce(scored: list[dict[str, Any]], **context: Context) -> None:
        from podium.scoring.run import total

        context["outlet_events"][scores].extra = total(scored)

    @dag(
        dag_id=spec.scoring_dag_id,
        dag_display_name=f"{spec.name} scoring",
        description=f"Score rows in batches with {spec.name}",
        schedule=scheduled(spec.scoring.schedule),
        catchup=False,
        # Two runs would replace the same partitions.
        max_active_runs=1,
        doc_md=__doc__,
        tags=["podium", spec.name],
        default_args={"owner": spec.owner, **WAIT_OUT_AN_OUTAGE},
    )
    def scoring() -> None:
        announce(score.expand(planned=resolve()))

    scoring().params = scoring_form()


for model_spec in load_specs(models_dir())[0].values():
    if model_spec.scoring is not None and is_wanted(model_spec.scoring_dag_id):
        build_scoring(model_spec)
