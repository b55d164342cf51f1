"""Who may do what in Airflow: FAB's logins and roles, with two differences for approvals."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.providers.fab.auth_manager.fab_auth_manager import FabAuthManager
from airflow.providers.fab.www.security.permissions import RESOURCE_HITL_DETAIL

if TYPE_CHECKING:
    from airflow.api_fastapi.auth.managers.base_auth_manager import ResourceMethod
    from airflow.api_fastapi.auth.managers.models.resource_details import DagDetails
    from airflow.providers.fab.auth_manager.models import User


class PodiumFabAuthManager(FabAuthManager):
    """FAB's auth manager, for approvers who only answer and are named as model files name them."""

    # `_is_authorized` and the resources' names are private to FAB's provider:
    # https://github.com/apache/airflow/tree/providers-fab/3.10.2/providers/fab/src/airflow/providers/fab
    # https://github.com/apache/airflow/blob/3.3.2/airflow-core/src/airflow/api_fastapi/auth/managers/models/resource_details.py
    def is_authorized_dag(
        self,
        *,
        method: ResourceMethod,
        user: User,
        access_entity: DagAccessEntity | None = None,
        details: DagDetails | None = None,
    ) -> bool:
        """Tell whether somebody may do this; an answer takes the right to answer, and to see the Dag.

        FAB's own wants the right to edit the Dag as well, which an approver could use to pause it.
        """
        if access_entity is not DagAccessEntity.HITL_DETAIL or method == "GET":
            return super().is_authorized_dag(
                method=method, user=user, access_entity=access_entity, details=details
            )
        may_answer = self._is_authorized(method=method, resource_type=RESOURCE_HITL_DETAIL, user=user)
        return may_answer and super().is_authorized_dag(
            method="GET", user=user, access_entity=access_entity, details=details
        )

    def is_authorized_hitl_task(self, *, assigned_users: set[str], user: User) -> bool:
        """Tell whether the approval sensor asked this person, by the login that the model file names.

        FAB's own compares numbers of its database, which no model file can know.
        """
        return user.get_name() in assigned_users
