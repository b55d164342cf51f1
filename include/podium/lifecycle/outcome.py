"""How a lifecycle run comes out."""

from __future__ import annotations

from podium.errors import Refused
from podium.ledger.events import EventKind
from podium.ledger.history import GATES
from podium.lifecycle.approval import find_approval, find_decision
from podium.names import RunOutcome
from podium.services import Services


def outcome_of(services: Services, model: str, run: str) -> RunOutcome:
    """Say how a run came out, by what the ledger holds of it.

    Raises:
        NotApproved: It was neither decided nor refused: its approval was skipped.
    """
    nominating = (EventKind.NOMINATED, EventKind.NOMINATION_REFUSED)
    decision = find_decision(services, run)
    if decision is None:
        history = services.ledger.history(model)
        reports = [event for event in history if event.run == run and event.event in GATES]
        if reports and reports[-1].version == reports[-1].from_version:
            return RunOutcome.NOTHING_TO_PROMOTE
        if reports and reports[-1].event is EventKind.GATES_REFUSED:
            return RunOutcome.REFUSED_BY_GATES
        nominations = [event for event in history if event.run == run and event.event in nominating]
        if nominations and nominations[-1].event is EventKind.NOMINATION_REFUSED:
            return RunOutcome.ONLY_A_PROFILE
    try:
        find_approval(services, model, run)
    except Refused:
        return RunOutcome(str(decision and decision.event))
    return RunOutcome.PROMOTE
