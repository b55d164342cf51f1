"""``podium run``: start a model's lifecycle through Airflow, and watch it."""

from __future__ import annotations

import time
from datetime import time as time_of_day
from typing import TYPE_CHECKING, Annotated, Any

import typer

from podium.cli.app import Model, app, console, logged_in_to_airflow, parse_moment
from podium.cli.decide import Password, User
from podium.errors import PodiumError

if TYPE_CHECKING:
    from podium.model_file.spec import ModelSpec
    from podium.operations.airflow_client import AirflowClient
    from podium.services import Services

_LOOK_AGAIN_SECONDS = 1.0
_ENDED = ("success", "failed", "upstream_failed")
_APPROVE = "approve"


@app.command()
def run(
    model: Model,
    as_of: Annotated[
        str | None, typer.Option(help="Train on what was known at this date or moment (UTC). Default: now.")
    ] = None,
    follow: Annotated[
        bool,
        typer.Option("--follow", help="Print each step as it ends. Ctrl-C stops the printing, not the run."),
    ] = False,
    user: User = "",
    password: Password = "",
) -> None:
    """Start a model's lifecycle through Airflow: train, gates, approval, promotion."""
    from podium.model_file.loading import find_spec
    from podium.services import connect

    services = connect()
    spec = find_spec(services.settings.models_dir, model)
    form: dict[str, Any] = {}
    if as_of is not None:
        form["as_of"] = parse_moment(as_of, "--as-of", time_of_day.min).isoformat()
    airflow = logged_in_to_airflow(services.settings.airflow_url, user, password)
    airflow.assert_not_paused(spec.lifecycle_dag_id)
    run_id = airflow.trigger(spec.lifecycle_dag_id, form)
    console.print(f"Started {spec.lifecycle_dag_id} {run_id}.", highlight=False, soft_wrap=True)
    if follow:
        _follow(services, airflow, spec, run_id)


def _follow(services: Services, airflow: AirflowClient, spec: ModelSpec, run_id: str) -> None:
    """Print steps and what the record says of them until the run has ended.

    Raises:
        PodiumError: The run failed.
    """
    from podium.reporting.tables import in_one_line

    dag_id, reference = spec.lifecycle_dag_id, f"{spec.lifecycle_dag_id}/{run_id}"
    ended: set[str] = set()
    last = 0
    while True:
        # Asked first: what a run did before it ended is printed then.
        state = airflow.run_state(dag_id, run_id)
        steps = airflow.task_states(dag_id, run_id)
        for event in services.ledger.of_run(spec.name, reference):
            if event.seq > last:
                console.print(f"  {in_one_line(event)}", highlight=False)
                last = event.seq
        for step, came_out in steps.items():
            if came_out in _ENDED and step not in ended:
                ended.add(step)
                console.print(f"{step}: {came_out}", highlight=False)
        if steps.get(_APPROVE) == "awaiting_input" and _APPROVE not in ended:
            ended.add(_APPROVE)
            console.print(f"{_APPROVE}: waits for people; podium approve {spec.name} --reason ...")
        if state == "failed":
            failed = ", ".join(step for step, came_out in steps.items() if came_out == "failed")
            raise PodiumError(f"run {run_id} of {dag_id} failed at {failed}; see its log in Airflow")
        if state == "success":
            console.print(f"Run {run_id} has ended.", highlight=False, soft_wrap=True)
            return
        airflow.assert_not_paused(dag_id)
        time.sleep(_LOOK_AGAIN_SECONDS)
