"""When a run was asked for: a rollback or a settlement means what its asker saw, however late it runs.

Airflow lets a run be asked for ahead of time, and lets anybody with the right to clear run it again under the
first asker's name. So such a run has one verdict, the first, which the ledger keeps.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from podium.ledger.events import Event, EventKind
from podium.names import in_utc

_REFUSED = (EventKind.ROLLBACK_REFUSED, EventKind.SETTLEMENT_REFUSED, EventKind.ADOPTION_REFUSED)


@dataclass(frozen=True)
class Asked:
    """When somebody asked for a run, as Airflow says.

    Attributes:
        at: The moment that the run is bound to, Airflow's ``run_after``; nothing renews it.
        queued_at: When Airflow queued the run; None if nobody knows any more, since the run was cleared.
    """

    at: datetime
    queued_at: datetime | None


def refused_before(events: Iterable[Event], run: str | None) -> str | None:
    """Say why an earlier try of a run was refused; None if none was."""
    refused = next((event for event in events if event.run == run and event.event in _REFUSED), None)
    if refused is None:
        return None
    return (
        f"{refused.model}: this run was refused on {in_utc(refused.at)}, and clearing it does not change "
        f"that; trigger a new run. Reason: {refused.reason}"
    )


def asking_problem(events: Iterable[Event], model: str, run: str | None, asked: Asked) -> str | None:
    """Say why nobody can tell what the asker of a run saw; None if one can.

    Args:
        events: The model's history.
        model: The registered model.
        run: The Airflow run.
        asked: When it was asked for.
    """
    if asked.queued_at is None:
        if any(event.run == run for event in events):
            return None
        return (
            f"{model}: this run was cleared before its first try was recorded, so the time of the request is "
            "unknown; trigger a new run"
        )
    if asked.at > asked.queued_at:
        return (
            f"{model}: this run was asked for on {in_utc(asked.queued_at)} to run on {in_utc(asked.at)}: "
            "nobody can know the champion of a later moment; trigger a new run when it is due"
        )
    return None
