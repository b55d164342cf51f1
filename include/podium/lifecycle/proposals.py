"""What Podium itself asks people: to roll back a bad champion, to remove many old versions.

What is asked about is an event on record, and the Airflow run that asks is named after it: so it is asked
about once, and a run that somebody starts under another name asks nobody.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime

from podium.errors import DecisionVoid
from podium.ledger.events import Event, EventKind
from podium.ledger.store import Ledger
from podium.lifecycle.approval import describe_decision
from podium.names import in_utc

_LONGEST_NUMBER = 18


def run_about(dag: str, what: str, event: Event) -> str:
    """Name the run of a Dag that asks about an event."""
    return f"{dag}/{what}-{event.seq}"


def event_about(ledger: Ledger, dag: str, what: str, run: str) -> Event | None:
    """Return the event that a run is named after; None if there is none.

    Raises:
        Outage: The ledger did not answer.
    """
    number = run.removeprefix(f"{dag}/{what}-")
    is_one = number.isascii() and number.isdecimal() and len(number) < _LONGEST_NUMBER
    return ledger.event(int(number)) if is_one else None


def refuse_late(ledger: Ledger, decision: Event, begun: Collection[EventKind], said: str) -> None:
    """Refuse an approval that is too old, unless what it allows was begun.

    Args:
        ledger: The ledger.
        decision: The approval.
        begun: What its run records once it begins.
        said: What did not happen, and what to do.

    Raises:
        DecisionVoid: It is too old.
    """
    until = datetime.fromisoformat(decision.details["valid_until"])
    of_run = ledger.of_run(decision.model, str(decision.run))
    if datetime.now(UTC) > until and not any(event.event in begun for event in of_run):
        raise DecisionVoid(f"{describe_decision(decision)}. It was valid until {in_utc(until)}; {said}")
