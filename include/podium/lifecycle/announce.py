"""Announce: each receiver is told of what is on record, in order and at least once, whoever dies when.

``to_announce`` says of which events a receiver is to be told now, and ``Ledger.move_cursor`` is called once
it was told. Who dies between the two tells it again; who dies before leaves it to the next one who asks.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import takewhile

from podium.errors import Outage
from podium.ledger.events import Event
from podium.ledger.receivers import Receiver
from podium.ledger.store import Ledger
from podium.names import in_utc

# A run that announces what it recorded does so within the first; the second is long enough that its cursor
# has moved before anybody else announces the same.
OWN_RUN = timedelta(minutes=10)
LEFT_OVER = timedelta(minutes=20)


def to_announce(
    ledger: Ledger, receiver: Receiver, *, model: str | None = None, run: str | None = None
) -> list[Event]:
    """Return the events that a receiver is to be told of now, in the order of the ledger.

    Args:
        ledger: The record, which holds the receiver's cursors.
        receiver: Who is to be told.
        model: Only of this model's.
        run: The Airflow run that announces what it recorded itself; None announces the rest: what no run
            recorded, and what its run did not announce within ``LEFT_OVER``.

    Returns:
        Nothing if all was told, nor to a run that asks later than ``OWN_RUN``: reconcile announces it then.

    Raises:
        Outage: The receiver must be told of an earlier event first, or the ledger did not answer; ask again.
        PodiumError: The ledger does not know the receiver: migrate it.
    """
    events, now = ledger.after_cursor(receiver, model)
    if run is not None:
        return _own(events, run, now)
    if receiver.by_their_runs:
        return _left_over(events, now)
    return events


def _own(events: Sequence[Event], run: str, now: datetime) -> list[Event]:
    own = [event for event in events if event.run == run and now - event.at < OWN_RUN]
    if not own:
        return []
    first = events[0]
    if first.run != run:
        by = (
            f"run {first.run}, or reconcile after {in_utc(first.at + LEFT_OVER)}"
            if first.run
            else "reconcile"
        )
        raise Outage(
            f"{first.model}: event {own[0].seq} is announced after event {first.seq}, {first.event}, which "
            f"{by} announces first"
        )
    return list(takewhile(lambda event: event.run == run, events))


def _left_over(events: Sequence[Event], now: datetime) -> list[Event]:
    waiting: set[str] = set()
    left = []
    for event in events:
        if event.run is not None and now - event.at < LEFT_OVER:
            waiting.add(event.model)  # What is behind it waits too, to stay in order.
        if event.model not in waiting:
            left.append(event)
    return left
