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
        PodiumError: Airflow's auth manager is one whose names Podium cannot compare.
    """
    from podium.policy import Person
    from podium.spec import ROLE

    if name is None:
        return None
    manager = conf.get("core", "auth_manager").rpartition(".")[2]
    if manager != _SIMPLE_AUTH_MANAGER:
        raise PodiumError(
            f"{manager} is not supported yet: it names people differently where they trigger and where they "
            "answer, so nobody could be kept from approving their own run. Use SimpleAuthManager."
        )
    roles = any(approver.startswith(ROLE) for approver in policy.approvers)
    return Person(name, _roles_of(name) if roles else frozenset())


def _roles_of(name: str) -> frozenset[str]:
    users = dict(
        entry.strip().partition(":")[::2]
        for entry in conf.get("core", "simple_auth_manager_users").split(",")
    )
    return frozenset({users[name]} if name in users else ())
