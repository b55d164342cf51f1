"""``podium adopt``: take over the versions and the champion of a registry that was there before."""

from __future__ import annotations

import contextlib
from time import monotonic
from typing import TYPE_CHECKING, Annotated

import typer

from podium.cli.app import Model, app, console, logged_in_to_airflow
from podium.errors import Outage, PodiumError
from podium.names import version_name

if TYPE_CHECKING:
    from podium.services import Services


@app.command()
def adopt(  # noqa: PLR0913 - one for each option of the command
    model: Model,
    reason: Annotated[str, typer.Option(help="Why; goes on record. Not needed with --dry-run.")] = "",
    champion: Annotated[
        str | None,
        typer.Option(help="An alias or a version, such as production or 7; without it the alias champion."),
    ] = None,
    from_stage: Annotated[
        str | None, typer.Option(help="Instead of it: the version in this stage, such as Production.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option(help="Read everything here, say what would be adopted, and record nothing.")
    ] = False,
    user: Annotated[str, typer.Option(envvar="PODIUM_AIRFLOW_USER")] = "",
    password: Annotated[str, typer.Option(envvar="PODIUM_AIRFLOW_PASSWORD", show_default=False)] = "",
) -> None:
    """Put the versions of a registered model on record and take its champion over; nothing is moved."""
    from podium.operations.airflow_client import ADOPT_DAG
    from podium.services import connect

    services = connect()
    if dry_run:
        _try(services, model, champion, from_stage)
        return
    if not reason:
        raise PodiumError("--reason is missing: it goes on record (--dry-run needs none)")
    airflow = logged_in_to_airflow(services.settings.airflow_url, user, password)
    airflow.assert_not_paused(ADOPT_DAG)
    form = {"model": model, "champion": champion, "from_stage": from_stage, "reason": reason}
    run = airflow.trigger(ADOPT_DAG, form)
    begun = monotonic()

    def tell(task_id: str, state: str) -> None:
        console.print(f"{monotonic() - begun:5.1f} s  {task_id}: {state}")

    with console.status(f"adopting {model}, run {run}") as status:

        def look() -> None:
            # The next look tells more.
            with contextlib.suppress(Outage):
                told = services.ledger.of_run(model, f"{ADOPT_DAG}/{run}")
                count = sum(event.event == "adopted" for event in told)
                status.update(f"adopting {model}, run {run}: {count:,} versions on record")

        state = airflow.wait_for_end(ADOPT_DAG, run, tell, look)
    told = services.ledger.of_run(model, f"{ADOPT_DAG}/{run}")
    count, last = sum(event.event == "adopted" for event in told), told[-1] if told else None
    if last is None or state != "success" or last.event == "adoption_refused":
        why = last.reason if last and last.event == "adoption_refused" else f"see run {run} of {ADOPT_DAG}"
        raise PodiumError(f"{model} was not adopted: {why}")
    console.print(f"{model}: {count:,} versions adopted")
    if last.event == "champion_adopted":
        console.print(f"champion {version_name(last.version)}, by {last.actor}: {last.reason}")
        for note in last.details.get("notes", ()):
            console.print(f"Look: {note}")
    elif last.event == "acceptance_given":
        console.print(f"{version_name(last.version)} waits for more approvers to do the same")


def _try(services: Services, model: str, champion: str | None, from_stage: str | None) -> None:
    from podium.lifecycle.adopt import progress
    from podium.lifecycle.adoption import plan_adoption, read_versions
    from podium.model_file.loading import find_spec
    from podium.settings import models_dir

    spec = find_spec(models_dir(), model)
    plan = plan_adoption(services, spec, champion, from_stage)
    found = 0
    for seen in read_versions(services, spec, plan, progress(model, console.print)):
        found += not seen.left_out
        for line in (*filter(None, [seen.left_out and f"left out: {seen.left_out}"]), *seen.notes):
            console.print(line)
    former = "" if plan.former is None else f", and {version_name(plan.former)} as the one before"
    taken = f"champion {version_name(plan.champion)}{former}" if plan.champion is not None else "no champion"
    already = " (on record already)" if plan.recorded else ""
    console.print(f"{model}: {found:,} versions would be adopted, {taken}{already}. Nothing was recorded.")
