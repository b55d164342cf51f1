"""What can happen to a version: the events of the ledger, and the hash that chains them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from podium.errors import PodiumError

FIRST_PREVIOUS_HASH = "0" * 64
_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False).encode


class EventKind(StrEnum):
    """What can happen to a version.

    What only a newer Podium knows is a kind too, but not among these: so each reader can go on.
    """

    REGISTERED = "registered"
    GATES_PASSED = "gates_passed"
    GATES_REFUSED = "gates_refused"
    NOMINATED = "nominated"
    NOMINATION_REFUSED = "nomination_refused"
    APPROVAL_REQUESTED = "approval_requested"
    ASKED_AGAIN = "asked_again"
    ANSWER_INVALID = "answer_invalid"
    APPROVAL_GIVEN = "approval_given"
    APPROVED = "approved"
    REJECTED = "rejected"
    EXPIRED = "expired"
    SUPERSEDED = "superseded"
    VOIDED = "voided"
    PROMOTION_STARTED = "promotion_started"
    PROMOTED = "promoted"
    PROMOTION_REFUSED = "promotion_refused"
    ROLLBACK_STARTED = "rollback_started"
    ROLLED_BACK = "rolled_back"
    ROLLBACK_REFUSED = "rollback_refused"
    MOVED_OUTSIDE = "moved_outside"
    REVERT_STARTED = "revert_started"
    OUTSIDE_MOVE_REVERTED = "outside_move_reverted"
    SHADOW_SCORED = "shadow_scored"
    ACCEPTANCE_GIVEN = "acceptance_given"
    SETTLEMENT_REFUSED = "settlement_refused"
    OUTSIDE_MOVE_ACCEPTED = "outside_move_accepted"
    REFERENCE_MADE = "reference_made"
    WINDOWS_JUDGED = "windows_judged"
    RETRAIN_WANTED = "retrain_wanted"
    WATCH_JUDGED = "watch_judged"
    WATCH_FROZE = "watch_froze"
    WATCH_SETTLED = "watch_settled"
    RAMP_STEP = "ramp_step"
    RAMP_ENDED = "ramp_ended"
    ADOPTED = "adopted"
    CHAMPION_ADOPTED = "champion_adopted"
    ADOPTION_REFUSED = "adoption_refused"
    HELD = "held"
    HOLD_RELEASED = "hold_released"
    COPIED_TO = "copied_to"
    QUARANTINED = "quarantined"
    RESTORED = "restored"
    REMOVAL_PROPOSED = "removal_proposed"
    REMOVAL_DONE = "removal_done"
    DELETION_STARTED = "deletion_started"
    DELETION_FAILED = "deletion_failed"
    DELETED = "deleted"
    RETENTION_CHECKED = "retention_checked"
    ORPHANS_REPORTED = "orphans_reported"
    ORPHAN_DELETED = "orphan_deleted"
    TRIALS_THINNED = "trials_thinned"
    RETIRED = "retired"
    RETIREMENT_UNDONE = "retirement_undone"

    @property
    def is_known(self) -> bool:
        """False for what only a newer Podium knows."""
        return self.name in EventKind.__members__

    @classmethod
    def _missing_(cls, value: object) -> EventKind | None:
        if not isinstance(value, str):
            return None
        kind = str.__new__(cls, value)
        kind._name_ = f"unknown {value}"
        kind._value_ = value
        return kind


CHAMPION_MOVES = (
    EventKind.PROMOTED,
    EventKind.ROLLED_BACK,
    EventKind.OUTSIDE_MOVE_ACCEPTED,
    EventKind.CHAMPION_ADOPTED,
)
# What holds a version's training run and manifest: made here, or made elsewhere and taken over.
ENTERED = (EventKind.REGISTERED, EventKind.ADOPTED)


@dataclass(frozen=True)
class NewEvent:
    """What is to be recorded.

    Attributes:
        event: What happened.
        model: The registered model.
        version: The version it is about.
        from_version: The champion before: of a move the way back, else the one compared with.
        actor: Who: the name that Airflow's login gave, or ``podium`` for an automatic step.
        reason: Why, in words.
        run: The Airflow run, as ``dag_id/run_id``.
        key: Written once; None for events that may repeat.
        details: Further facts, as JSON.
    """

    event: EventKind
    model: str
    version: int | None = None
    from_version: int | None = None
    actor: str = "podium"
    reason: str = ""
    run: str | None = None
    key: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Event:
    """One recorded event; see ``NewEvent`` for what is not listed here.

    Attributes:
        seq: 1, 2, ... over all models.
        at: When the ledger database wrote it; never before the event before.
        previous_hash: The hash of the event before.
        hash: ``event_hash`` of all else.
    """

    seq: int
    at: datetime
    event: EventKind
    model: str
    version: int | None
    from_version: int | None
    actor: str
    reason: str
    run: str | None
    key: str | None
    details: Mapping[str, Any]
    previous_hash: str
    hash: str

    def as_json(self) -> dict[str, Any]:
        """Return the event with plain JSON values; ``at`` in ISO 8601, UTC."""
        return {**vars(self), "at": self.at.astimezone(UTC).isoformat(), "event": str(self.event)}

    def problem(self) -> str | None:
        """Say what of this event is not as it was recorded; None: nothing."""
        if self.hash == event_hash(self.as_json()):
            return None
        return f"event {self.seq} was changed: its hash does not match its content"

    def without_details(self) -> dict[str, Any]:
        """Return what ``as_json`` does but for the details, which may hold what not every program takes."""
        return {name: value for name, value in self.as_json().items() if name != "details"}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Event:
        """Return the event that ``as_json`` wrote.

        Raises:
            PodiumError: It is none: a field is missing, unknown or of another kind.
        """
        try:
            at, kind = datetime.fromisoformat(content["at"]), EventKind(content["event"])
            if at.astimezone(UTC).isoformat() != content["at"]:
                raise ValueError(f"at: {content['at']!r} is not in the format of the ledger")
            json.dumps(content["details"], allow_nan=False)
            return cls(**{**content, "at": at, "event": kind})
        except (KeyError, TypeError, ValueError) as error:
            raise PodiumError(f"not an event of the ledger: {error}") from error


def event_hash(content: Mapping[str, Any]) -> str:
    """Return the sha256 of an event's canonical text.

    Args:
        content: The event as ``Event.as_json`` gives it.
    """
    return hashlib.sha256(canonical_text(content).encode()).hexdigest()


def canonical_text(content: Mapping[str, Any]) -> str:
    """Return the text of an event that is hashed: all but its own hash, as canonical JSON.

    Args:
        content: The event as ``Event.as_json`` gives it.
    """
    return canonical_json({name: value for name, value in content.items() if name != "hash"})


def canonical_json(content: Mapping[str, Any]) -> str:
    """Return the one text that stands for a content: JSON with sorted keys, no spaces, ASCII only."""
    return _encode(content)
