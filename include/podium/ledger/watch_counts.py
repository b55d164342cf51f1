"""What model servers counted in watch windows: the table ``watch_counts`` of the ledger's database.

Each process of a server has a row per window, which it writes by one function of the database: its role
changes and deletes nothing itself. Counts are of the process' whole life and only grow, so that a write that
is repeated, or comes late, counts nothing twice, and a process that was killed leaves what it wrote last.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

import sqlalchemy as sa

from podium.ledger.store import Ledger, outages

_TELL = sa.text("SELECT tell_watched(:model, :promotion, :process, CAST(:counts AS bigint[]), :problem)")
_COUNTS = ("requests", "rows", "new_failed", "old_failed", "both_failed", "timed", "slower")
_TABLE = sa.table(
    "watch_counts",
    *(sa.column(name) for name in ("model", "promotion", "process", "at", "problem")),
    *map(sa.column, _COUNTS),
)


class Counts(NamedTuple):
    """What was counted of requests that both versions were asked.

    Attributes:
        requests: How many.
        rows: Their rows.
        new_failed: Requests that the new version alone failed: it raised, or an answer is not finite.
        old_failed: The same of the old one.
        both_failed: Requests that both failed.
        timed: Requests that both answered and were timed on.
        slower: Those of them for which the new version took longer than it may.
    """

    requests: int = 0
    rows: int = 0
    new_failed: int = 0
    old_failed: int = 0
    both_failed: int = 0
    timed: int = 0
    slower: int = 0

    def plus(self, other: Counts) -> Counts:
        """Add those of another process, or of another request."""
        return Counts(*(one + more for one, more in zip(self, other, strict=True)))


@dataclass(frozen=True)
class Told:
    """What one process of a model server told of a window.

    Attributes:
        process: Its id, made at its start.
        counts: What it counted.
        problem: Why it cannot compare; "" if it can.
        at: When it told last.
    """

    process: str
    counts: Counts
    problem: str
    at: datetime


def tell_watched(  # noqa: PLR0913 - of which window, by whom, and what
    ledger: Ledger, model: str, promotion: int, process: str, counts: Counts, problem: str
) -> None:
    """Say what one process counted in a window so far.

    Raises:
        Outage: The database did not answer.
        PodiumError: It does not take this, or is older than this Podium.
    """
    told = {"model": model, "promotion": promotion, "process": process, "counts": list(counts)}
    ledger.tell(_TELL, {**told, "problem": problem.replace("\0", "")})


def told_of(ledger: Ledger, model: str, promotion: int) -> list[Told]:
    """Return what each process told of a window, by its id.

    Raises:
        Outage: The database did not answer.
    """
    query = (
        sa.select(_TABLE)
        .where(_TABLE.c.model == model, _TABLE.c.promotion == promotion)
        .order_by(_TABLE.c.process)
    )
    with outages(), ledger.engine.connect() as connection:
        return [
            Told(
                row.process,
                Counts(*(row._mapping[name] for name in _COUNTS)),
                row.problem,
                row.at,
            )
            for row in connection.execute(query)
        ]
