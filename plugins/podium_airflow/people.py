"""Who somebody is, as Airflow's accounts say now: accounts are removed and roles change."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from airflow.sdk import conf

from podium.errors import PodiumError
from podium.names import LOOKUP_ACCOUNT, LOOKUP_PASSWORD

if TYPE_CHECKING:
    from podium.lifecycle.approval_policy import Person
    from podium.operations.airflow_client import AirflowClient

_EXECUTION_API = "/execution"


def person(name: str | None) -> Person | None:
    """Return who has this login name, asked of Airflow by a task; None for nobody.

    Raises:
        PodiumError: Nothing says how to ask Airflow.
        Outage: Airflow was asked and did not answer.
    """
    from podium.lifecycle.approval_policy import Person

    if name is None:
        return None
    account = airflow().account(name)
    return Person(name, account.roles, account.active) if account else Person(name, active=False)


def airflow() -> AirflowClient:
    """Log in to Airflow as Podium itself, which may read who has which role and when a run was asked for.

    Raises:
        PodiumError: There is no password to log in with.
        Outage: Airflow did not answer.
    """
    from podium.operations.airflow_client import AirflowClient

    password = os.environ.get(LOOKUP_PASSWORD)
    if not password:
        raise PodiumError(
            f"{LOOKUP_PASSWORD} is not set: without it a task cannot ask Airflow who has an account and "
            "which roles, or when a rollback or a settlement was asked for."
        )
    url = conf.get("core", "execution_api_server_url").rstrip("/").removesuffix(_EXECUTION_API)
    return AirflowClient(url, LOOKUP_ACCOUNT, password)


def person_in_database(name: str) -> Person:
    """Return who has this login name; for the API server, which has Airflow's database."""
    from airflow.providers.fab.auth_manager.models import User
    from airflow.utils.session import create_session
    from sqlalchemy import func, select

    from podium.lifecycle.approval_policy import Person

    # Private are FAB's models, and Airflow's sessions:
    # https://github.com/apache/airflow/blob/providers-fab/3.10.2/providers/fab/src/airflow/providers/fab/auth_manager/models/__init__.py
    # https://github.com/apache/airflow/blob/3.3.2/airflow-core/src/airflow/utils/session.py
    with create_session() as session:
        users = session.scalars(select(User).where(func.lower(User.username) == name.lower())).all()
        if len(users) != 1:
            return Person(name, active=False)
        return Person(name, frozenset(role.name for role in users[0].roles), users[0].active is True)
