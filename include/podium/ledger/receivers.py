"""Who must be told of which events. The ledger holds how far each receiver was told: its cursors."""

from __future__ import annotations

from dataclasses import dataclass

from podium.ledger.events import CHAMPION_MOVES, EventKind
from podium.ledger.history import DECISIONS


@dataclass(frozen=True)
class Receiver:
    """Somebody who must be told of events.

    Attributes:
        name: Stored with the cursor. A new name begins at the newest event when the ledger is migrated.
        kinds: The events that it must be told of.
        by_their_runs: Each Airflow run announces what it recorded itself, and reconcile the rest. False:
            one process announces all.
    """

    name: str
    kinds: tuple[EventKind, ...]
    by_their_runs: bool = False


CHAMPION_ASSET = Receiver(
    "asset: champion", (*CHAMPION_MOVES, EventKind.OUTSIDE_MOVE_REVERTED), by_their_runs=True
)
MOVED_OUTSIDE_ASSET = Receiver(
    "asset: champion moved outside",
    (EventKind.MOVED_OUTSIDE, EventKind.OUTSIDE_MOVE_REVERTED, EventKind.OUTSIDE_MOVE_ACCEPTED),
    by_their_runs=True,
)
NOTIFICATIONS = Receiver(
    "notifications",
    (
        *CHAMPION_MOVES,
        *DECISIONS,
        EventKind.APPROVAL_REQUESTED,
        EventKind.ANSWER_INVALID,
        EventKind.GATES_REFUSED,
        EventKind.PROMOTION_REFUSED,
        EventKind.MOVED_OUTSIDE,
        EventKind.OUTSIDE_MOVE_REVERTED,
        EventKind.WINDOWS_JUDGED,
        EventKind.RETRAIN_WANTED,
        EventKind.WATCH_JUDGED,
        EventKind.WATCH_FROZE,
        EventKind.WATCH_SETTLED,
        EventKind.RAMP_STEP,
        EventKind.RAMP_ENDED,
        EventKind.QUARANTINED,
        EventKind.DELETED,
        EventKind.RETENTION_CHECKED,
    ),
)
RETRAINING_ASSET = Receiver("asset: retraining", (EventKind.RETRAIN_WANTED,))
RECEIVERS = (CHAMPION_ASSET, MOVED_OUTSIDE_ASSET, RETRAINING_ASSET, NOTIFICATIONS)
