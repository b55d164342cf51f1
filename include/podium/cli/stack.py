"""`python -m podium.stack up|down|clean|status|backup|restore`."""

import json
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from podium.accounts import PEOPLE
from podium.errors import told_without_traceback
from podium.stack import backups, control
from podium.stack.layout import Paths, default_state_dir, load_layout
from podium.stack.running_stack import Stack, memory_mib, stack_of

app = typer.Typer(
    help="The embedded stack: Postgres, S3, MLflow and Airflow on this machine, without Docker.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
)
_console = Console()
_NOT_RUNNING = 3

StateDir = Annotated[
    Path | None, typer.Option("--state-dir", help="Keeps everything. Default: .podium in the repository.")
]


def _paths(state_dir: Path | None) -> Paths:
    return Paths((state_dir or default_state_dir()).resolve())


@app.command()
def up(state_dir: StateDir = None) -> None:
    """Start everything and leave it running; says so if it runs already."""
    paths = _paths(state_dir)
    backups.refuse_half_restored(paths)
    began = time.monotonic()
    _console.print(f"Starting the stack in {paths.state_dir}", soft_wrap=True)
    with control.signals_as_exit():
        started = control.start(paths, _console, extra_airflow_env={}, detached=True)
    stack = stack_of(paths.state_dir, started.layout, was_running=started.was_running)
    if stack.was_running:
        _console.print("It is already running.")
    else:
        _console.print(f"Everything is up after {time.monotonic() - began:.0f} s.")
    _show(stack)


def _show(stack: Stack) -> None:
    addresses = Table("what", "address", title="Addresses", title_justify="left")
    addresses.add_row("Airflow", stack.airflow_url)
    addresses.add_row("MLflow", stack.mlflow_url)
    logins = Table("login", "password", "role", title="Logins", title_justify="left")
    for name, role in PEOPLE:
        logins.add_row(name, stack.passwords[name], role)
    logins.add_row("reader", stack.mlflow_reader_password, "MLflow: reads")
    _console.print(addresses, logins)
    for what, path in (("Logs:", stack.logs), ("For clients:", Paths(stack.state_dir).client_env)):
        _console.print(f"{what:<13}{path}", soft_wrap=True, highlight=False)
    _console.print(
        "Dags start paused: switch one on in Airflow. 'make down' stops everything, the data stays."
    )


@app.command()
def down(state_dir: StateDir = None) -> None:
    """Stop everything; the data stays."""
    paths = _paths(state_dir)
    began = time.monotonic()
    control.stop(paths)
    _console.print(
        f"Nothing runs any more in {paths.state_dir} ({time.monotonic() - began:.1f} s).", soft_wrap=True
    )


@app.command()
def clean(state_dir: StateDir = None) -> None:
    """Stop everything and remove data, logs and logins; backups stay. Cannot be undone."""
    paths = _paths(state_dir)
    removed = control.clean(paths)
    what = "was not there"
    if removed:
        what = "is empty but for its backups" if paths.backups.exists() else "is removed"
    _console.print(f"{paths.state_dir} {what}.", soft_wrap=True)


@app.command()
def backup(
    to: Annotated[
        Path | None, typer.Option(help="A new folder. Default: backups/<UTC time> in the state.")
    ] = None,
    state_dir: StateDir = None,
) -> None:
    """Copy databases and objects while everything runs; exit code 3 if something of them was not whole."""
    from podium.operations.backup.backup import NOT_WHOLE, in_words

    with control.signals_as_exit():
        folder, index = backups.back_up(_paths(state_dir), to, _console)
    _console.print(f"Backup: {folder}\n{in_words(index)}", soft_wrap=True, highlight=False, markup=False)
    _console.print("Keep it where the stack is not. Passwords and the Fernet key are not in it: layout.json.")
    if index.problems:
        raise typer.Exit(NOT_WHOLE)


@app.command()
def restore(
    from_: Annotated[Path, typer.Option("--from", help="The folder of a backup.")], state_dir: StateDir = None
) -> None:
    """Copy a backup into an empty state directory; nothing runs afterwards."""
    from podium.operations.backup.backup import in_words

    with control.signals_as_exit():
        index = backups.restore(_paths(state_dir), from_.resolve(), _console)
    _console.print(f"Restored: {from_}\n{in_words(index)}", soft_wrap=True, highlight=False, markup=False)
    _console.print("Start it with 'make up'; then 'podium verify'.")


@app.command()
def status(
    state_dir: StateDir = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Show the state of each part; exit code 0 if all of them run, else 3."""
    paths = _paths(state_dir)
    states = control.status(paths)
    layout = load_layout(paths)
    running = all(state.running for state in states.values())
    if as_json:
        report = {
            "running": running,
            "state_dir": str(paths.state_dir),
            "airflow_url": layout.airflow_url if layout else None,
            "mlflow_url": layout.mlflow_url if layout else None,
            "parts": {part.value: {"state": s.state, "pid": s.pid or None} for part, s in states.items()},
        }
        typer.echo(json.dumps(report, indent=2))
    else:
        table = Table("part", "state", "pid", "up for")
        for part, state in states.items():
            since = f"{time.time() - state.started:.0f} s" if state.running else ""
            table.add_row(part.value, state.state, str(state.pid or ""), since)
        _console.print(table)
        if running and layout:
            _console.print(f"Airflow {layout.airflow_url}   MLflow {layout.mlflow_url}")
            _console.print(f"Memory {memory_mib(paths.state_dir)} MiB")
    if not running:
        raise typer.Exit(_NOT_RUNNING)


def main() -> None:
    """Run the command line; a known failure is a message and exit code 1, not a traceback."""
    with told_without_traceback():
        app()
