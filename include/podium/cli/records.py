"""What the registry and the ledger say: ``podium status``, ``history``, ``verify`` and ``export``."""

from __future__ import annotations

import json
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from podium.cli.app import Json, Model, app, console, parse_moment, print_json
from podium.errors import Outage, PodiumError
from podium.names import in_utc, version_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podium.ledger.chain import Chain
    from podium.ledger.events import Event
    from podium.ledger.stored import StoredEvent

_PAGE = 50
_A_SECOND_OF_EVENTS, _STEP = 100_000, 10_000


@app.command()
def status(as_json: Json = False) -> None:
    """Show each model's champion, candidate and open requests; with MLflow down, what the ledger knows."""
    from podium.reporting.status import model_statuses, recorded_statuses
    from podium.reporting.tables import status_table
    from podium.services import connect

    services, outage = connect(), None
    try:
        statuses = model_statuses(services)
    except Outage as error:
        # Of the two parts the ledger must answer: then it was MLflow that did not.
        statuses, outage = recorded_statuses(services), error
    if as_json:
        print_json([item.as_json() for item in statuses])
    else:
        console.print(status_table(statuses, console.width))
        for item in statuses:
            if item.is_frozen:
                console.print(f"{item.model} is {item.needs()[0]}.", style="red")
            if item.unsettled:
                console.print(f"{item.model}: {item.unsettled}.", style="red", soft_wrap=True)
            if item.ramp is not None:
                console.print(f"{item.model}: {item.ramp}.", soft_wrap=True, highlight=False)
    if outage is not None:
        raise Outage(f"MLflow does not answer; the ledger alone gave this state. {outage}") from outage


@app.command()
def history(
    model: Model,
    at: Annotated[
        str | None,
        typer.Option(help="Show the history up to then: a date (to its end, UTC) or a moment in ISO 8601."),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help=f"All events, not the newest {_PAGE}; --json always gives all.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show what happened to a model, in order; with --at also the champion at that time."""
    from podium.ledger.history import champion_move
    from podium.reporting.status import known_model
    from podium.reporting.tables import history_table
    from podium.services import connect

    services = connect()
    until = None if at is None else parse_moment(at)
    newest = None if everything or as_json else _PAGE + 1
    events = services.ledger.history(known_model(services, model), until=until, newest=newest)
    if as_json:
        print_json([event.as_json() for event in events])
        return
    page = events if everything else events[-_PAGE:]
    if len(page) < len(events):
        console.print(f"The newest {_PAGE} events of {model}; --all shows all of them.")
    console.print(history_table(page))
    if until is not None:
        then = champion_move(services.ledger.present(model, at=until))
        console.print(_describe_champion(model, then, until))


@app.command()
def verify(
    file: Annotated[
        Path | None, typer.Option(help="Check a file that `podium export` wrote; works offline.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Check the ledger's integrity, that MLflow's aliases match it, and the judged windows."""
    from podium.ledger.chain import read_export, walk

    if file is not None:
        chain, differences, outage = walk(read_export(file)), list[str](), None
    else:
        chain, differences, outage = _verified()
    found = [*chain.differences, *differences]
    unknown = {"unknown": chain.unknown} if chain.unknown else {}
    unknown |= {"not_checked": (str(outage),)} if outage else {}
    if as_json:
        print_json(
            {"whole": not found, "events": chain.events, "head": chain.head, "differences": found, **unknown}
        )
    elif found:
        console.print(f"Verification failed: {found[0]}", style="red")
        if found[1:]:
            console.print(f"and {len(found) - 1} more; --json lists all.")
    else:
        where = "" if file or outage else "; live aliases match the ledger"
        console.print(f"Intact: {chain.events} events, each chained to the one before{where}.")
        console.print(f"Head: {chain.head}")
    if not as_json:
        for said in chain.unknown:
            console.print(f"Not checked: {said}.", style="yellow")
    if outage is not None and not as_json:
        console.print(
            f"Not checked: live aliases, and whether MLflow knows of later events. {outage}",
            style="yellow",
        )
    if found or outage is not None:
        raise typer.Exit(1)


def _verified() -> tuple[Chain, list[str], Outage | None]:
    """Check the ledger, and compare it with MLflow; returns what MLflow was not asked for, too.

    Raises:
        Outage: The ledger did not answer.
    """
    from podium.ledger.chain import walk
    from podium.lifecycle.verify import all_differences, told_heads
    from podium.model_file.loading import load_specs
    from podium.monitoring.recompute import evidence_differences
    from podium.monitoring.watch_recompute import watch_differences
    from podium.services import connect

    services = connect()
    heads: list[tuple[str, int, str]] = []
    differences: list[str] = []
    outage: Outage | None = None
    try:
        # The registry's models: a ledger that lost its end may not know one of them any more.
        heads = list(told_heads(services, services.registry.models()))
        differences = all_differences(services, load_specs(services.settings.models_dir)[0])
    except Outage as error:
        outage = error
    chain = walk(_with_progress(services.ledger.stored(), services.ledger.size()), heads)
    known = services.ledger.models()
    differences += evidence_differences(services.ledger, known) + watch_differences(services.ledger, known)
    return chain, differences, outage


def _with_progress(events: Iterator[StoredEvent], size: int) -> Iterator[StoredEvent]:
    """Show on the error output how far the walk has come, if a person looks and it takes long."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    progress = Progress(
        TextColumn("walking the chain"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
        console=Console(stderr=True), transient=True, disable=size < _A_SECOND_OF_EVENTS,
    )  # fmt: skip
    with progress:
        walking = progress.add_task("", total=size)
        for number, event in enumerate(events, start=1):
            yield event
            if number % _STEP == 0:
                progress.update(walking, completed=number)


@app.command()
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


def _describe_champion(model: str, move: Event | None, until: datetime) -> str:
    when = f"At {in_utc(until)}"
    if move is None:
        return f"{when} {model} had no champion."
    return (
        f"{when} the champion of {model} was {version_name(move.version)}, since "
        f"{in_utc(move.at)}, {move.event.replace('_', ' ')} by {move.actor}: "
        f"{move.reason}"
    )
