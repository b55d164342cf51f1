"""A training that monitoring asked for: what starts it is on record, whatever an asset event says."""

from __future__ import annotations

from collections.abc import Iterable

from podium.errors import PodiumError
from podium.ledger.events import Event, EventKind
from podium.ledger.store import Ledger


def retraining_on_record(ledger: Ledger, model: str, told: Iterable[object]) -> Event:
    """Return the newest event by which monitoring asked for a training.

    Args:
        ledger: The record.
        model: The registered model.
        told: The numbers of the events, as asset events have them.

    Raises:
        PodiumError: They are of no such event: somebody made the asset event by hand.
        Outage: The ledger did not answer.
    """
    numbers = [number for number in told if isinstance(number, int)]
    event = ledger.event(max(numbers)) if numbers else None
    if event is None or (event.event, event.model) != (EventKind.RETRAIN_WANTED, model):
        raise PodiumError(
            f"{model}: an asset event started this run, and nothing on record asked for a training; "
            "trigger the lifecycle yourself instead"
        )
    return event
