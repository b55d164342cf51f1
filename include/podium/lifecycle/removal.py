"""Removals that people decide about: more old versions at once than the model file lets go unasked.

The list of them is evidence in the ledger's database, and its digest is what people approve. Exactly these
versions may go then; what became due meanwhile waits for the next run.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

from podium.errors import NothingToDo, Outage, PodiumError
from podium.ledger import history
from podium.ledger.events import Event, EventKind, NewEvent
from podium.ledger.evidence import Evidence, EvidenceStore
from podium.ledger.history import REMOVAL
from podium.ledger.store import Ledger
from podium.lifecycle import approval
from podium.lifecycle.approval_policy import Act, Request
from podium.lifecycle.proposals import event_about, refuse_late, run_about
from podium.lifecycle.retention import Done, removal_asked, retain
from podium.lifecycle.retention_look import look
from podium.lifecycle.retention_rules import (
    ACTOR,
    Action,
    Approved,
    Verdict,
    counted,
    goes,
    must_ask,
    summary,
)
from podium.lifecycle.witness import record
from podium.model_file.approval import ApprovalSpec
from podium.model_file.loading import find_spec
from podium.model_file.spec import ModelSpec
from podium.services import Services

log = logging.getLogger(__name__)

# The Dag that asks, and how its runs are named.
DAG = "propose_removal"
_WHAT = "proposal"
_BEGUN = (EventKind.QUARANTINED, EventKind.DELETION_STARTED)


@dataclass(frozen=True)
class Listed:
    """A version on the list that people decide about.

    Attributes:
        version: 1, 2, ...
        action: What is to happen to it.
        digest: Of its manifest.
        bytes: The size of all its files.
        registered_at: When.
    """

    version: int
    action: Action
    digest: str
    bytes: int
    registered_at: datetime


def run_of(proposal: Event) -> str:
    """Name the run that asks about a removal."""
    return run_about(DAG, _WHAT, proposal)


def propose(services: Services, spec: ModelSpec, run: str, requester: str | None) -> Event | None:
    """Record that people are to be asked, where more than goes unasked would go now.

    Args:
        services: The registry and the ledger.
        spec: The model file.
        run: The run of retention; it proposes once.
        requester: Who triggered it; None for a schedule.

    Returns:
        The event; None where nobody needs to be asked, or is asked already.

    Raises:
        Outage: A part did not answer.
    """
    model, key = spec.name, f"{EventKind.REMOVAL_PROPOSED}:{run}:{spec.name}"
    if spec.retention is None:
        return None
    events = services.ledger.present(model)
    if history.damage(events) is not None:
        return None
    if found := services.ledger.find(key):
        return found
    seen = look(services, model, spec.retention, events=events)
    for request in approval.open_requests(seen.events):
        if request.act is Act.REMOVAL and request.expires_at <= datetime.now(UTC):
            # Its run is gone, and nobody else records that.
            approval.record_expiry(services, request)
    if removal_asked(seen.events) is not None or not must_ask(seen.verdicts, spec.retention):
        return None
    going = goes(seen.verdicts)
    evidence = Evidence.of(model, going[0].number, {"versions": [_as_json(one) for one in going]})
    EvidenceStore(services.ledger).keep([evidence])
    proposal = NewEvent(
        EventKind.REMOVAL_PROPOSED,
        model,
        actor=ACTOR,
        reason=f"{summary(going)}: {counted(going)}",
        run=run,
        key=key,
        details={"digest": evidence.digest, "versions": len(going), "requester": requester},
    )
    return record(services, proposal)


def propose_all(services: Services, models: Sequence[str], run: str, requester: str | None) -> list[str]:
    """Propose what must be asked about each model; one that cannot be looked at stops no other.

    Retention looks at it again right afterwards, and fails then.

    Args:
        services: The registry and the ledger.
        models: The registered models.
        run: The run of retention.
        requester: Who triggered it; None for a schedule.

    Returns:
        The runs that are to ask people, and do not yet.

    Raises:
        Outage: A part did not answer; run it again.
    """
    proposals: list[Event] = []
    for model in models:
        try:
            spec = find_spec(services.settings.models_dir, model)
            proposals += filter(None, [propose(services, spec, run, requester)])
        except Outage:
            raise
        except PodiumError as error:
            log.error("%s: nobody is asked: %s", model, error)
    runs = [run_of(one) for one in proposals]
    return [one for one in runs if services.ledger.find(approval.request_key(one)) is None]


def proposal_of(ledger: Ledger, run: str) -> Event:
    """Return the proposal that a run asks about.

    Raises:
        PodiumError: The run is named after no proposal.
        Outage: The ledger did not answer.
    """
    event = event_about(ledger, DAG, _WHAT, run)
    if event is None or event.event is not EventKind.REMOVAL_PROPOSED:
        raise PodiumError(
            f"{run} is named after no proposal of a removal: the Dag retention starts these runs"
        )
    return event


def ask(services: Services, policy: ApprovalSpec, run: str) -> Request:
    """Record that a run asks whether to remove versions; its first request stays as it is.

    Raises:
        NothingToDo: Another removal of this model waits for people.
        PodiumError: The run is named after no proposal.
        Outage: The ledger did not answer.
    """
    ledger = services.ledger
    if found := ledger.find(approval.request_key(run)):
        return approval.request_of(found)
    proposal = proposal_of(ledger, run)
    with ledger.lock(proposal.model):
        if removal_asked(ledger.present(proposal.model)) is not None:
            raise NothingToDo(
                f"{proposal.model}: another removal waits for a decision; nobody is asked twice"
            )
        asked = NewEvent(
            EventKind.APPROVAL_REQUESTED,
            proposal.model,
            run=run,
            details={
                "requester": proposal.details["requester"],
                "manifest": "",
                "gates": proposal.details["digest"],
                REMOVAL: proposal.details["versions"],
                "why": proposal.reason,
            },
        )
        return approval.ask(services, policy, asked)


def versions_asked_about(ledger: Ledger, digest: str) -> list[Listed]:
    """Return the versions on a list, by number.

    Args:
        ledger: In whose database it is.
        digest: Of the list, as the request names it.

    Raises:
        PodiumError: It is not there, or was changed.
        Outage: The ledger did not answer.
    """
    return [_listed(one) for one in EvidenceStore(ledger).one(digest).read()["versions"]]


def remove_approved(services: Services, spec: ModelSpec, password: str, run: str) -> Done:
    """Remove exactly the versions that people approved, as far as nothing keeps them by now.

    Args:
        services: The registry and the ledger.
        spec: The model file.
        password: Of MLflow's account that may delete.
        run: The Airflow run that asked.

    Raises:
        NotApproved: There is no decision of this run on record.
        Refused: The decision was no approval.
        DecisionVoid: The approval is too old.
        Damaged: Files that had to stay are not those that were registered.
        PodiumError: A version could not be deleted; names it.
        Outage: A part did not answer; run it again.
    """
    proposal = proposal_of(services.ledger, run)
    decision = approval.approved_decision(services, proposal.model, run)
    refuse_late(
        services.ledger, decision, _BEGUN, "nothing was removed. The next run of retention asks again"
    )
    listed = versions_asked_about(services.ledger, proposal.details["digest"])
    approved = Approved({one.version: (one.action, one.digest) for one in listed})
    try:
        done = retain(services, spec, password, run, approved)
    except Outage:
        raise
    except PodiumError as error:
        _end(services, spec.name, run, [str(error)])
        raise
    _end(services, spec.name, run, done.kept_meanwhile)
    return done


def _end(services: Services, model: str, run: str, said: Sequence[str]) -> None:
    """Record what a removal came to, with what an earlier try of it did."""
    went: dict[EventKind, list[int]] = defaultdict(list)
    for event in services.ledger.of_run(model, run):
        went[event.event].append(int(event.version or 0))
    moved = Done(model, quarantined=went[EventKind.QUARANTINED], deleted=went[EventKind.DELETED]).went()
    ended = NewEvent(
        EventKind.REMOVAL_DONE,
        model,
        actor=ACTOR,
        reason="; ".join([moved, *said]),
        run=run,
        key=f"removal_done:{run}",
    )
    record(services, ended)


def _as_json(verdict: Verdict) -> dict[str, Any]:
    facts = verdict.facts.record
    listed = Listed(facts.number, verdict.action, facts.digest, facts.size, facts.registered_at)
    return {**asdict(listed), "action": str(verdict.action), "registered_at": facts.registered_at.isoformat()}


def _listed(content: dict[str, Any]) -> Listed:
    read = Listed(**content)
    return replace(
        read,
        action=Action(read.action),
        registered_at=datetime.fromisoformat(content["registered_at"]),
    )
