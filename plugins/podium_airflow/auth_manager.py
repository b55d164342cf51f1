"""Who may do what in Airflow: FAB's logins and roles, with three differences for approvals."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.providers.fab.auth_manager.fab_auth_manager import FabAuthManager
from airflow.providers.fab.www.security.permissions import (
    RESOURCE_DAG_RUN,
    RESOURCE_HITL_DETAIL,
    resource_name,
)

from podium.model_file.approval import login_key
from podium_airflow.answers import note_who_answers

if TYPE_CHECKING:
    from airflow.api_fastapi.auth.managers.base_auth_manager import ResourceMethod
    from airflow.api_fastapi.auth.managers.models.resource_details import DagDetails
    from airflow.providers.fab.auth_manager.models import User


class PodiumFabAuthManager(FabAuthManager):
    """FAB's auth manager, for approvers who answer and settle, and are named as model files name them."""

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
        """Tell whether somebody may do this; to answer, or to trigger one Dag, takes no right to edit it.

        FAB's own wants the right to edit the Dag as well, which an approver could use to pause it.
        """
        if access_entity is DagAccessEntity.HITL_DETAIL and method != "GET":
            may_answer = self._is_authorized(method=method, resource_type=RESOURCE_HITL_DETAIL, user=user)
            allowed = may_answer and super().is_authorized_dag(method="GET", user=user, details=details)
            if allowed:
                note_who_answers(user.get_name())
            return allowed
        if access_entity is DagAccessEntity.RUN and method == "POST" and details and details.id:
            its_runs = resource_name(details.id, RESOURCE_DAG_RUN)
            if self._is_authorized(method=method, resource_type=its_runs, user=user):
                return super().is_authorized_dag(method="GET", user=user, details=details)
        return super().is_authorized_dag(
            method=method, user=user, access_entity=access_entity, details=details
        )

    def is_authorized_hitl_task(self, *, assigned_users: set[str], user: User) -> bool:
        """Tell whether the approval sensor asked this person, by the login that the model file names.

        FAB's own compares numbers of its database, which no model file can know.
        """
        return login_key(user.get_name()) in map(login_key, assigned_users)
