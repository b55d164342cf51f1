"""Airflow's accounts that a stack begins with, and where their passwords are in the environment."""

from __future__ import annotations

# login -> Airflow role, as podium_airflow.roles makes them
PEOPLE: tuple[tuple[str, str], ...] = (
    ("viewer", "Viewer"),
    ("operator", "Operator"),
    ("approver", "Approver"),
    ("admin", "Admin"),
)
# Podium's own account, by which a task asks for somebody's roles. Its password has a name of its own:
# PODIUM_AIRFLOW_PASSWORD is that of whoever types `podium`.
LOOKUP_ACCOUNT = "podium"
LOOKUP_PASSWORD = "PODIUM_LOOKUP_PASSWORD"  # noqa: S105 - the name of the variable


def password_variables() -> dict[str, str]:
    """Return the variable with the password of each login."""
    return {login: f"PODIUM_{login.upper()}_PASSWORD" for login, _ in PEOPLE} | {
        LOOKUP_ACCOUNT: LOOKUP_PASSWORD
    }
