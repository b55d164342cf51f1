"""The ``podium`` command: what the registry and the ledger say, for people and (``--json``) for machines."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, time
from functools import wraps
from typing import TYPE_CHECKING, Annotated, Any, ParamSpec

import typer
from rich.console import Console

from podium.errors import Outage, PodiumError, version_name

if TYPE_CHECKING:
    from podium.ledger import Event

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
console = Console()

Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
P = ParamSpec("P")


def _explained(command: Callable[P, None]) -> Callable[P, None]:
    """End with exit code 1 and the message where Podium raises."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except PodiumError as error:
            hint = (
                " Is the stack up? `make status` tells, `make up` starts it."
                if isinstance(error, Outage)
                else ""
            )
            message = f"podium: {error}{hint}"
            Console(stderr=True).print(message, style="red", markup=False, highlight=False)
            raise typer.Exit(1) from error

    return run


@app.callback()
def main() -> None:
    """The model lifecycle: who is champion, who decided it, and why."""
    # A person at a terminal wants to be told soon; tasks wait longer.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")


@app.command()
@_explained
def status(as_json: Json = False) -> None:
    """Show each model's champion, candidate, previous champion and versions."""
    from podium.parts import connect
    from podium.status import model_statuses
    from podium.tables import status_table

    statuses = model_statuses(connect())
    if as_json:
        _print_json([item.as_json() for item in statuses])
        return
    console.print(status_table(statuses))


@app.command()
@_explained
def history(
    model: Annotated[str, typer.Argument(help="The model's name, as in its model file.")],
    at: Annotated[
        str | None,
        typer.Option(help="Only what was known then: a date (to its end, UTC) or a moment in ISO 8601."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show all that happened to a model, in order; with --at also who was champion then."""
    from podium.ledger import champion_move
    from podium.parts import connect
    from podium.status import known_model
    from podium.tables import history_table

    parts = connect()
    until = None if at is None else _parse_moment(at)
    events = parts.ledger.history(known_model(parts, model), until=until)
    if as_json:
        _print_json([event.as_json() for event in events])
        return
    console.print(history_table(events))
    if until is not None:
        console.print(_champion_in_words(model, champion_move(events), until))


def _champion_in_words(model: str, move: Event | None, until: datetime) -> str:
    when = f"At {until.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    if move is None:
        return f"{when} {model} had no champion."
    return (
        f"{when} the champion of {model} was {version_name(move.version)}, since "
        f"{move.at.astimezone(UTC):%Y-%m-%d %H:%M} UTC, {move.event.replace('_', ' ')} by {move.actor}: "
        f"{move.reason}"
    )


def _parse_moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise PodiumError(
            f"--at: '{text}' is no date; write 2025-03-01 or 2025-03-01T12:00:00+00:00"
        ) from error
    if len(text) <= len("2025-03-01"):
        moment = datetime.combine(moment, time.max)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _print_json(content: Iterable[Any]) -> None:
    json.dump(list(content), sys.stdout, indent=2, default=str)
    sys.stdout.write("\n")
