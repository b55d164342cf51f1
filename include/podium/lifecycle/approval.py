"""The record of an approval: one request, the answers to it and one decision per run.

A request is bound to what the approver is shown: version, manifest, gate report, champion, and what the
run's form asked for. A decision holds for exactly that; if any of it changed, the answer is void.
``approval_policy`` says which answers are valid.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from textwrap import shorten
from typing import Any

from podium.errors import ApprovalNotGiven, NotApproved, NotFound, PodiumError, Refused, RequesterUnknown
from podium.gates.report import GateReport
from podium.ledger import history
from podium.ledger.events import Event, EventKind, NewEvent
from podium.ledger.history import DECISIONS, GATES, REMOVAL, VERDICT
from podium.lifecycle import canary
from podium.lifecycle.approval_policy import (
    APPROVE,
    REASON_MAX_LENGTH,
    Act,
    Answer,
    Request,
    act_of,
    form_digest,
    problems,
    removal_name,
    rollback_name,
    who_may_decide,
)
from podium.lifecycle.data_age import describe_as_of
from podium.lifecycle.witness import record, record_refusal
from podium.model_file.approval import ApprovalSpec, login_key
from podium.names import in_utc, version_name
from podium.services import Services
from podium.text import visible

log = logging.getLogger(__name__)

_SHOWN_OF_A_FORM = 300
# In the details of a rejection the answer that it is, and of an answer the decision that was there before.
_ANSWER, _CAME_AFTER = "answer", "came_after"
_ANSWERS = (EventKind.ASKED_AGAIN, EventKind.ANSWER_INVALID, EventKind.APPROVAL_GIVEN)


def open_request(  # noqa: PLR0913 - what a run asks for, and who asked for the run
    services: Services,
    policy: ApprovalSpec,
    model: str,
    run: str,
    requester: str | None = None,
    form: Mapping[str, Any] | None = None,
    *,
    started_again: bool = False,
) -> Request:
    """Record that a run asks for a decision on what it nominated; a run's first request stays as it is.

    All that the request is bound to comes from the ledger: what tasks hand to each other could be forged.

    A request that a newer candidate overtook is closed at once, as superseded.

    Args:
        services: The registry and the ledger.
        policy: The model file's approval section.
        model: The registered model.
        run: The Airflow run.
        requester: Who triggered it; None for a scheduled run.
        form: What its form asked for, without what was left empty.
        started_again: A backfill may have started the run again.

    Raises:
        NotFound: The run nominated nothing, or the ledger holds no manifest or gate report of it.
        RequesterUnknown: The run asks for the first time, and a backfill may have started it again.
    """
    if found := services.ledger.find(request_key(run)):
        return request_of(found)
    if started_again:
        raise RequesterUnknown(run)
    with services.ledger.lock(model):
        return _open_request(services, policy, model, run, requester, form or {})


def _open_request(  # noqa: PLR0913 - as above
    services: Services,
    policy: ApprovalSpec,
    model: str,
    run: str,
    requester: str | None,
    form: Mapping[str, Any],
) -> Request:
    nominated = services.ledger.find(f"nominated:{run}")
    if nominated is None or nominated.model != model or nominated.version is None:
        raise NotFound(f"the ledger holds no nomination of run {run}: clear its task 'nominate'")
    events = services.ledger.present(model, nominated.version)
    asked = NewEvent(
        event=EventKind.APPROVAL_REQUESTED,
        model=model,
        version=nominated.version,
        from_version=nominated.from_version,
        run=run,
        details={
            "requester": requester,
            "form": dict(form),
            "manifest": manifest_digest(events, nominated.version),
            "gates": gate_report(events, nominated.version).details["digest"],
        },
    )
    request = ask(services, policy, asked)
    newer = [later for later in events if later.event is EventKind.NOMINATED and later.seq > nominated.seq]
    if newer:
        reason = _overtaken_by(services, newer[-1])
        record(services, _decision(request, EventKind.SUPERSEDED, "podium", reason))
    return request


def ask(services: Services, policy: ApprovalSpec, asked: NewEvent) -> Request:
    """Record a request; a run's first one stays as it is.

    Args:
        services: The registry and the ledger.
        policy: The model file's approval section.
        asked: What is asked: model, version, champion and run, and in its details what it is bound to.
    """
    details = {"requester": None, "form": {}, **asked.details}
    event = replace(
        asked,
        reason=f"waits for {who_may_decide(policy)}",
        key=request_key(str(asked.run)),
        details={
            **details,
            "form_digest": form_digest(details["form"]),
            "expires_after_seconds": policy.expires_after.total_seconds(),
        },
    )
    return request_of(record(services, event))


def void_changed_form(services: Services, request: Request, form: Mapping[str, Any]) -> Event | None:
    """Void a request whose run has another form by now, and return the decision; None if it is the same.

    Args:
        services: The registry and the ledger.
        request: What was asked; one of an older Podium knows no form.
        form: What the run's form asks for now, without what was left empty.
    """
    if request.form_digest in (None, form_digest(form)):
        return None
    reason = f"the run's form was changed; it is now: {shorten(describe_form(form), _SHOWN_OF_A_FORM)}"
    return void(services, request, reason)


def void(services: Services, request: Request, reason: str) -> Event:
    """Void a request, and return the decision; the run's first one stays as it is."""
    return record(services, _decision(request, EventKind.VOIDED, "podium", reason))


def describe_form(form: Mapping[str, Any] | None) -> str:
    """Say what a form asked for."""
    return ", ".join(f"{key} {json.dumps(value)}" for key, value in sorted((form or {}).items())) or "nothing"


def find_request(services: Services, run: str) -> Request:
    """Return the request of a run.

    Raises:
        NotFound: The run has asked nobody.
    """
    event = services.ledger.find(request_key(run))
    if event is None:
        raise NotFound(f"the ledger holds no approval request of run {run}")
    return request_of(event)


def waiting(services: Services, events: Iterable[Event], but_for: str) -> Event | None:
    """Return the newest nomination if people are, or will be, asked about it; None if nobody is.

    Args:
        services: The registry and the ledger.
        events: The model's history.
        but_for: A run whose own nomination does not count.
    """
    nominated = [event for event in events if event.event is EventKind.NOMINATED]
    if not nominated or nominated[-1].run == but_for:
        return None
    run = str(nominated[-1].run)
    request = services.ledger.find(request_key(run))
    expired = request is not None and request_of(request).expires_at <= datetime.now(UTC)
    return None if expired or is_closed(services, run) else nominated[-1]


def open_requests(events: Iterable[Event]) -> list[Request]:
    """Return the requests of a history that have no decision yet, oldest first.

    Raises:
        PodiumError: One cannot be read.
    """
    return [request_of(event) for event in _undecided(events)]


def readable_requests(events: Iterable[Event]) -> list[Request]:
    """Return the same for lists of many models: what cannot be read is logged, and hides no other."""
    found = []
    for event in _undecided(events):
        try:
            found.append(request_of(event))
        except PodiumError as error:
            log.error("%s", error)
    return found


def find_decision(services: Services, run: str) -> Event | None:
    """Return the run's decision, one of ``history.DECISIONS``, or None.

    Raises:
        ApprovalNotGiven: It is an approval, and the answers that it is made of are not on record.
    """
    decision = services.ledger.find(_decision_key(run))
    if decision is not None:
        _refuse_not_given(services, decision)
    return decision


def is_closed(services: Services, run: str) -> bool:
    """Tell whether a run has its decision: whoever is asked still, is asked for nothing."""
    return services.ledger.find(_decision_key(run)) is not None


def _refuse_not_given(services: Services, decision: Event) -> None:
    """Stop at an approval that somebody else than Podium wrote into the ledger.

    An older Podium kept no answer beside its decision; its requests have no digest of a form.
    """
    if decision.event is not EventKind.APPROVED:
        return
    run = str(decision.run)
    asked = services.ledger.find(request_key(run))
    if asked is not None and asked.seq < decision.seq and "form_digest" not in asked.details:
        return
    people = decision.details.get("approved_by") or [decision.actor]
    since = [] if asked is None else services.ledger.of_run(decision.model, run)
    given = {
        login_key(event.actor)
        for event in approvals(since, run)
        if asked is not None and asked.seq < event.seq < decision.seq
    }
    missing = [name for name in people if login_key(str(name)) not in given]
    if missing:
        raise ApprovalNotGiven(
            f"{describe_decision(decision)}. But no such answer of {', '.join(map(str, missing))} is on "
            "record, so nothing is promoted. Somebody with the ledger's password wrote event "
            f"{decision.seq}: find out who, change the password, and trigger a new run"
        )


def find_approval(services: Services, model: str, run: str) -> Event:
    """Return the decision by which a run may promote.

    Raises:
        NotApproved: There is no decision of this run on record; this try of it is recorded.
        ApprovalNotGiven: There is an approval, and the answers that it is made of are not on record.
        Refused: The decision was no approval.
    """
    try:
        return approved_decision(services, model, run)
    except NotApproved as error:
        record_refusal(services, NewEvent(EventKind.PROMOTION_STARTED, model, run=run), error)
        raise


def approved_decision(services: Services, model: str, run: str) -> Event:
    """Return the decision of a run if it is an approval; raises as ``find_approval``, and records nothing."""
    decision = find_decision(services, run)
    if decision is None or decision.model != model:
        raise NotApproved(
            f"the ledger holds no decision of run {run}: nobody has approved. Marking a task as success "
            "approves nothing. Clear the approval task, and decide in Airflow's required actions."
        )
    if decision.event is not EventKind.APPROVED:
        what = "removed" if act_of(decision) is Act.REMOVAL else "moved"
        raise Refused(f"{describe_decision(decision)}; nothing is {what}")
    return decision


def gate_report(events: Iterable[Event], version: int) -> Event:
    """Return the newest gate report of a version.

    Raises:
        NotFound: There is none.
    """
    report = history.gate_report(events, version)
    if report is None:
        raise NotFound(f"the ledger holds no gate report of {version_name(version)}")
    return report


def report_of(event: Event) -> GateReport:
    """Return the gate report that an event holds.

    Raises:
        PodiumError: It holds none that can be read.
    """
    try:
        return GateReport.from_json(event.details)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise PodiumError(
            f"{event.model} {version_name(event.version)}: event {event.seq} of the ledger holds no readable "
            f"gate report; `podium verify {event.model}` says more"
        ) from error


def report_asked_about(events: Iterable[Event], request: Request) -> GateReport:
    """Return the report that people are asked about; where the gates ran again, not the newer one.

    Args:
        events: The present of the model, with the request's version.
        request: What was asked.

    Raises:
        NotFound: There is none.
        PodiumError: It cannot be read.
    """
    reports = [event for event in events if event.event in GATES and event.version == request.version]
    bound = [event for event in reports if event.details.get("digest") == request.gates]
    if not bound:
        raise NotFound(f"the ledger holds no gate report of {request.model} {version_name(request.version)}")
    return report_of(bound[-1])


def manifest_digest(events: Iterable[Event], version: int) -> str:
    """Return the digest of a version's manifest.

    Raises:
        NotFound: There is none.
    """
    registered = history.registration(events, version)
    if registered is None:
        raise NotFound(f"the ledger holds no manifest of {version_name(version)}: Podium did not register it")
    return str(registered.details["manifest_digest"])


def approvals(events: Iterable[Event], run: str) -> list[Event]:
    """Return the approvals of a run that count, oldest first."""
    return [event for event in answers(events, run) if event.event is EventKind.APPROVAL_GIVEN]


def answers(events: Iterable[Event], run: str) -> list[Event]:
    """Return what a run was answered so far without a decision: invalid and lost answers, approvals."""
    return [event for event in events if event.event in _ANSWERS and event.run == run]


def judge(
    services: Services, policy: ApprovalSpec, request: Request, answer: Answer, champion: int | None
) -> Event:
    """Record an answer, and the decision if there is one now.

    Args:
        services: The registry and the ledger.
        policy: The model file's approval section.
        request: What was asked.
        answer: The answer; judged again, the same answer has the same record.
        champion: The live champion.

    Returns:
        The decision (one of ``history.DECISIONS``), or an ``approval_given`` or ``answer_invalid`` event,
        after which the question stays open.
    """
    taken = take_answer(services, policy, request, answer)
    return decide(services, policy, request, champion) or taken


def take_answer(services: Services, policy: ApprovalSpec, request: Request, answer: Answer) -> Event:
    """Record what an answer amounts to; taken again, the same answer has the same record.

    A valid rejection decides at once. A valid approval is left for ``decide``, so that where people answer at
    the same moment the rejection wins.

    Args:
        services: The registry and the ledger.
        policy: The model file's approval section.
        request: What was asked.
        answer: The answer.

    Returns:
        The rejection, or an ``approval_given`` or ``answer_invalid`` event; ``is_late`` tells an answer to a
        request that was decided before.

    Raises:
        ApprovalNotGiven: The run is approved already, and nobody on record did it; this answer is on record.
    """
    answered = _answered(request, answer)
    if found := services.ledger.find(str(answered.key)):
        return found
    if decision := services.ledger.find(_decision_key(request.run)):
        # First on record, then looked at: whatever is wrong with the decision, the answer is not lost.
        taken = decision if _is_by(decision, answered) else _record_late(services, answered, decision)
        _refuse_not_given(services, decision)
        return taken
    events = services.ledger.present(request.model, request.version, run=request.run)
    wrong = problems(policy, request, answer, approvals(events, request.run))
    if answer.option == APPROVE and request.act is Act.PROMOTION:
        wrong += canary.problems(services, events, request.candidate, answer.at)
    late = answer.at >= request.expires_at
    if late:
        wrong.append(f"the request expired on {in_utc(request.expires_at)}")
    if wrong:
        invalid = record(services, replace(answered, event=EventKind.ANSWER_INVALID, reason="; ".join(wrong)))
        if late:
            record_expiry(services, request)
        return invalid
    if answer.option == APPROVE:
        return record(services, answered)
    rejected = _decision(
        request, EventKind.REJECTED, answered.actor, answered.reason, {_ANSWER: answered.key}
    )
    decision = record(services, rejected)
    return decision if _is_by(decision, answered) else _record_late(services, answered, decision)


def is_late(taken: Event) -> bool:
    """Tell whether an answer came when its request was decided already."""
    return _CAME_AFTER in taken.details


def decide(services: Services, policy: ApprovalSpec, request: Request, champion: int | None) -> Event | None:
    """Return the decision of a run; makes it where enough people have approved, and None while some miss.

    Args:
        services: The registry and the ledger.
        policy: The model file's approval section.
        request: What was asked.
        champion: The live champion.
    """
    if decision := find_decision(services, request.run):
        return decision
    events = services.ledger.present(request.model, request.version, run=request.run)
    # Two answers of one person at the same moment are both on record, and are one approval.
    given = {login_key(event.actor): event for event in reversed(approvals(events, request.run))}
    if not given:
        return None
    if changed := changes_since(request, events, champion):
        return record(services, _decision(request, EventKind.VOIDED, "podium", "; ".join(changed)))
    if len(given) < policy.required:
        return None
    people = [event.actor for event in reversed(given.values())]
    reasons = "; ".join(event.reason for event in reversed(given.values()))
    valid_until = (datetime.now(UTC) + policy.valid_for).isoformat()
    approved = {"valid_until": valid_until, "approved_by": people}
    return record(services, _decision(request, EventKind.APPROVED, ", ".join(people), reasons, approved))


def changes_since(request: Request, events: Sequence[Event], champion: int | None) -> list[str]:
    """Say what the request is bound to and is not so any more; empty if an answer still holds.

    Args:
        request: What was asked.
        events: The model's history.
        champion: The live champion.
    """
    if request.version is None:
        # Whether something keeps a version is asked again right before it goes.
        return []
    changed = []
    if champion != request.champion:
        changed.append(
            f"the champion was {version_name(request.champion)} and is {version_name(champion)} now"
        )
    if request.act is Act.PROMOTION:
        report = gate_report(events, request.version)
        if report.details["digest"] != request.gates:
            changed.append(f"the gates ran again since, with a different report: {report.reason}")
    if manifest_digest(events, request.version) != request.manifest:
        changed.append("its manifest has changed")
    away = history.rolled_away(events, request.version)
    if away is not None and away.seq > request.seq:
        changed.append(f"it was rolled back on {in_utc(away.at)} by {away.actor}: {away.reason}")
    return changed


def record_expiry(services: Services, request: Request) -> Event:
    """Record that nobody gave a valid answer in time; the run's first decision stays as it is."""
    reason = f"no valid answer until {in_utc(request.expires_at)}"
    return record(services, _decision(request, EventKind.EXPIRED, "podium", reason))


def record_asked_again(services: Services, request: Request, try_number: int) -> Event:
    """Record that a request is put up once more though nobody answered it on record.

    Its task was cleared, or Airflow lost an answer: one given within a second of parking can be.
    """
    return record(
        services,
        NewEvent(
            event=EventKind.ASKED_AGAIN,
            model=request.model,
            version=request.version,
            from_version=request.champion if request.act is Act.ROLLBACK else None,
            reason="the task was cleared, or Airflow lost an answer given within a second of asking",
            run=request.run,
            key=f"asked_again:{request.run}:{try_number}",
            details=_about(request),
        ),
    )


def supersede(services: Services, nominated: Event) -> list[Event]:
    """Close the pending requests of a model's other runs, because of a newer candidate.

    One that nobody has answered in time, and that nobody has closed yet, is closed as expired.

    Args:
        services: The registry and the ledger.
        nominated: The newer candidate's nomination.

    Returns:
        How they were closed, also by an earlier try: their own tasks never heard of it.
    """
    model, run = nominated.model, nominated.run
    events = services.ledger.present(model)
    since = {event.run: event.seq for event in events if event.event is EventKind.NOMINATED}
    reason = _overtaken_by(services, nominated)
    for request in open_requests(events):
        if request.act is not Act.PROMOTION or since.get(request.run, 0) >= nominated.seq:
            continue
        if request.expires_at <= datetime.now(UTC):
            record_expiry(services, request)
        else:
            record(services, _decision(request, EventKind.SUPERSEDED, "podium", reason, {"by": run}))
    closed = services.ledger.history(model, after=nominated.seq, kinds=[EventKind.SUPERSEDED])
    return [event for event in closed if event.details.get("by") == run]


def describe_decision(decision: Event) -> str:
    """Say who decided what and why."""
    match act_of(decision):
        case Act.PROMOTION:
            name = f"{decision.model} {version_name(decision.version)}"
        case Act.ROLLBACK:
            name = f"{decision.model}: {rollback_name(decision.from_version, decision.version)}"
        case Act.REMOVAL:
            name = f"{decision.model}: {removal_name(decision.details[REMOVAL])}"
    return f"{name} was {decision.event} by {decision.actor}: {decision.reason}"


def _overtaken_by(services: Services, newer: Event) -> str:
    """Say which candidate took a request's place, and as of when its data is."""
    events = services.ledger.present(newer.model, newer.version)
    since = describe_as_of(events, newer.version)
    return f"{version_name(newer.version)} of run {newer.run} is a newer candidate{since}"


def _answered(request: Request, answer: Answer) -> NewEvent:
    """Describe an answer as one approval of several; what else it amounts to replaces that.

    Of a reason that does not count, what can be read is kept.
    """
    reason = visible(answer.reason.strip()[:REASON_MAX_LENGTH])
    return NewEvent(
        event=EventKind.APPROVAL_GIVEN,
        model=request.model,
        version=request.version,
        from_version=request.champion if request.act is Act.ROLLBACK else None,
        actor=answer.name,
        reason=reason,
        run=request.run,
        key=f"answer:{request.run}:{answer.at.astimezone(UTC).isoformat()}:{login_key(answer.name)}",
        details={"option": answer.option, "reason": reason, "at": answer.at.isoformat(), **_about(request)},
    )


def _about(request: Request) -> dict[str, int]:
    """Return what tells events about a rollback, and about a removal, from those about a promotion."""
    about = {VERDICT: request.verdict or 0, REMOVAL: request.removes}
    return {name: value for name, value in about.items() if value}


def _is_by(decision: Event, answered: NewEvent) -> bool:
    return decision.details.get(_ANSWER) == answered.key


def _record_late(services: Services, answered: NewEvent, decision: Event) -> Event:
    reason = f"it came after the request was closed: {describe_decision(decision)}"
    details = {**answered.details, _CAME_AFTER: decision.seq}
    return record(services, replace(answered, event=EventKind.ANSWER_INVALID, reason=reason, details=details))


def _decision(
    request: Request, kind: EventKind, actor: str, reason: str, more: Mapping[str, Any] | None = None
) -> NewEvent:
    return NewEvent(
        event=kind,
        model=request.model,
        version=request.version,
        from_version=request.champion,
        actor=actor,
        reason=reason,
        run=request.run,
        key=_decision_key(request.run),
        details={
            "request": request.seq,
            "manifest": request.manifest,
            "gates": request.gates,
            **_about(request),
            **(more or {}),
        },
    )


def _undecided(events: Iterable[Event]) -> list[Event]:
    pending: dict[str | None, Event] = {}
    for event in events:
        if event.event is EventKind.APPROVAL_REQUESTED:
            pending[event.run] = event
        elif event.event in DECISIONS:
            pending.pop(event.run, None)
    return list(pending.values())


def request_of(event: Event) -> Request:
    """Return what an event ``approval_requested`` asks.

    Raises:
        NotFound: It names no version.
        PodiumError: It cannot be read.
    """
    if event.run is None or (event.version is None and act_of(event) is not Act.REMOVAL):
        raise NotFound(f"{event.model}: approval request {event.seq} names no version")
    try:
        waits = timedelta(seconds=event.details["expires_after_seconds"])
        return Request(
            seq=event.seq,
            model=event.model,
            version=event.version,
            champion=event.from_version,
            run=event.run,
            requester=event.details["requester"],
            manifest=event.details["manifest"],
            gates=event.details["gates"],
            expires_at=event.at + waits,
            waits=waits,
            form=event.details.get("form"),
            form_digest=event.details.get("form_digest"),
            verdict=event.details.get(VERDICT),
            why=event.details.get("why", ""),
            removes=event.details.get(REMOVAL, 0),
        )
    except (KeyError, TypeError, AttributeError, OverflowError) as error:
        raise PodiumError(
            f"{event.model} {version_name(event.version)}: approval request {event.seq} of the ledger cannot "
            f"be read ({error!r}); `podium verify {event.model}` says more"
        ) from error


def request_key(run: str) -> str:
    """Name the request of a run."""
    return f"approval_requested:{run}"


def _decision_key(run: str) -> str:
    return f"decision:{run}"
