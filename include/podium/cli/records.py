"""What the registry and the ledger say: ``podium status``, ``history``, ``verify`` and ``export``."""

from __future__ import annotations

import json
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from podium.cli.app import Json, Model, app, console, parse_moment, print_json
from podium.errors import PodiumError
from podium.names import in_utc, version_name

if TYPE_CHECKING:
    from podium.ledger.events import Event


@app.command()
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
def history(
    model: Model,
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

    services = connect()
    until = None if at is None else parse_moment(at)
    events = services.ledger.history(known_model(services, model), until=until)
    if as_json:
        print_json([event.as_json() for event in events])
        return
    console.print(history_table(events))
    if until is not None:
        console.print(_describe_champion(model, champion_move(events), until))


@app.command()
def verify(
    file: Annotated[
        Path | None, typer.Option(help="Check a file that `podium export` wrote, without any part running.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Check that the ledger's chain is whole and that the live aliases are what it says."""
    from podium.ledger.chain import read_export, walk
    from podium.lifecycle.verify import all_differences, told_heads
    from podium.model_file.loading import load_specs
    from podium.services import connect

    if file is not None:
        chain, differences = walk(read_export(file)), []
    else:
        services = connect()
        # The registry's models: a ledger that lost its end may not know one of them any more.
        chain = walk(services.ledger.record(), told_heads(services, services.registry.models()))
        differences = [
            *(f"the text of event {seq} is not that of its hash" for seq in services.ledger.changed_texts()),
            *all_differences(services, load_specs(services.settings.models_dir)[0]),
        ]
    found = [*chain.differences, *differences]
    unknown = {"unknown": chain.unknown} if chain.unknown else {}
    if as_json:
        print_json(
            {"whole": not found, "events": chain.events, "head": chain.head, "differences": found, **unknown}
        )
    elif found:
        console.print(f"Not as it must be: {found[0]}", style="red")
        if found[1:]:
            console.print(f"and {len(found) - 1} more; --json lists all.")
    else:
        where = "" if file else "; live aliases are what the ledger says"
        console.print(f"Whole: {chain.events} events, each chained to the one before{where}.")
        console.print(f"Head: {chain.head}")
    if not as_json:
        for said in chain.unknown:
            console.print(f"Not judged: {said}.", style="yellow")
    if found:
        raise typer.Exit(1)


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
