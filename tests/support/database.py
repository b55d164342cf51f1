"""Statements on the ledger's database as one of its roles, past the product's code."""

from __future__ import annotations

import fcntl
import itertools
import os
import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg2

from podium.settings import PROJECT_ROOT
from podium.stack import postgres
from podium.stack.layout import Layout, Paths, load_layout

# Of a copied database: without the write-ahead log, where no disk is waited for.
BY_FILES = "STRATEGY FILE_COPY"

# Postgres keeps up to 1 GB of its write-ahead log, and two runs of tests may go on at once.
_ROOM = 4 * 2**30
_claimed: list[Path] = []


@contextmanager
def claimed_postgres_state() -> Iterator[Path]:
    """Claim a folder for the Postgres of this run of tests: another run at the same time has another."""
    for number in itertools.count():
        state = _place() / f"test-postgres{number}"
        state.parent.mkdir(exist_ok=True)
        with state.with_suffix(".lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            _claimed.append(state)
            yield state
            return


def _place() -> Path:
    """Return a folder in memory, where there is room: each database is three hundred files."""
    memory = Path("/dev/shm")  # noqa: S108 - the lock of a state is opened in it, and tests hold no secret
    if memory.is_dir() and shutil.disk_usage(memory).free > _ROOM:
        return memory / f"podium-tests-{os.getuid()}"
    return PROJECT_ROOT / ".podium"


def postgres_state() -> Path:
    """Return the folder that this run of tests has claimed."""
    return _claimed[-1]


def execute(url: str, statement: str, *values: Any) -> list[tuple[Any, ...]]:
    """Run a statement on a connection of its own."""
    with closing(psycopg2.connect(url.replace("+psycopg2", ""))) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement, values or None)
            return cursor.fetchall() if cursor.description else []


def as_superuser(layout: Layout, statement: Any, database: str = "postgres") -> list[tuple[Any, ...]]:
    with closing(postgres.connect_as_superuser(layout, database)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []


def make_haste(paths: Paths) -> None:
    """Let the tests' Postgres wait for no disk, since no test loses its power, and log in quickly."""
    layout = load_layout(paths)
    assert layout is not None
    no_disk = ("fsync = off", "full_page_writes = off", "synchronous_commit = off")
    for setting in (*no_disk, "scram_iterations = 1"):
        as_superuser(layout, f"ALTER SYSTEM SET {setting}")
    as_superuser(layout, "SELECT pg_reload_conf()")
    postgres.create_databases(layout)  # gives the roles their passwords again
