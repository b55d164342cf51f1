"""Some rows of a source, read in bounded time and memory however large it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pandas as pd

from podium.sources.join import as_frame, joined
from podium.sources.parts import read_part
from podium.sources.read import Partition, Source, list_partitions
from podium.sources.whole import inferred

_MOST_PARTS = 100


@dataclass(frozen=True)
class Sample:
    """Rows of a source, with the types that their values show.

    Attributes:
        rows: The rows.
        which: Which they are, as words; "" for all.
    """

    rows: pd.DataFrame
    which: str


def read_sample(source: Source, most: int) -> Sample:
    """Read at most so many rows: the first of each part, of many parts some that lie evenly among them.

    Args:
        source: A file, folder, pattern, query or Delta table.
        most: Rows, at least one a part.

    Raises:
        DataError: It is not there or not what its name says, or two files do not fit together.
        Outage: The store or the database did not answer.
    """
    partitions = list_partitions(source)
    some = _evenly(partitions)
    each = max(1, most // len(some))
    # One more than are kept tells whether there are more.
    source = replace(source, chunk_rows=each + 1)
    parts = [read_part(source, partition, None, chunks=1) for partition in some]
    cut = any(len(part.rows) > each for part in parts)
    text = [name for name in parts[0].text if name in parts[0].rows.column_names]
    tables = [joined([replace(part, rows=part.rows.slice(0, each)) for part in parts])]
    del parts
    rows = inferred(as_frame(tables), text)
    if not cut and len(some) == len(partitions):
        return Sample(rows, "")
    return Sample(rows, _which(len(rows), each, len(some), len(partitions)))


def _evenly(partitions: Sequence[Partition]) -> list[Partition]:
    """Return the first part, the last, and those between that lie evenly; all of a few."""
    if len(partitions) <= _MOST_PARTS:
        return list(partitions)
    steps = _MOST_PARTS - 1
    return [partitions[place * (len(partitions) - 1) // steps] for place in range(_MOST_PARTS)]


def _which(rows: int, each: int, some: int, all_parts: int) -> str:
    if all_parts == 1:
        return f"the first {rows:,} rows"
    among = f"{some:,} of its {all_parts:,}" if some < all_parts else f"its {all_parts:,}"
    return f"{rows:,} rows, at most the first {each:,} of each of {among} parts"
