"""Backups of the embedded stack, and an empty one made from a backup."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from podium.errors import StackError
from podium.operations.private_files import write_private
from podium.stack import control
from podium.stack.layout import Layout, Paths, load_layout
from podium.stack.parts import STORE_PARTS
from podium.stack.postgres import superuser_url
from podium.stack.programs import BUCKET

if TYPE_CHECKING:
    from podium.operations.backup.backup import BackupStores
    from podium.operations.backup.index import Index


def stores_of(layout: Layout) -> BackupStores:
    """Return the Postgres server and the bucket of a stack."""
    from podium.operations.backup.backup import BackupStores
    from podium.operations.backup.objects import Store

    return BackupStores(
        postgres_url=superuser_url(layout),
        store=Store(layout.s3_url, layout.secrets.s3_key, layout.secrets.s3_secret, BUCKET),
    )


def back_up(paths: Paths, to: Path | None, console: Console) -> tuple[Path, Index]:
    """Copy a running stack to a new folder.

    Returns:
        The folder, and what it holds.

    Raises:
        StackError: Postgres or the store do not run.
        PodiumError: As ``podium.operations.backup.backup.create``.
    """
    from podium.operations.backup import backup

    layout, states = load_layout(paths), control.status(paths)
    if layout is None or not all(states[part].running for part in STORE_PARTS):
        raise StackError(f"The stack in {paths.state_dir} does not run: start it with 'make up'.")
    folder = (to or paths.backups / f"{datetime.now(UTC):%Y-%m-%dT%H-%M-%SZ}").resolve()
    return folder, backup.create(stores_of(layout), folder, console)


def restore(paths: Paths, folder: Path, console: Console) -> Index:
    """Start Postgres and the store on an empty state directory, copy a backup into them, and stop them.

    A ``layout.json`` that is there already is used: with that of the copied stack, all passwords stay.

    Raises:
        StackBusyError: The stack runs.
        PodiumError: As ``podium.operations.backup.backup.restore``; what had begun is removed again.
    """
    from podium.operations.backup import backup
    from podium.operations.backup.index import read_index

    read_index(folder)
    refuse_half_restored(paths)
    with_secrets = paths.layout.is_file()
    started = control.start(paths, console, parts=STORE_PARTS, extra_airflow_env={}, detached=False)
    if started.was_running:
        raise StackError(f"The stack in {paths.state_dir} runs: stop it with 'make down'.")
    try:
        stores = stores_of(started.layout)
        backup.assert_empty(stores)
        write_private(paths.restoring, f"{folder}\n")
        index = backup.restore(stores, folder, console)
        paths.restoring.unlink()
    except BaseException:
        _undo(paths, keep_secrets=with_secrets)
        raise
    control.stop(paths)
    return index


def refuse_half_restored(paths: Paths) -> None:
    """Refuse a state directory in which a restore, or the removal of a stack, was killed.

    Raises:
        StackError: It was.
    """
    if paths.restoring.is_file():
        raise StackError(
            f"A restore into {paths.state_dir}, or its removal, did not end: remove what is left with "
            "'make clean', and restore again."
        )


def _undo(paths: Paths, *, keep_secrets: bool) -> None:
    """Stop what was started, and remove what a restore that failed wrote."""
    if not paths.restoring.is_file():
        control.stop(paths)
        return
    control.clean(paths, keep_secrets=keep_secrets)
