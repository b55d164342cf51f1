"""New passwords in a running Postgres: taken after the restart, and the old ones refused."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import psycopg2
import pytest

from podium.errors import StackError
from podium.stack import control, rotation
from podium.stack.layout import Layout, Paths, Secrets, load_layout
from podium.stack.parts import Part
from podium.stack.postgres import SUPERUSER
from podium.stack.running_stack import running_stack
from podium.stack.supervision import PartState

DATABASES = {
    "postgres_superuser": (SUPERUSER, "postgres"),
    "db_airflow": ("airflow", "airflow"),
    "db_mlflow": ("mlflow", "mlflow"),
    "db_podium": ("podium", "ledger"),
    "db_podium_server": ("podium_server", "ledger"),
    "db_ledger_owner": ("ledger_owner", "ledger"),
}


def read(paths: Paths) -> Layout:
    layout = load_layout(paths)
    assert layout is not None
    return layout


def taken(layout: Layout, secrets: Secrets) -> list[str]:
    """The passwords of these with which Postgres lets somebody in."""
    found = []
    for name, (user, database) in DATABASES.items():
        place = {"host": "127.0.0.1", "port": layout.ports.postgres, "dbname": database}
        try:
            with closing(psycopg2.connect(**place, user=user, password=getattr(secrets, name))):
                found.append(name)
        except psycopg2.OperationalError as error:
            if "password authentication failed" not in str(error):
                raise
    return found


def test_passwords_of_postgres_are_rotated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = Paths(tmp_path / "state")
    running = {part: PartState(part, "RUNNING", 1, 0) for part in Part}
    try:
        with running_stack(paths.state_dir, parts={"postgres"}):
            before = read(paths)
            with pytest.raises(StackError, match="does not run: start it"):
                rotation.give_new_secrets(paths, ["db_podium"])
            # Only Postgres is needed for these.
            monkeypatch.setattr(control, "status", lambda _: running)
            with pytest.raises(StackError, match="there is no secret people; available: airflow_podium, "):
                rotation.give_new_secrets(paths, ["people"])
            rotation.give_new_secrets(paths, DATABASES)
        monkeypatch.undo()
        with running_stack(paths.state_dir, parts={"postgres"}):
            after = read(paths)
            assert taken(after, after.secrets) == list(DATABASES)
            assert taken(after, before.secrets) == []
            assert after.secrets.s3_key == before.secrets.s3_key
    finally:
        control.clean(paths)
