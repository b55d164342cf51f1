"""What all commands of ``podium`` share: the application, its error messages, and printing."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime, time
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from podium.errors import PodiumError
from podium.names import moment_problem
from podium.operations.program import exit_with_message
from podium.reporting.terminal import Terminal, VisibleFormatter

if TYPE_CHECKING:
    from podium.operations.airflow_client import AirflowClient


# In this order they are shown.
GROUPS = {
    "Every day": (
        *("status", "pending", "approve", "reject", "run", "history", "compare", "gates"),
        *("drift", "monitor", "watch"),
    ),
    "When something is wrong": ("doctor", "verify", "explain", "rollback", "mend"),
    "A new model": ("new-model", "validate-spec", "train", "adopt"),
    "Serve and score": ("serve", "score", "copy"),
    "Old versions": ("retention", "hold", "release", "restore", "retire"),
    "Operate": ("stack", "backup", "export", "notify", "metrics", "initialise", "mlflow-server", "heartbeat"),
}


class Commands(TyperGroup):
    """The commands of ``podium``; where one raises a known error, its message is shown, and no traceback."""

    # Of Click's classes Typer has its own, private ones: https://github.com/fastapi/typer/blob/0.29.2/typer/core.py
    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - Click's signature
        """Name the commands in the order of their groups, each with its group."""
        order = [name for names in GROUPS.values() for name in names]
        for title, names in GROUPS.items():
            for name in names:
                if name in self.commands:
                    self.commands[name].rich_help_panel = title  # type: ignore[attr-defined]
        return sorted(self.commands, key=lambda name: order.index(name) if name in order else len(order))

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was asked for."""
        with exit_with_message("podium"):
            return super().invoke(ctx)


app = typer.Typer(cls=Commands, no_args_is_help=True, pretty_exceptions_enable=False)
console = Terminal()


def model_names() -> list[str]:
    """Return the names of the models that have a model file, for shell completion."""
    from podium.model_file.loading import load_specs
    from podium.settings import models_dir

    return list(load_specs(models_dir())[0])


Model = Annotated[
    str, typer.Argument(help="The model's name, as in its model file.", autocompletion=model_names)
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]


def commands(name: str, about: str) -> typer.Typer:
    """Add a group of commands, such as ``podium stack``, and return it."""
    group = typer.Typer(name=name, help=about, no_args_is_help=True)
    app.add_typer(group)
    return group


def parse_moment(text: str, option: str = "--at", of_a_day: time = time.max) -> datetime:
    """Read a moment from the command line; a date is its last moment, or whichever is asked for.

    Raises:
        PodiumError: It is not a date, or its year is outside 1900 to 2200; names the option.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise PodiumError(
            f"{option}: '{text}' is not a date; write 2025-03-01 or 2025-03-01T12:00:00+00:00"
        ) from error
    if len(text) <= len("2025-03-01"):
        moment = datetime.combine(moment, of_a_day)
    if problem := moment_problem(moment):
        raise PodiumError(f"{option}: {problem}")
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def print_json(content: Any) -> None:
    """Print JSON for machines."""
    json.dump(content, sys.stdout, indent=2, default=str)
    sys.stdout.write("\n")


def log_to_stderr(*loggers: str, form: str = "%(message)s") -> None:
    """Show what happens, line by line, on standard error."""
    handler = logging.StreamHandler()
    handler.setFormatter(VisibleFormatter(form))
    logging.basicConfig(handlers=[handler])
    for name in loggers:
        logging.getLogger(name).setLevel(logging.INFO)


def logged_in_to_airflow(url: str | None, user: str, password: str) -> AirflowClient:
    """Return a client of Airflow with a person's login; asks for what was not given.

    Raises:
        PodiumError: Nobody said where Airflow is.
    """
    from podium.operations.airflow_client import AirflowClient

    if url is None:
        raise PodiumError("PODIUM_AIRFLOW_URL not set: the address of Airflow")
    user = user or typer.prompt("Airflow user")
    return AirflowClient(url, user, password or typer.prompt("Password", hide_input=True))
