"""Statements on the ledger's database as one of its roles, past the product's code."""

from __future__ import annotations

import os
from contextlib import closing
from typing import Any

import psycopg2

from podium.settings import PROJECT_ROOT
from podium.stack import postgres
from podium.stack.layout import Layout

# Where the Postgres of a run of tests lives: each worker of pytest-xdist has its own.
POSTGRES_STATE = PROJECT_ROOT / ".podium" / f"test-postgres{os.environ.get('PYTEST_XDIST_WORKER', '')}"


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
