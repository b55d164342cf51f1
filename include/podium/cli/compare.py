"""``podium compare``: runs or versions side by side, or two versions on live requests."""

from __future__ import annotations

import sys
from datetime import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from podium.cli.app import Json, Model, app, console, logged_in_to_airflow, parse_moment, print_json
from podium.errors import PodiumError

if TYPE_CHECKING:
    from podium.model_file.spec import ModelSpec
    from podium.reporting.compare import Comparison
    from podium.services import Services


@app.command()
def compare(  # noqa: PLR0913 - one for each option of the command
    model: Model,
    runs: Annotated[
        bool, typer.Option("--runs/--versions", help="Finished training runs, or registered versions.")
    ] = False,
    metric: Annotated[
        str | None,
        typer.Option(help="The metric that decides which is best. Default: the first metric of a gate."),
    ] = None,
    live: Annotated[
        bool,
        typer.Option("--live", help="Compare the champion with the version beside it, on live requests."),
    ] = False,
    since: Annotated[
        str | None, typer.Option(help="With --live: only answers since this date or moment (UTC).")
    ] = None,
    as_json: Json = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print comma-separated values.")] = False,
    png: Annotated[Path | None, typer.Option(help="Also write a picture to this file.")] = None,
    nominate_best: Annotated[
        bool,
        typer.Option(
            help="Start the lifecycle with the best run: registration, gates, approval. Asks for a login."
        ),
    ] = False,
    user: Annotated[str, typer.Option(envvar="PODIUM_AIRFLOW_USER", help="With --nominate-best.")] = "",
    password: Annotated[str, typer.Option(envvar="PODIUM_AIRFLOW_PASSWORD", show_default=False)] = "",
) -> None:
    """Compare the newest runs or versions side by side: differing params, metrics, best values marked."""
    from podium.model_file.loading import find_spec
    from podium.reporting.compare import compare_runs, compare_versions, draw
    from podium.services import connect

    services = connect()
    spec = find_spec(services.settings.models_dir, model)
    if live and (runs or as_csv or png is not None or nominate_best):
        raise PodiumError("--live allows no other options than --metric, --since and --json")
    if live:
        _show_live(services, spec, metric, since, as_json)
        return
    if since is not None:
        raise PodiumError("--since needs --live")
    comparison = (compare_runs if runs else compare_versions)(services, spec, metric)
    if png is not None:
        draw(comparison, png)
    if as_json:
        print_json(comparison.as_json())
    elif as_csv:
        sys.stdout.write(comparison.as_csv())
    else:
        _show(comparison)
    if nominate_best:
        best = comparison.best(comparison.metric)
        if best is None:
            raise PodiumError(comparison.no_best())
        airflow = logged_in_to_airflow(services.settings.airflow_url, user, password)
        run = airflow.trigger(spec.lifecycle_dag_id, {"mlflow_run": best.run})
        console.print(
            f"Started {spec.lifecycle_dag_id} {run} with {best.name}. Its gates and approval decide."
        )


def _show(comparison: Comparison) -> None:
    from podium.reporting.tables import comparison_tables

    for table in comparison_tables(comparison, console.width):
        console.print(table)
    for sentence in comparison.rows():
        console.print(sentence, highlight=False)


def _show_live(
    services: Services, spec: ModelSpec, metric: str | None, since: str | None, as_json: bool
) -> None:
    from podium.gates.live_comparison import Subject, compare_live
    from podium.ledger.live_answers import LiveStore
    from podium.reporting.compare import gated_metric
    from podium.reporting.tables import describe_agreement, live_table

    begun = None if since is None else parse_moment(since, "--since", time.min)
    subject = Subject(spec.name, spec.task, spec.labels)
    found = compare_live(LiveStore(services.ledger), subject, metric or gated_metric(spec), since=begun)
    if as_json:
        print_json(found.as_json())
        return
    if found.metrics:
        console.print(live_table(found))
    console.print(f"{describe_agreement(found)} {found.sentence()}.", highlight=False)
