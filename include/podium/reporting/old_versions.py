"""What old versions of a model wait for, and what an approver can do about it, for the page of the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from podium.ledger.events import EventKind
from podium.lifecycle.approval_policy import Request
from podium.lifecycle.holding import Keeping
from podium.lifecycle.retention import removal_asked
from podium.lifecycle.retention_look import forecast
from podium.lifecycle.retention_rules import Action, Verdict, describe
from podium.model_file.retention import RetentionSpec
from podium.services import Services

# Enough for a screen; `podium retention MODEL --dry-run` shows all.
_SHOWN = 30
_IN_QUARANTINE = (EventKind.QUARANTINED, EventKind.DELETION_FAILED)
_LAST = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True)
class OldVersion:
    """One version that is in quarantine, goes next, or is held.

    Attributes:
        number: 1, 2, ...
        size: Of all its files, in bytes.
        registered_at: When.
        said: What it waits for, or why it stays.
        can: What an approver can do.
    """

    number: int
    size: int
    registered_at: datetime
    said: str
    can: tuple[Keeping, ...]


@dataclass(frozen=True)
class OldVersions:
    """The old versions of a model.

    Attributes:
        sentence: All its versions in one sentence.
        rows: Those that an approver may want to do something about, the next to go first.
        more: How many such are left out.
        asked: The request that asks people whether versions may go, if one is open.
    """

    sentence: str
    rows: Sequence[OldVersion]
    more: int
    asked: Request | None


def old_versions(
    services: Services, model: str, rules: RetentionSpec | None, aliases: Mapping[str, int] | None
) -> OldVersions:
    """Say what the versions of a model wait for, by as many queries for an old model as for a new one.

    Args:
        services: Only the ledger is asked.
        model: The registered model.
        rules: Those of the model file; None: nothing goes.
        aliases: Those in MLflow, which somebody may have set by hand; None: MLflow did not tell.

    Raises:
        Outage: The ledger did not answer.
    """
    seen = forecast(services, model, rules or RetentionSpec(), aliases)
    shown = sorted((one for one in seen.verdicts if _is_shown(one, rules)), key=_order)
    return OldVersions(
        sentence=describe(seen.verdicts),
        rows=[_row(one, rules) for one in shown[:_SHOWN]],
        more=max(len(shown) - _SHOWN, 0),
        asked=removal_asked(seen.events),
    )


def _is_shown(verdict: Verdict, rules: RetentionSpec | None) -> bool:
    record = verdict.facts.record
    if verdict.action is Action.GONE:
        return False
    if record.held_by or record.custody in (*_IN_QUARANTINE, EventKind.DELETION_STARTED):
        return True
    return rules is not None and (verdict.action is Action.QUARANTINE or verdict.due is not None)


def _order(verdict: Verdict) -> tuple[datetime, int]:
    """Put what goes now first, then by the day, and what is only held last."""
    goes_now = verdict.action in (Action.DELETE, Action.QUARANTINE)
    first = datetime.min.replace(tzinfo=UTC)
    return first if goes_now else verdict.until or verdict.due or _LAST, verdict.number


def _row(verdict: Verdict, rules: RetentionSpec | None) -> OldVersion:
    record = verdict.facts.record
    can = []
    if record.custody is not EventKind.DELETION_STARTED:
        can.append(Keeping.RELEASE if record.held_by else Keeping.HOLD)
    if record.custody in _IN_QUARANTINE:
        can.append(Keeping.RESTORE)
    return OldVersion(verdict.number, record.size, record.registered_at, _say(verdict, rules), tuple(can))


def _say(verdict: Verdict, rules: RetentionSpec | None) -> str:
    record = verdict.facts.record
    if record.custody is EventKind.DELETION_STARTED:
        return "is being deleted"
    if verdict.action is Action.QUARANTINE and rules is not None:
        return "goes to quarantine with the next run of retention"
    told = [f"held by {record.held_by} because: {record.held_for}"] if record.held_by else []
    if record.custody in _IN_QUARANTINE:
        told.append(f"in quarantine, {_what_follows(verdict, rules)}")
    elif verdict.due is not None:
        told.append(f"goes to quarantine from {_day(verdict.due)} on")
    return "; ".join(told)


def _what_follows(verdict: Verdict, rules: RetentionSpec | None) -> str:
    if rules is None:
        return "and stays there: the model file has no section retention"
    if verdict.action is Action.WAIT and verdict.until is not None:
        return f"deleted from {_day(verdict.until)} on"
    if verdict.action is Action.DELETE:
        failed = verdict.facts.record.custody is EventKind.DELETION_FAILED
        return "deleted with the next run of retention" + (": a deletion failed before" if failed else "")
    return f"and kept: it {'; it '.join(reason.text for reason in verdict.reasons)}"


def _day(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%-d %b %Y}"
