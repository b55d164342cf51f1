"""The ``podium`` command: what the registry and the ledger say, for people and (``--json``) for machines."""

from __future__ import annotations

import json
import os
import sys
from datetime import datetime, time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from podium.cli import copy, doctor, model_files, score, serve
from podium.cli.app import Json, app, console, explained, parse_moment, print_json
from podium.errors import PodiumError, in_utc, version_name

__all__ = ["app", "copy", "doctor", "model_files", "score", "serve"]

if TYPE_CHECKING:
    from podium.ledger.events import Event
    from podium.model_file.spec import ModelSpec
    from podium.operations.airflow_client import AirflowClient
    from podium.services import Parts


@app.callback()
def main() -> None:
    """The model lifecycle: who is champion, who decided it, and why."""
    # A person at a terminal wants to be told soon; tasks wait longer.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")


@app.command()
@explained
def status(as_json: Json = False) -> None:
    """Show each model's champion, candidate, previous champion and versions."""
    from podium.reporting.status import model_statuses
    from podium.reporting.tables import status_table
    from podium.services import connect

    statuses = model_statuses(connect())
    if as_json:
        print_json([item.as_json() for item in statuses])
        return
    console.print(status_table(statuses))


@app.command()
@explained
def history(
    model: Annotated[str, typer.Argument(help="The model's name, as in its model file.")],
    at: Annotated[
        str | None,
        typer.Option(help="Only what was known then: a date (to its end, UTC) or a moment in ISO 8601."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show all that happened to a model, in order; with --at also who was champion then."""
    from podium.ledger.history import champion_move
    from podium.reporting.status import known_model
    from podium.reporting.tables import history_table
    from podium.services import connect

    parts = connect()
    until = None if at is None else parse_moment(at)
    events = parts.ledger.history(known_model(parts, model), until=until)
    if as_json:
        print_json([event.as_json() for event in events])
        return
    console.print(history_table(events))
    if until is not None:
        console.print(_champion_in_words(model, champion_move(events), until), markup=False)


@app.command()
@explained
def gates(
    model: Annotated[str, typer.Argument(help="The model's name, as in its model file.")],
    version: Annotated[int, typer.Argument(help="A version that was validated, such as 3.")],
    replay: Annotated[
        bool,
        typer.Option(help="Judge it by the model file as it is now, on the answers that were kept."),
    ] = False,
    file: Annotated[
        Path | None, typer.Option(help="With --replay: another model file to take the gates from.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show how a version came through its gates; with --replay how it would by changed ones."""
    from podium.gates.report import GateReport
    from podium.lifecycle.approval import gate_report
    from podium.model_file.spec import find_spec, load_spec
    from podium.reporting.status import known_model
    from podium.reporting.tables import gates_table, scores_table
    from podium.services import connect

    if file is not None and not replay:
        raise PodiumError("--file needs --replay: what was recorded does not change")
    parts = connect()
    recorded = GateReport.from_json(
        gate_report(parts.ledger.history(known_model(parts, model)), version).details
    )
    report, before = recorded, None
    if replay:
        from podium.lifecycle.validate import replay_gates

        spec = find_spec(parts.settings.models_dir, model) if file is None else load_spec(file)
        if spec.name != model:
            raise PodiumError(f"{file} is the model file of {spec.name}, not of {model}")
        report, before = replay_gates(parts, spec, version), recorded
    if as_json:
        print_json(report.as_json())
        return
    console.print(gates_table(report))
    console.print(scores_table(report))
    if before is not None:
        console.print(f"When it was validated: {before.sentence()}.", markup=False)
    now = "By these gates, on the same answers" if replay else "So"
    console.print(f"{now}: {report.sentence()}.", markup=False)


@app.command()
@explained
def compare(  # noqa: PLR0913 - one for each option of the command
    model: Annotated[str, typer.Argument(help="The model's name, as in its model file.")],
    runs: Annotated[
        bool, typer.Option("--runs/--versions", help="Finished training runs, or registered versions.")
    ] = False,
    metric: Annotated[
        str | None, typer.Option(help="Find the best by this one; without it the first that a gate asks for.")
    ] = None,
    live: Annotated[
        bool, typer.Option("--live", help="The champion and the version beside it, on live requests.")
    ] = False,
    since: Annotated[
        str | None, typer.Option(help="With --live: only answers from this date or moment on (UTC).")
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
    """Put the newest runs or versions side by side: params that differ, metrics, the best marked."""
    from podium.model_file.spec import find_spec
    from podium.reporting.compare import compare_runs, compare_versions, draw
    from podium.reporting.tables import comparison_table
    from podium.services import connect

    parts = connect()
    spec = find_spec(parts.settings.models_dir, model)
    if live and (runs or as_csv or png is not None or nominate_best):
        raise PodiumError("--live goes with --metric, --since and --json only")
    if live:
        _show_live(parts, spec, metric, since, as_json)
        return
    if since is not None:
        raise PodiumError("--since goes with --live")
    comparison = (compare_runs if runs else compare_versions)(parts, spec, metric)
    if png is not None:
        draw(comparison, png)
    if as_json:
        print_json(comparison.as_json())
    elif as_csv:
        sys.stdout.write(comparison.as_csv())
    else:
        console.print(comparison_table(comparison))
        if not comparison.same_rows:
            console.print(
                "Each was judged on rows of its own, so the numbers compare roughly. The gates judge a "
                "candidate and the champion on the same rows."
            )
    if nominate_best:
        best = comparison.best(comparison.metric)
        if best is None:
            raise PodiumError(f"none of them has a {comparison.metric}")
        airflow = _airflow(parts.settings.airflow_url, user, password)
        run = airflow.trigger(spec.lifecycle_dag_id, {"mlflow_run": best.run})
        console.print(
            f"Started {spec.lifecycle_dag_id} {run} with {best.name}: its gates and approval decide."
        )


def _show_live(parts: Parts, spec: ModelSpec, metric: str | None, since: str | None, as_json: bool) -> None:
    from podium.gates.live_comparison import Subject, compare_live
    from podium.ledger.live_answers import LiveStore
    from podium.reporting.compare import gated_metric
    from podium.reporting.tables import agreement_in_words, live_table

    begun = None if since is None else parse_moment(since, "--since", time.min)
    subject = Subject(spec.name, spec.task, spec.labels)
    found = compare_live(LiveStore(parts.ledger), subject, metric or gated_metric(spec), since=begun)
    if as_json:
        print_json(found.as_json())
        return
    if found.metrics:
        console.print(live_table(found))
    console.print(f"{agreement_in_words(found)} {found.sentence()}.", markup=False, highlight=False)


@app.command()
@explained
def verify(
    file: Annotated[
        Path | None, typer.Option(help="Check a file that `podium export` wrote, without any part running.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Check that the ledger's chain is whole and that the live aliases are what it says."""
    from podium.lifecycle.verify import alias_differences, read_export, told_heads, walk
    from podium.services import connect

    if file is not None:
        chain, differences = walk(read_export(file)), []
    else:
        parts = connect()
        # The registry's models: a ledger that lost its end may not know one of them any more.
        chain = walk(parts.ledger.record(), told_heads(parts.registry, parts.registry.models()))
        differences = [
            difference
            for model in parts.ledger.models()
            for difference in alias_differences(parts.registry, parts.ledger, model)
        ]
    found = [*filter(None, [chain.difference]), *differences]
    if as_json:
        print_json({"whole": not found, "events": chain.events, "head": chain.head, "differences": found})
    elif found:
        console.print(f"Not as it must be: {found[0]}", style="red", markup=False)
        if found[1:]:
            console.print(f"and {len(found) - 1} more; --json lists all.", markup=False)
    else:
        where = "" if file else "; live aliases are what the ledger says"
        console.print(f"Whole: {chain.events} events, each chained to the one before{where}.", markup=False)
        console.print(f"Head: {chain.head}", markup=False)
    if found:
        raise typer.Exit(1)


@app.command()
@explained
def export(
    output: Annotated[
        Path | None, typer.Option(help="File to write; without it the record goes to standard output.")
    ] = None,
) -> None:
    """Write the whole record of all models as JSON Lines, in order, with the hashes of the chain."""
    from podium.services import connect

    lines = (json.dumps(event.as_json()) + "\n" for event in connect().ledger.record())
    if output is None:
        sys.stdout.writelines(lines)
        return
    # Asked for before the file is opened: a ledger that does not answer must not empty an older export.
    first = next(lines, "")
    try:
        with output.open("w", encoding="utf-8") as stream:
            stream.write(first)
            stream.writelines(lines)
    except OSError as error:
        raise PodiumError(f"{output} cannot be written: {error.strerror}") from error


@app.command()
@explained
def rollback(  # noqa: PLR0913 - one for each option of the command
    model: Annotated[str, typer.Argument(help="The model's name, as in its model file.")],
    reason: Annotated[str, typer.Option(help="Why; goes on record.")],
    to_version: Annotated[
        int | None, typer.Option(help="A former champion; without it the previous one.")
    ] = None,
    force_version: Annotated[
        bool, typer.Option(help="Also a version that never was champion; for approvers of the model.")
    ] = False,
    user: Annotated[str, typer.Option(envvar="PODIUM_AIRFLOW_USER", prompt="Airflow user")] = "",
    password: Annotated[
        str, typer.Option(envvar="PODIUM_AIRFLOW_PASSWORD", prompt=True, hide_input=True, show_default=False)
    ] = "",
) -> None:
    """Roll a champion back, logged in to Airflow; waits until it is done."""
    from podium.operations.airflow_client import ROLLBACK_DAG
    from podium.services import connect

    parts = connect()
    airflow = _airflow(parts.settings.airflow_url, user, password)
    form = {"model": model, "to_version": to_version, "reason": reason, "force_version": force_version}
    run = airflow.trigger(ROLLBACK_DAG, form)
    with console.status(f"rolling back {model}, run {run}"):
        airflow.wait_for_end(ROLLBACK_DAG, run)
    told = [event for event in parts.ledger.history(model) if event.run == f"{ROLLBACK_DAG}/{run}"]
    if not told or told[-1].event != "rolled_back":
        why = told[-1].reason if told else f"see the log of run {run} of {ROLLBACK_DAG} in Airflow"
        raise PodiumError(f"not rolled back: {why}")
    names = f"{version_name(told[-1].from_version)} -> {version_name(told[-1].version)}"
    console.print(f"{model}: champion {names}, by {told[-1].actor}: {told[-1].reason}", markup=False)


def _airflow(url: str | None, user: str, password: str) -> AirflowClient:
    from podium.operations.airflow_client import AirflowClient

    if url is None:
        raise PodiumError("PODIUM_AIRFLOW_URL is not set: where Airflow is")
    user = user or typer.prompt("Airflow user")
    return AirflowClient(url, user, password or typer.prompt("Password", hide_input=True))


def _champion_in_words(model: str, move: Event | None, until: datetime) -> str:
    when = f"At {in_utc(until)}"
    if move is None:
        return f"{when} {model} had no champion."
    return (
        f"{when} the champion of {model} was {version_name(move.version)}, since "
        f"{in_utc(move.at)}, {move.event.replace('_', ' ')} by {move.actor}: "
        f"{move.reason}"
    )
