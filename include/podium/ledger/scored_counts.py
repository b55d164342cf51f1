"""What batch scoring counted of the rows that it scored: the table ``scored_counts`` of the ledger.

A partition has a row in ``scored_partitions``, and each of its windows one here: how many rows fell into
which bin of which column, and no value. One function of the database writes both. A partition that is scored
again replaces its counts.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa

from podium.ledger.served_counts import Span
from podium.ledger.store import Ledger, outages

_KEEP = sa.text(
    "SELECT keep_scored(:model, :version, :basis, :partition, :identity, :counted_at, :first, :last, "
    ":undated, :whole, :windows)"
)
_KEY = ("model", "version", "basis", "partition")
_PARTITIONS = sa.table(
    "scored_partitions",
    *map(sa.column, (*_KEY, "identity", "counted_at", "first_row", "last_row", "undated", "whole")),
)
_COUNTS = sa.table("scored_counts", *map(sa.column, (*_KEY, "starts", "ends", "content")))


class OnBasis(NamedTuple):
    """What counts are of; only those of the same add up.

    Attributes:
        model: The registered model.
        version: The version that answered.
        basis: The digest of all that counts depend on beside the rows, such as the bins.
    """

    model: str
    version: int
    basis: str


@dataclass(frozen=True)
class CountedPartition:
    """A partition that was counted.

    Attributes:
        name: Its name.
        identity: What is in it, as the source tells it; "" where the source tells nothing.
        counted_at: The moment before its rows were read.
        first: The moment of its first row; None without any.
        last: That of its last row.
        undated: How many of its rows have no time.
        whole: All windows that may be judged are counted; else those alone that are kept.
    """

    name: str
    identity: str
    counted_at: datetime
    first: datetime | None
    last: datetime | None
    undated: int
    whole: bool


@dataclass(frozen=True)
class Kept:
    """What is kept of a partition.

    Attributes:
        partition: The partition.
        content: What was counted of the window that was asked for; None where that has no row.
    """

    partition: CountedPartition
    content: Mapping[str, Any] | None


def keep_scored(
    ledger: Ledger,
    of: OnBasis,
    partition: CountedPartition,
    windows: Iterable[tuple[Span, Mapping[str, Any]]],
) -> None:
    """Keep what was counted of a partition, in one transaction.

    All windows replace what was kept of it before. A part of them is added to it, unless the partition is
    another by now: then it is replaced, too.

    Args:
        ledger: The record.
        of: The version, and what was counted on.
        partition: The partition.
        windows: Each window, and what was counted in it as plain JSON values.

    Raises:
        Outage: The database did not answer.
        PodiumError: It does not take this, or is older than this Podium.
    """
    # As texts one after the other: as objects, many windows at once take ten times the memory.
    counted = ",".join(
        json.dumps({"starts": span.start.isoformat(), "ends": span.end.isoformat(), "content": content})
        for span, content in windows
    )
    values = vars(partition) | {"partition": partition.name, "windows": f"[{counted}]"}
    ledger.tell(_KEEP, {**of._asdict(), **values})


def scored_in(ledger: Ledger, of: OnBasis, span: Span) -> dict[str, Kept]:
    """Return what is kept of each partition about one window, by the partition's name.

    Raises:
        Outage: The database did not answer.
        PodiumError: It has no such table.
    """
    joined = sa.and_(
        *(_COUNTS.c[name] == _PARTITIONS.c[name] for name in _KEY),
        _COUNTS.c.starts == span.start,
        _COUNTS.c.ends == span.end,
    )
    query = (
        sa.select(_PARTITIONS, _COUNTS.c.content)
        .join_from(_PARTITIONS, _COUNTS, joined, isouter=True)
        .where(*(_PARTITIONS.c[name] == value for name, value in of._asdict().items()))
    )
    with outages(), ledger.engine.connect() as connection:
        rows = connection.execute(query).all()
    return {
        row.partition: Kept(
            CountedPartition(
                row.partition,
                row.identity,
                row.counted_at,
                row.first_row,
                row.last_row,
                row.undated,
                row.whole,
            ),
            None if row.content is None else json.loads(row.content),
        )
        for row in rows
    }
