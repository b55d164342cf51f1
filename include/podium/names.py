"""The words that other systems store: aliases and tags in MLflow, accounts in Airflow, a run's outcome."""

from datetime import UTC, datetime
from enum import StrEnum


class Alias(StrEnum):
    """The pointers of a registered model."""

    CHAMPION = "champion"
    CANDIDATE = "candidate"
    PREVIOUS_CHAMPION = "previous_champion"
    CI_SMOKE = "ci-smoke"
    SMOKE = "smoke"


class Tag(StrEnum):
    """Tags of a version. They mirror the ledger for people who look at MLflow; nothing decides by them."""

    VALIDATION_STATUS = "validation_status"
    APPROVAL_STATUS = "approval_status"
    LIFECYCLE_STAGE = "lifecycle_stage"
    INPUTS_DIGEST = "podium.inputs_digest"
    MANIFEST_DIGEST = "podium.manifest_digest"
    GATES_DIGEST = "podium.gates_digest"
    AS_OF = "podium.as_of"
    PROFILE = "podium.profile"
    TRAINED_ON = "podium.trained_on"
    JUDGED_ON = "podium.judged_on"
    DATA_VERSION = "podium.data_version"
    GIT_COMMIT = "podium.git_commit"
    GATES = "podium.gates"
    DECIDED_BY = "podium.decided_by"
    DECISION_REASON = "podium.decision_reason"
    ROLLED_BACK = "podium.rolled_back"
    LEDGER_HEAD = "podium.ledger_head"
    AIRFLOW_RUN = "podium.airflow_run"
    PROBLEM = "podium.problem"
    COPIED_FROM = "podium.copied_from"
    COPIED_VERSION = "podium.copied_version"
    COPIED_RUN = "podium.copied_run"
    COPIED_BY = "podium.copied_by"
    COPIED_AT = "podium.copied_at"


# Where `podium copy` brought a version from, on the version and its training run.
ORIGIN = (Tag.COPIED_FROM, Tag.COPIED_VERSION, Tag.COPIED_RUN, Tag.COPIED_BY, Tag.COPIED_AT)

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


def version_name(version: int | None) -> str:
    """Return ``v3`` for 3 and ``none`` for no version, as messages and tables show it."""
    return "none" if version is None else f"v{version}"


def in_utc(moment: datetime) -> str:
    """Return ``2025-06-01 12:00 UTC``, as messages show a moment."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


# No data is of other years; near the years 1 and 9999 a moment cannot be converted between zones.
_YEARS = range(1900, 2201)


def moment_problem(moment: datetime) -> str | None:
    """Say what is wrong with a moment that somebody typed; None if nothing is."""
    if moment.year in _YEARS:
        return None
    return f"{moment.isoformat()} is not between the years {_YEARS.start} and {_YEARS.stop - 1}"


class RunOutcome(StrEnum):
    """What the ledger says of a run that has ended; the ids of the tasks that show it in Airflow's grid."""

    PROMOTE = "promote"
    REJECTED = "rejected"
    EXPIRED = "expired"
    SUPERSEDED = "superseded"
    VOIDED = "voided"
    REFUSED_BY_GATES = "refused_by_gates"
    NOTHING_TO_PROMOTE = "nothing_to_promote"
    ONLY_A_PROFILE = "only_a_profile"


CHAMPION = "champion"
CANDIDATE = "candidate"
# What a gate can be held against besides the trainer's baselines.
VERSIONS = (CHAMPION, CANDIDATE)
