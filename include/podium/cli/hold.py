"""``podium hold``, ``release``, ``restore``, ``retire``: what approvers say of versions and models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from podium.cli.app import Model, app, console, logged_in_to_airflow
from podium.errors import PodiumError

Number = Annotated[int, typer.Argument(help="The version's number.", min=1)]
Reason = Annotated[str, typer.Option(help="Why; goes on record.")]
User = Annotated[str, typer.Option(envvar="PODIUM_AIRFLOW_USER", prompt="Airflow user")]
Password = Annotated[
    str, typer.Option(envvar="PODIUM_AIRFLOW_PASSWORD", prompt=True, hide_input=True, show_default=False)
]


@app.command()
def hold(model: Model, version: Number, reason: Reason, user: User = "", password: Password = "") -> None:
    """Protect a version from deletion, whatever the model file's rules are; for approvers of the model."""
    _say_of_version(model, version, "hold", reason, (user, password))


@app.command()
def release(model: Model, version: Number, reason: Reason, user: User = "", password: Password = "") -> None:
    """End the hold on a version; for approvers of the model."""
    _say_of_version(model, version, "release", reason, (user, password))


@app.command()
def restore(model: Model, version: Number, reason: Reason, user: User = "", password: Password = "") -> None:
    """Take a version out of quarantine, before it is deleted; for approvers of the model."""
    _say_of_version(model, version, "restore", reason, (user, password))


@app.command()
def retire(
    model: Model,
    reason: Reason,
    undo: Annotated[bool, typer.Option("--undo", help="Let a retired model continue.")] = False,
    user: User = "",
    password: Password = "",
) -> None:
    """End a model: no run starts, and its versions are deleted after a while; for its approvers."""
    from podium.operations.airflow_client import RETIRE_DAG

    form = {"model": model, "what": "undo" if undo else "retire", "reason": reason}
    _trigger_and_tell(RETIRE_DAG, form, (user, password))


def _say_of_version(model: str, version: int, what: str, reason: str, login: tuple[str, str]) -> None:
    from podium.operations.airflow_client import HOLD_DAG

    form = {"model": model, "version": version, "what": what, "reason": reason}
    _trigger_and_tell(HOLD_DAG, form, login)


def _trigger_and_tell(dag: str, form: Mapping[str, Any], login: tuple[str, str]) -> None:
    """Trigger a Dag with a person's login, and say what its run recorded.

    Raises:
        PodiumError: It recorded nothing; names the run, whose note says why.
    """
    from podium.reporting.overview import describe
    from podium.services import connect

    services = connect()
    airflow = logged_in_to_airflow(services.settings.airflow_url, *login)
    airflow.assert_not_paused(dag)
    run = airflow.trigger(dag, form)
    with console.status(f"{dag}, run {run}"):
        airflow.wait_for_end(dag, run, lambda *_: None)
    told = services.ledger.of_run(form["model"], f"{dag}/{run}")
    if not told:
        raise PodiumError(
            f"{form['model']}: nothing was recorded; the note of run {run} of {dag} in Airflow says why"
        )
    for event in told:
        console.print(f"{event.model}: {describe(event)}", soft_wrap=True, highlight=False, markup=False)
