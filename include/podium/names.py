"""The aliases and tags that Podium writes in MLflow."""

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
