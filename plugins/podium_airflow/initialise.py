"""``python -m podium_airflow.initialise``: migrate Airflow's database, make the roles and the accounts.

Safe to repeat. Roles are made to be exactly what `roles` says. People's accounts that exist keep password and
roles, which people may have changed; Podium's own has the password of the environment, as tasks have.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping
from typing import Any

from podium.errors import PodiumError
from podium.names import LOOKUP_ACCOUNT, PEOPLE, password_variables
from podium_airflow.roles import BEYOND_VIEWER, LOOKUP, LOOKUP_ROLE, SEES_PAGES, Permission

log = logging.getLogger(__name__)


def main() -> None:
    """Migrate, then make what is missing."""
    passwords = read_passwords(os.environ)
    from airflow.providers.fab.auth_manager.cli_commands.utils import get_application_builder
    from airflow.utils.db import upgradedb

    # `airflow db migrate` and `airflow users create` are public, but take seconds each. Private are:
    # https://github.com/apache/airflow/blob/3.3.2/airflow-core/src/airflow/utils/db.py
    # https://github.com/apache/airflow/tree/providers-fab/3.10.2/providers/fab/src/airflow/providers/fab
    upgradedb()
    with get_application_builder() as appbuilder:
        manager = appbuilder.sm
        # Added only: whatever else people changed of FAB's own role stays.
        manager.bulk_sync_roles([{"role": "Viewer", "perms": list(SEES_PAGES)}])
        for name, permissions in all_roles(manager.VIEWER_PERMISSIONS).items():
            _make_role(manager, name, permissions)
        for login, role in {**dict(PEOPLE), LOOKUP_ACCOUNT: LOOKUP_ROLE}.items():
            _make_account(manager, login, role, passwords[login])


def read_passwords(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the password of each account to make.

    Raises:
        PodiumError: One is not set; there is no default.
    """
    names = password_variables()
    missing = [name for name in names.values() if not environ.get(name)]
    if missing:
        raise PodiumError(f"{', '.join(missing)} not set: no account has a default password.")
    return {login: environ[name] for login, name in names.items()}


def all_roles(viewer: Iterable[Permission]) -> dict[str, set[Permission]]:
    """Return every permission of each role of ours, given those of a Viewer."""
    seen = {*viewer, *SEES_PAGES}
    roles = {name: seen | set(beyond) for name, beyond in BEYOND_VIEWER.items()}
    return {**roles, LOOKUP_ROLE: set(LOOKUP)}


def _make_role(manager: Any, name: str, permissions: Iterable[Permission]) -> None:
    manager.bulk_sync_roles([{"role": name, "perms": sorted(permissions)}])
    role = manager.find_role(name)
    kept = set(permissions)
    role.permissions = [held for held in role.permissions if (held.action.name, held.resource.name) in kept]
    manager.session.commit()


def _make_account(manager: Any, login: str, role: str, password: str) -> None:
    if (user := manager.find_user(username=login)) is not None:
        if login == LOOKUP_ACCOUNT:
            manager.reset_password(user.id, password)
        return
    made = manager.add_user(login, login, "", f"{login}@podium.invalid", manager.find_role(role), password)
    if not made:
        raise PodiumError(f"Airflow's account {login} could not be created; the reason is above.")
    log.info("Airflow's account %s created, role %s.", login, role)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    from podium.operations.program import exit_with_message

    with exit_with_message():
        main()
