"""Airflow's roles: who may see, trigger, answer.

Viewer and Admin are FAB's own. FAB's User and Op may trigger, answer and edit the state of tasks all at once:
no account gets one of them.
"""

from __future__ import annotations

from collections.abc import Mapping

Permission = tuple[str, str]

# What FAB's Viewer may not, and each of ours may: Airflow builds its menu, with the page "Models", from the
# list of plugins. It holds names and addresses of plugins, no data.
SEES_PAGES: tuple[Permission, ...] = (("can_read", "Plugins"),)
# What a role may beyond what a Viewer may.
BEYOND_VIEWER: Mapping[str, tuple[Permission, ...]] = {
    "Operator": (
        ("can_create", "DAG Runs"),
        ("can_edit", "DAGs"),  # to pause a Dag, and to let it run
        # To clear a task that failed in an outage: a new run would have to be approved anew. Airflow knows no
        # right to clear that is not one to mark; what is marked promotes nothing.
        ("can_edit", "DAG Runs"),
        ("can_edit", "Task Instances"),
        ("menu_access", "HITL Detail"),
    ),
    "Approver": (
        ("can_edit", "HITL Detail"),
        # Only an approver settles a champion that was moved outside Podium, adopts a registry, holds and
        # restores versions, and ends models. Old versions go, and much at once is asked about, for who asks.
        ("can_create", "DAG Run:settle_champion"),
        ("can_create", "DAG Run:adopt_model"),
        ("can_create", "DAG Run:hold_version"),
        ("can_create", "DAG Run:retire_model"),
        ("can_create", "DAG Run:retention"),
        ("menu_access", "HITL Detail"),
    ),
}
# Podium's own, by which a task asks for somebody's account and roles, when its run was queued, and which
# runs failed or did not start; and the doctor what the roles may.
LOOKUP_ROLE = "Podium"
LOOKUP: tuple[Permission, ...] = (
    ("can_read", "Users"),
    ("can_read", "Roles"),
    ("can_read", "DAGs"),
    ("can_read", "DAG Runs"),
)
