"""Who somebody is, as Airflow's login says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.sdk.configuration import conf

from podium.errors import PodiumError

if TYPE_CHECKING:
    from podium.policy import Person
    from podium.spec import ApprovalSpec

_SIMPLE_AUTH_MANAGER = "SimpleAuthManager"


def person(name: str | None, policy: ApprovalSpec) -> Person | None:
    """Return who has this login name, with roles where the policy names roles; None for nobody.

    Raises:
        PodiumError: The policy names roles, and this auth manager has no way to look them up.
    """
    from podium.policy import Person
    from podium.spec import ROLE

    if name is None:
        return None
    if any(approver.startswith(ROLE) for approver in policy.approvers):
        return Person(name, _roles_of(name))
    return Person(name)


def _roles_of(name: str) -> frozenset[str]:
    manager = conf.get("core", "auth_manager").rpartition(".")[2]
    if manager != _SIMPLE_AUTH_MANAGER:
        raise PodiumError(
            f"approval.approvers: roles of users cannot be looked up with {manager}; name the users"
        )
    users = dict(
        entry.strip().partition(":")[::2]
        for entry in conf.get("core", "simple_auth_manager_users").split(",")
    )
    return frozenset({users[name]} if name in users else ())
