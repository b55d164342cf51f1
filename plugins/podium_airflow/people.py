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
    from podium.operations.airflow_client import AirflowClient

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
    # Asked now: a task's environment says nothing of people, and roles change.
    return Person(name, airflow().roles_of(name) if roles else frozenset())


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
            f"{LOOKUP_PASSWORD} is not set: without it a task cannot ask Airflow which roles somebody has, "
            "or when a rollback or a settlement was asked for."
        )
    url = conf.get("core", "execution_api_server_url").rstrip("/").removesuffix(_EXECUTION_API)
    return AirflowClient(url, LOOKUP_ACCOUNT, password)
