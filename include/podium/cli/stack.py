"""``podium stack``: the embedded stack on this machine, without Docker; and the demo on it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from podium.cli.app import Json, commands, console, print_json
from podium.cli.backup import NOT_WHOLE
from podium.names import PEOPLE
from podium.operations.program import signals_as_exit

if TYPE_CHECKING:
    from podium.stack.layout import Paths
    from podium.stack.running_stack import Stack

_NOT_RUNNING = 3

stack = commands(
    "stack", "The embedded stack: Postgres, S3, MLflow and Airflow on this machine, without Docker."
)
StateDir = Annotated[
    Path | None,
    typer.Option("--state-dir", help="The folder of all state. Default: .podium in the repository."),
]


def _paths(state_dir: Path | None) -> Paths:
    from podium.stack.layout import Paths, default_state_dir

    return Paths((state_dir or default_state_dir()).resolve())


@stack.command()
def up(state_dir: StateDir = None) -> None:
    """Start everything and leave it running."""
    from podium.stack import backups, control
    from podium.stack.running_stack import stack_of

    paths = _paths(state_dir)
    backups.refuse_half_restored(paths)
    began = time.monotonic()
    console.print(f"Starting the stack in {paths.state_dir}", soft_wrap=True)
    with signals_as_exit():
        started = control.start(paths, console, extra_airflow_env={}, detached=True)
    running = stack_of(paths.state_dir, started.layout, was_running=started.was_running)
    if running.was_running:
        console.print("It is already running.")
    else:
        console.print(f"Everything is up after {time.monotonic() - began:.0f} s.")
    _show(running, paths)


def _show(running: Stack, paths: Paths) -> None:
    addresses = Table("what", "address", title="Addresses", title_justify="left")
    addresses.add_row("Airflow", running.airflow_url)
    addresses.add_row("MLflow", running.mlflow_url)
    logins = Table("login", "password", "role", title="Logins", title_justify="left")
    for name, role in PEOPLE:
        logins.add_row(name, running.passwords[name], role)
    logins.add_row("reader", running.mlflow_reader_password, "MLflow: reads")
    console.print(addresses, logins)
    for what, path in (("Logs:", running.logs), ("For clients:", paths.client_env)):
        console.print(f"{what:<13}{path}", soft_wrap=True, highlight=False)
    console.print(
        "Next: open Airflow, log in as operator and choose Models. 'make down' stops all; the data stays."
    )


@stack.command()
def down(state_dir: StateDir = None) -> None:
    """Stop everything; the data stays."""
    from podium.stack import control

    paths = _paths(state_dir)
    began = time.monotonic()
    control.stop(paths)
    console.print(
        f"Stopped everything in {paths.state_dir} ({time.monotonic() - began:.1f} s).", soft_wrap=True
    )


@stack.command()
def clean(state_dir: StateDir = None) -> None:
    """Stop everything and remove data, logs and logins; backups stay. Cannot be undone."""
    from podium.stack import control

    paths = _paths(state_dir)
    removed = control.clean(paths)
    what = "did not exist"
    if removed:
        what = "has only its backups left" if paths.backups.exists() else "is removed"
    console.print(f"{paths.state_dir} {what}.", soft_wrap=True)


@stack.command()
def backup(
    to: Annotated[
        Path | None, typer.Option(help="A new folder. Default: backups/<UTC time> in the state.")
    ] = None,
    state_dir: StateDir = None,
) -> None:
    """Copy databases and objects while everything runs; exit code 3 if something in them was damaged."""
    from podium.operations.backup.backup import describe_backup
    from podium.stack import backups

    with signals_as_exit():
        folder, index = backups.back_up(_paths(state_dir), to, console)
    console.print(f"Backup: {folder}\n{describe_backup(index)}", soft_wrap=True, highlight=False)
    console.print("Copy it to another disk. It lacks the passwords and the Fernet key: keep layout.json too.")
    if index.problems:
        raise typer.Exit(NOT_WHOLE)


@stack.command()
def restore(
    from_: Annotated[Path, typer.Option("--from", help="The folder of a backup.")], state_dir: StateDir = None
) -> None:
    """Copy a backup into an empty state directory; nothing runs afterwards."""
    from podium.operations.backup.backup import describe_backup
    from podium.stack import backups

    with signals_as_exit():
        index = backups.restore(_paths(state_dir), from_.resolve(), console)
    console.print(f"Restored: {from_}\n{describe_backup(index)}", soft_wrap=True, highlight=False)
    console.print("Start it with 'make up'; then 'podium verify'.")


@stack.command()
def rotate(
    names: Annotated[
        list[str] | None, typer.Argument(help="Secrets, as layout.json names them. Default: all of them.")
    ] = None,
    state_dir: StateDir = None,
) -> None:
    """Give secrets new values, and restart the stack with them. People change their passwords in Airflow."""
    from podium.stack import control, rotation

    paths, chosen = _paths(state_dir), set(names or rotation.ROTATED)
    with signals_as_exit():
        rotation.give_new_secrets(paths, chosen)
        control.stop(paths)
        layout = control.start(paths, console, extra_airflow_env={}, detached=True).layout
        if "fernet" in chosen:
            rotation.encrypt_anew(paths, layout)
    console.print(f"New values: {', '.join(sorted(chosen))}. Clients must read {paths.client_env} again.")


@stack.command()
def status(state_dir: StateDir = None, as_json: Json = False) -> None:
    """Show the state of each service; exit code 0 if all of them run, else 3."""
    from podium.stack import control
    from podium.stack.layout import load_layout
    from podium.stack.running_stack import memory_mib

    paths = _paths(state_dir)
    states = control.status(paths)
    layout = load_layout(paths)
    running = all(state.running for state in states.values())
    if as_json:
        print_json(
            {
                "running": running,
                "state_dir": str(paths.state_dir),
                "airflow_url": layout.airflow_url if layout else None,
                "mlflow_url": layout.mlflow_url if layout else None,
                "parts": {part.value: {"state": s.state, "pid": s.pid or None} for part, s in states.items()},
            }
        )
    else:
        table = Table("part", "state", "pid", "up for")
        for part, state in states.items():
            since = f"{time.time() - state.started:.0f} s" if state.running else ""
            table.add_row(part.value, state.state, str(state.pid or ""), since)
        console.print(table)
        if running and layout:
            console.print(f"Airflow {layout.airflow_url}   MLflow {layout.mlflow_url}")
            console.print(f"Memory {memory_mib(paths.state_dir)} MiB")
    if not running:
        raise typer.Exit(_NOT_RUNNING)


@stack.command()
def demo(
    story: Annotated[
        bool,
        typer.Option("--story", help="Tell it for a presentation: one screen per step, with time to read."),
    ] = False,
) -> None:
    """Run the full lifecycle once: train, approve, promote, roll back."""
    from podium.stack.demo import Demo, Story, tell

    tell(Story() if story else Demo())
