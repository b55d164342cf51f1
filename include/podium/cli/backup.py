"""``podium backup``: databases and objects into a folder, and back."""

from __future__ import annotations

from pathlib import Path

import typer

from podium.cli.app import commands, console
from podium.operations.program import signals_as_exit

NOT_WHOLE = 3

backup = commands(
    "backup", "Copy the databases and the objects of a stack to a folder, and back into an empty stack."
)


@backup.command()
def create(folder: Path) -> None:
    """Copy the stack that the environment names to a new FOLDER while it runs."""
    from podium.operations.backup import backup as backups
    from podium.settings import read_settings

    with signals_as_exit():
        index = backups.create(backups.stores_of(read_settings()), folder.resolve(), console)
    console.print(f"Backup: {folder}\n{backups.describe_backup(index)}", soft_wrap=True, highlight=False)
    if index.problems:
        raise typer.Exit(NOT_WHOLE)


@backup.command()
def restore(folder: Path) -> None:
    """Copy the backup in FOLDER into the empty stack that the environment names."""
    from podium.operations.backup import backup as backups
    from podium.settings import read_settings

    with signals_as_exit():
        index = backups.restore(backups.stores_of(read_settings()), folder.resolve(), console)
    console.print(
        f"Restored: {folder}\n{backups.describe_backup(index)}\n"
        "Start MLflow and Airflow now; then `podium verify`.",
        soft_wrap=True,
        highlight=False,
    )
