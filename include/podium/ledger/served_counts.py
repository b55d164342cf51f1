"""What model servers counted of the rows that they answered: the table ``served_counts`` of the ledger.

Each process writes a row per minute, by one function of the database: its role reads, changes and deletes
nothing there. A row holds how many rows fell into which bin of which column, and no value. Rows add up over
minutes, processes and servers, where they were counted on the same bins.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa

from podium.errors import PodiumError
from podium.ledger.store import Ledger, outages

KEPT_DAYS = 100
_TELL = sa.text(
    "SELECT tell_counted(:model, :version, :bins, :process, :minute, :rows, :lost, :counts)",
)
_TABLE = sa.table(
    "served_counts",
    *map(sa.column, ("model", "version", "minute", "process", "bins", "row_count", "lost", "counts")),
)

# By column, shape (bins + 1,), how many rows are in each bin; the last one counts missing values.
Counted = Mapping[str, npt.NDArray[np.int64]]


class OnBins(NamedTuple):
    """What counts are of; only those of the same add up.

    Attributes:
        model: The registered model.
        version: The version that answered.
        digest: Of the bins.
    """

    model: str
    version: int
    digest: str


class Span(NamedTuple):
    """A span of time: its first moment, and the first one after it."""

    start: datetime
    end: datetime


@dataclass(frozen=True)
class Minute:
    """What one process counted in one minute.

    Attributes:
        of: The version and the bins.
        process: The id of the process, made at its start.
        minute: Its first moment.
        rows: How many rows were counted.
        lost: How many rows there was no time for.
        counts: By column.
    """

    of: OnBins
    process: str
    minute: datetime
    rows: int
    lost: int
    counts: Counted


@dataclass(frozen=True)
class Served:
    """What all processes counted in a span of time.

    Attributes:
        rows: How many rows were counted.
        lost: How many there was no time for.
        counts: By column; none where nothing was counted.
    """

    rows: int
    lost: int
    counts: Counted


def tell_counted(ledger: Ledger, minute: Minute) -> None:
    """Write what was counted in a minute that has ended; a minute that is written already stays as it is.

    Raises:
        Outage: The database did not answer.
        PodiumError: It does not take this, or is older than this Podium.
    """
    of = {"model": minute.of.model, "version": minute.of.version, "bins": minute.of.digest}
    when = {"process": minute.process, "minute": minute.minute}
    numbers = {"rows": minute.rows, "lost": minute.lost, "counts": json.dumps(sparse(minute.counts))}
    ledger.tell(_TELL, {**of, **when, **numbers})


def served_in(ledger: Ledger, of: OnBins, span: Span, sizes: Mapping[str, int]) -> Served:
    """Add up what was counted in a span of time on the same bins.

    Args:
        ledger: The record.
        of: The version and the bins.
        span: Whole minutes.
        sizes: How many counts each column has.

    Raises:
        Outage: The database did not answer.
        PodiumError: A row holds no counts on these bins; names the process.
    """
    query = sa.select(_TABLE).where(
        _TABLE.c.model == of.model,
        _TABLE.c.version == of.version,
        _TABLE.c.bins == of.digest,
        _TABLE.c.minute >= span.start,
        _TABLE.c.minute < span.end,
    )
    rows, lost = 0, 0
    counts = {name: np.zeros(size, dtype=np.int64) for name, size in sizes.items()}
    with outages(), ledger.engine.connect() as connection:
        for row in connection.execution_options(yield_per=500).execute(query):
            rows, lost = rows + row.row_count, lost + row.lost
            try:
                _add(counts, json.loads(row.counts), row.row_count)
            except (AttributeError, KeyError, IndexError, TypeError, ValueError) as error:
                at = row.minute.astimezone(UTC)
                raise PodiumError(
                    f"{of.model} v{of.version}: what the process {row.process} of a model server counted at "
                    f"{at:%Y-%m-%d %H:%M} does not count its columns: {error!r}"
                ) from error
    return Served(rows, lost, counts if rows else {})


def sparse(counts: Counted) -> dict[str, dict[str, int]]:
    """Return counts as plain JSON values, without the bins that have no row."""
    return {
        name: {str(place): int(counted[place]) for place in np.flatnonzero(counted)}
        for name, counted in counts.items()
    }


def dense(name: str, by_place: Mapping[str, Any], size: int, rows: int) -> npt.NDArray[np.int64]:
    """Return the counts of one column that were kept, shape (size,).

    Raises:
        ValueError: They do not add up to the rows; names the column.
        IndexError: There is no such bin.
    """
    numbers = {int(place): int(number) for place, number in by_place.items()}
    if any(place < 0 or number < 0 for place, number in numbers.items()) or sum(numbers.values()) != rows:
        raise ValueError(f"column {name} does not add up to {rows} rows")
    counted = np.zeros(size, dtype=np.int64)
    for place, number in numbers.items():
        counted[place] = number
    return counted


def _add(counts: Mapping[str, npt.NDArray[np.int64]], kept: Mapping[str, Any], rows: int) -> None:
    if kept.keys() != counts.keys():
        raise ValueError(f"columns {', '.join(sorted(kept.keys() ^ counts.keys()))}")
    for name, by_place in kept.items():
        counts[name][:] += dense(name, by_place, len(counts[name]), rows)
