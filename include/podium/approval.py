"""The approval policy: is this answer valid? And its record: one request and one decision per run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from podium.errors import NotFound, version_name
from podium.ledger import Event, EventKind, Ledger, NewEvent, lifecycle_stage
from podium.registry import Alias, Registry, Tag
from podium.spec import ApprovalSpec

APPROVE = "Approve"
REJECT = "Reject"

_STATUS = {
    EventKind.APPROVED: "approved",
    EventKind.REJECTED: "rejected",
    EventKind.EXPIRED: "expired",
}


@dataclass(frozen=True)
class Request:
    """A candidate waiting for a decision.

    Attributes:
        model: The registered model.
        version: The candidate.
        champion: The champion at the time of asking: promotion compares it before it swaps.
        run: The Airflow run that asks, as ``dag_id/run_id``.
        expires_at: When the request is void.
    """

    model: str
    version: int
    champion: int | None
    run: str
    expires_at: datetime


@dataclass(frozen=True)
class Answer:
    """What somebody answered, as Airflow reports it.

    Attributes:
        option: ``Approve`` or ``Reject``.
        reason: The form's reason; may be missing, since Airflow's API does not check forms.
        user: The name that Airflow's login gave, or None.
        at: When it was given.
    """

    option: str
    reason: str
    user: str | None
    at: datetime


def open_request(ledger: Ledger, policy: ApprovalSpec, nomination: Mapping[str, Any], run: str) -> Request:
    """Record that a run asks for a decision; the run's first request stays as it is.

    Args:
        ledger: The ledger.
        policy: The model file's approval section.
        nomination: What ``lifecycle.nominate`` returned: model, version, champion.
        run: The Airflow run.
    """
    event = ledger.append(
        NewEvent(
            event=EventKind.APPROVAL_REQUESTED,
            model=nomination["model"],
            version=nomination["version"],
            from_version=nomination["champion"],
            reason=f"waits for {' or '.join(policy.approvers)}",
            run=run,
            key=_request_key(run),
            details={"expires_after_seconds": policy.expires_after.total_seconds()},
        )
    )
    return _request(event)


def find_request(ledger: Ledger, run: str) -> Request:
    """Return the request of a run.

    Raises:
        NotFound: The run has asked nobody.
    """
    event = ledger.find(_request_key(run))
    if event is None:
        raise NotFound(f"the ledger holds no approval request of run {run}")
    return _request(event)


def open_requests(events: Iterable[Event]) -> list[Request]:
    """Return the requests of a history that have no decision yet, oldest first."""
    pending: dict[str | None, Event] = {}
    for event in events:
        if event.event is EventKind.APPROVAL_REQUESTED:
            pending[event.run] = event
        elif event.event in _STATUS:
            pending.pop(event.run, None)
    return [_request(event) for event in pending.values()]


def find_decision(ledger: Ledger, run: str) -> Event | None:
    """Return the run's decision (approved, rejected or expired), or None."""
    return ledger.find(_decision_key(run))


def problems(policy: ApprovalSpec, answer: Answer) -> list[str]:
    """Say what is wrong with an answer; empty if it is valid."""
    found = []
    if answer.user is None:
        found.append("the answer has no user")
    elif answer.user not in policy.approvers:
        found.append(f"{answer.user} is not an approver (approvers: {', '.join(policy.approvers)})")
    if answer.option not in (APPROVE, REJECT):
        found.append(f"'{answer.option}' is neither {APPROVE} nor {REJECT}")
    if len(answer.reason.strip()) < policy.reason_min_length:
        found.append(
            f"the reason has {len(answer.reason.strip())} characters, "
            f"at least {policy.reason_min_length} are required"
        )
    return found


def record_invalid(ledger: Ledger, request: Request, answer: Answer, found: list[str]) -> Event:
    """Record an answer that was not taken, with what is wrong with it."""
    return ledger.append(
        NewEvent(
            event=EventKind.ANSWER_INVALID,
            model=request.model,
            version=request.version,
            actor=answer.user or "unknown",
            reason="; ".join(found),
            run=request.run,
            details={"option": answer.option, "reason": answer.reason, "at": answer.at.isoformat()},
        )
    )


def record_decision(ledger: Ledger, request: Request, answer: Answer) -> Event:
    """Record a valid answer; the run's first decision stays as it is."""
    kind = EventKind.APPROVED if answer.option == APPROVE else EventKind.REJECTED
    return _record(ledger, request, kind, answer.user or "unknown", answer.reason.strip())


def record_expiry(ledger: Ledger, request: Request) -> Event:
    """Record that nobody gave a valid answer in time; the run's first decision stays as it is."""
    reason = f"no valid answer until {request.expires_at:%Y-%m-%d %H:%M} UTC"
    return _record(ledger, request, EventKind.EXPIRED, "podium", reason)


def mirror_decision(registry: Registry, ledger: Ledger, decision: Event) -> None:
    """Write a version's newest decision to its tags; what was not approved is no candidate any more.

    An older decision is left alone, and so is the candidate while another run asks about it.
    """
    if decision.version is None:
        raise NotFound(f"decision {decision.seq} names no version")
    events = ledger.history(decision.model)
    decisions = [event for event in events if event.event in _STATUS and event.version == decision.version]
    if decisions[-1].seq != decision.seq:
        return
    registry.set_tags(
        decision.model,
        decision.version,
        {
            Tag.APPROVAL_STATUS: _STATUS[decision.event],
            Tag.DECIDED_BY: decision.actor,
            Tag.DECISION_REASON: decision.reason,
        },
    )
    asked = any(request.version == decision.version for request in open_requests(events))
    candidate = registry.aliases(decision.model).get(Alias.CANDIDATE)
    if decision.event is not EventKind.APPROVED and candidate == decision.version and not asked:
        registry.delete_alias(decision.model, Alias.CANDIDATE)
        stage = lifecycle_stage(events, decision.version)
        registry.set_tags(decision.model, decision.version, {Tag.LIFECYCLE_STAGE: stage})


def decision_in_words(decision: Event) -> str:
    """Say who decided what and why."""
    return (
        f"{decision.model} {version_name(decision.version)} was {_STATUS[decision.event]} "
        f"by {decision.actor}: {decision.reason}"
    )


def _record(ledger: Ledger, request: Request, kind: EventKind, actor: str, reason: str) -> Event:
    return ledger.append(
        NewEvent(
            event=kind,
            model=request.model,
            version=request.version,
            from_version=request.champion,
            actor=actor,
            reason=reason,
            run=request.run,
            key=_decision_key(request.run),
        )
    )


def _request(event: Event) -> Request:
    if event.version is None or event.run is None:
        raise NotFound(f"approval request {event.seq} names no version")
    return Request(
        model=event.model,
        version=event.version,
        champion=event.from_version,
        run=event.run,
        expires_at=event.at + timedelta(seconds=event.details["expires_after_seconds"]),
    )


def _request_key(run: str) -> str:
    return f"approval_requested:{run}"


def _decision_key(run: str) -> str:
    return f"decision:{run}"
