"""The words that other systems store: aliases and tags in MLflow, accounts in Airflow, a run's outcome."""

import hashlib
import posixpath
import re
from datetime import UTC, datetime
from enum import StrEnum


class Alias(StrEnum):
    """The pointers of a registered model."""

    CHAMPION = "champion"
    CANDIDATE = "candidate"
    PREVIOUS_CHAMPION = "previous_champion"
    CI_SMOKE = "ci-smoke"
    SMOKE = "smoke"


# In front of what Podium itself writes to MLflow.
OWN_PREFIX = "podium."


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
    DATA_SOURCE = "podium.data_source"
    # The manifest that was proved when the model was saved, on its training run.
    PROVED = "podium.proved"
    PICKLE = "podium.pickle"
    GIT_COMMIT = "podium.git_commit"
    GATES = "podium.gates"
    DECIDED_BY = "podium.decided_by"
    DECISION_REASON = "podium.decision_reason"
    ROLLED_BACK = "podium.rolled_back"
    LEDGER_HEAD = "podium.ledger_head"
    MIRRORED = "podium.mirrored"
    AIRFLOW_RUN = "podium.airflow_run"
    MONITORED = "podium.monitored"
    PROBLEM = "podium.problem"
    DELETED_INPUTS = "podium.deleted_inputs"
    # On a run whose model no version names: since when retention reports it.
    ORPHAN_SINCE = "podium.orphan_since"
    RETENTION = "podium.retention"
    RETIRED = "podium.retired"
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

# MLflow's account that alone deletes files; its password is for the Dag `retention`, and for no other task.
RETENTION = "retention"
RETENTION_PASSWORD = "MLFLOW_RETENTION_PASSWORD"  # noqa: S105 - the name of the variable


def password_variables() -> dict[str, str]:
    """Return the variable with the password of each login."""
    return {login: f"PODIUM_{login.upper()}_PASSWORD" for login, _ in PEOPLE} | {
        LOOKUP_ACCOUNT: LOOKUP_PASSWORD
    }


def version_name(version: int | None) -> str:
    """Return ``v3`` for 3 and ``none`` for no version, as messages and tables show it."""
    return "none" if version is None else f"v{version}"


_DIRTY = "-dirty"


def short_commit(commit: str) -> str:
    """Return the first letters of a commit, and that files differed from it, as cards show it."""
    return commit.removesuffix(_DIRTY)[:12] + (_DIRTY if commit.endswith(_DIRTY) else "")


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
    """What ended a lifecycle run, as the ledger says."""

    PROMOTED = "promoted"
    REJECTED = "rejected"
    EXPIRED = "expired"
    SUPERSEDED = "superseded"
    VOIDED = "voided"
    REFUSED = "refused"
    NOTHING_TO_PROMOTE = "nothing_to_promote"
    ONLY_A_PROFILE = "only_a_profile"
    OLDER_DATA = "older_data"
    RAMP_ENDED = "ramp_ended"
    FAILED = "failed"
    UNDECIDED = "undecided"


CHAMPION = "champion"
CANDIDATE = "candidate"
# What a gate can be held against besides the trainer's baselines.
VERSIONS = (CHAMPION, CANDIDATE)


# MLflow's rule for metrics and params: letters, digits and `/_.- :`, a normal path, 250 characters. Another
# character is written `_x0040_`, as in names of XML; so is an underscore that would begin such a group.
# https://github.com/mlflow/mlflow/blob/v3.17.2/mlflow/utils/validation.py
LONGEST_IN_MLFLOW = 250
_REFUSED = re.compile(r"[^/\w.\- :]|_(?=x[0-9A-F]{4})")
_WRITTEN = re.compile(r"_x([0-9A-F]{4,6})_")
_DIGEST_DIGITS = 16


def name_in_mlflow(name: str) -> str:
    """Return the name under which MLflow keeps a metric or a param, whatever it is called.

    ``trainer.hit@1`` is ``trainer.hit_x0040_1``; a name that MLflow takes stays as it is. Two names are never
    one; one that is too long for MLflow ends in a digest.
    """
    written = _REFUSED.sub(_written, name)
    for sign in "/.":
        if _is_no_path(written):
            written = written.replace(sign, f"_x{ord(sign):04X}_")
    if len(written) <= LONGEST_IN_MLFLOW:
        return written
    digest = hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()[:_DIGEST_DIGITS]
    return f"{written[: LONGEST_IN_MLFLOW - _DIGEST_DIGITS - 1]}_{digest}"


def name_from_mlflow(stored: str) -> str:
    """Return the name that ``name_in_mlflow`` wrote so, for people and gates."""
    return _WRITTEN.sub(lambda group: chr(min(int(group[1], 16), 0x10FFFF)), stored)


def _written(refused: re.Match[str]) -> str:
    return f"_x{ord(refused[0]):04X}_"


def _is_no_path(name: str) -> bool:
    return posixpath.normpath(name) != name or name == "." or name.startswith(("..", "/"))
