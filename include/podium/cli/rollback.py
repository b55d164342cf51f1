"""``podium rollback``: roll a champion back through Airflow."""

from __future__ import annotations

from time import monotonic
from typing import Annotated

import typer

from podium.cli.app import Model, app, console, logged_in_to_airflow
from podium.errors import PodiumError
from podium.names import version_name


@app.command()
def rollback(  # noqa: PLR0913 - one for each option of the command
    model: Model,
    reason: Annotated[str, typer.Option(help="The reason; it goes on record.")],
    to_version: Annotated[
        int | None, typer.Option(help="A former champion; without it the previous one.")
    ] = None,
    force_version: Annotated[
        bool,
        typer.Option(help="Allow a version that never was champion; only approvers of the model may do so."),
    ] = False,
    user: Annotated[str, typer.Option(envvar="PODIUM_AIRFLOW_USER", prompt="Airflow user")] = "",
    password: Annotated[
        str, typer.Option(envvar="PODIUM_AIRFLOW_PASSWORD", prompt=True, hide_input=True, show_default=False)
    ] = "",
) -> None:
    """Roll back a champion through Airflow; prints each step, and the reason if it fails."""
    from podium.operations.airflow_client import ROLLBACK_DAG
    from podium.services import connect

    services = connect()
    airflow = logged_in_to_airflow(services.settings.airflow_url, user, password)
    form = {"model": model, "to_version": to_version, "reason": reason, "force_version": force_version}
    airflow.assert_not_paused(ROLLBACK_DAG)
    run = airflow.trigger(ROLLBACK_DAG, form)
    begun = monotonic()

    def tell(task_id: str, state: str) -> None:
        console.print(f"{monotonic() - begun:5.1f} s  {task_id}: {state}")

    with console.status(f"rolling back {model}, run {run}"):
        airflow.wait_for_end(ROLLBACK_DAG, run, tell)
    told = services.ledger.of_run(model, f"{ROLLBACK_DAG}/{run}")
    if not told or told[-1].event != "rolled_back":
        why = told[-1].reason if told else f"see the log of run {run} of {ROLLBACK_DAG} in Airflow"
        raise PodiumError(f"not rolled back: {why}")
    names = f"{version_name(told[-1].from_version)} -> {version_name(told[-1].version)}"
    console.print(f"{model}: champion {names}, by {told[-1].actor}: {told[-1].reason}")
