"""Who somebody is, as Airflow's login says."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from airflow.sdk import conf

from podium.errors import PodiumError
from podium.names import LOOKUP_ACCOUNT, LOOKUP_PASSWORD

if TYPE_CHECKING:
    from podium.lifecycle.approval_policy import Person
    from podium.model_file.approval import ApprovalSpec

_EXECUTION_API = "/execution"


def person(name: str | None, policy: ApprovalSpec) -> Person | None:
    """Return who has this login name, with roles where the policy names roles; None for nobody.

    Raises:
        PodiumError: The policy names roles, and nothing says how to ask Airflow for them.
        Outage: Airflow was asked for the roles and did not answer.
    """
    from podium.lifecycle.approval_policy import Person
    from podium.model_file.approval import ROLE

    if name is None:
        return None
    roles = any(approver.startswith(ROLE) for approver in policy.approvers)
    return Person(name, _roles_of(name) if roles else frozenset())


def _roles_of(name: str) -> frozenset[str]:
    """Ask Airflow now: a task's environment says nothing of people, and roles change."""
    from podium.operations.airflow_client import AirflowClient

    password = os.environ.get(LOOKUP_PASSWORD)
    if not password:
        raise PodiumError(
            f"{LOOKUP_PASSWORD} is not set: without it a task cannot ask Airflow which roles {name} has, "
            "and the model file's approvers are roles."
        )
    url = conf.get("core", "execution_api_server_url").rstrip("/").removesuffix(_EXECUTION_API)
    return AirflowClient(url, LOOKUP_ACCOUNT, password).roles_of(name)
