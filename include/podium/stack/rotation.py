"""New values for the secrets of the embedded stack, while it runs; a restart hands them to the programs.

A start gives roles of Postgres, MLflow's accounts and Airflow's account ``podium`` the passwords of
``layout.json``. Two passwords it logs in with itself: those are changed in their programs first. People's
passwords are theirs, to be changed in Airflow.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Collection
from contextlib import closing
from typing import Any

from podium.errors import StackError
from podium.operations.mlflow_accounts import MlflowAdmin
from podium.operations.mlflow_server import ADMIN
from podium.stack import control, postgres
from podium.stack.environment import airflow_env, base_env
from podium.stack.layout import Layout, Paths, Secrets, load_layout, save_layout

ROTATED = frozenset(Secrets.model_fields) - {"people"}


def give_new_secrets(paths: Paths, names: Collection[str]) -> Layout:
    """Make new values of the secrets of a running stack and save them; it must be restarted then.

    Args:
        paths: the state directory's names.
        names: of ``ROTATED``.

    Returns:
        The layout with the new values; of the Fernet key both, the new one first, until ``encrypt_anew``.

    Raises:
        StackError: The stack does not run, or there is no such secret.
        PodiumError: MLflow refused.
        Outage: A part did not answer; nothing was changed there.
    """
    if unknown := sorted(set(names) - ROTATED):
        raise StackError(f"there is no secret {', '.join(unknown)}; available: {', '.join(sorted(ROTATED))}")
    layout, states = load_layout(paths), control.status(paths)
    if layout is None or not all(state.running for state in states.values()):
        raise StackError(f"The stack in {paths.state_dir} does not run: start it with 'make up'.")
    fresh = Secrets.generate().model_dump()
    values = {name: fresh[name] for name in names}
    if "fernet" in values:
        values["fernet"] = f"{values['fernet']},{layout.secrets.fernet}"
    if "mlflow_admin" in values:
        admin = MlflowAdmin(layout.mlflow_url, layout.secrets.mlflow_admin)
        admin.set_password(ADMIN, values["mlflow_admin"])
        layout = _saved(paths, layout, {"mlflow_admin": values["mlflow_admin"]})
    if "postgres_superuser" in values:
        with closing(postgres.connect_as_superuser(layout)) as connection, connection.cursor() as cursor:
            _set_password(cursor, postgres.SUPERUSER, values["postgres_superuser"])
            connection.commit()
    return _saved(paths, layout, values)


def encrypt_anew(paths: Paths, layout: Layout) -> None:
    """Encrypt Airflow's connections and variables with the new Fernet key, and forget the old one.

    Raises:
        StackError: Airflow did not; both keys stay.
    """
    done = subprocess.run(
        [sys.executable, "-m", "airflow", "rotate-fernet-key"],
        env=base_env(os.environ) | airflow_env(layout, paths, {}),
        cwd=paths.run,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise StackError(f"airflow rotate-fernet-key failed; both keys stay:\n{done.stderr[-2000:]}")
    _saved(paths, layout, {"fernet": layout.secrets.fernet.partition(",")[0]})


def _saved(paths: Paths, layout: Layout, values: dict[str, str]) -> Layout:
    changed = layout.model_copy(update={"secrets": layout.secrets.model_copy(update=values)})
    save_layout(paths, changed)
    return changed


def _set_password(cursor: Any, role: str, password: str) -> None:
    from psycopg2 import sql

    values = {"role": sql.Identifier(role), "password": sql.Literal(password)}
    cursor.execute(sql.SQL("ALTER ROLE {role} PASSWORD {password}").format(**values))
