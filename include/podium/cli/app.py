"""What all commands of ``podium`` share: how they explain errors, and print for people and machines."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime, time
from functools import wraps
from typing import Annotated, Any, ParamSpec

import typer
from rich.console import Console

from podium.errors import Outage, PodiumError

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
console = Console()

Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
P = ParamSpec("P")


def explained(command: Callable[P, None]) -> Callable[P, None]:
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


def parse_moment(text: str, option: str = "--at", of_a_day: time = time.max) -> datetime:
    """Read a moment from the command line; a date is its last moment, or whichever is asked for.

    Raises:
        PodiumError: It is no date; names the option.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise PodiumError(
            f"{option}: '{text}' is no date; write 2025-03-01 or 2025-03-01T12:00:00+00:00"
        ) from error
    if len(text) <= len("2025-03-01"):
        moment = datetime.combine(moment, of_a_day)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def print_json(content: Any) -> None:
    """Print JSON for machines."""
    json.dump(content, sys.stdout, indent=2, default=str)
    sys.stdout.write("\n")
