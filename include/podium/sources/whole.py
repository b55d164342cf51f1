"""All rows of a source in memory, read as batch scoring reads them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from io import StringIO

import numpy as np
import numpy.typing as npt
import pandas as pd

from podium.errors import SourceChanged
from podium.sources.dvc import dvc_facts
from podium.sources.facts import Facts, changed, source_facts
from podium.sources.join import as_frame, joined
from podium.sources.parts import Part, read_part
from podium.sources.read import Partition, Source, list_partitions

# Parts that are read at once: while one waits for its store, another is decoded.
_READERS = min(4, os.cpu_count() or 1)


@dataclass(frozen=True)
class WholeTable:
    """All rows of a source.

    Attributes:
        rows: The rows, in the order of the files.
        columns: The names of all columns of the source, read or not.
        text: The columns that are text because nobody knows their type yet: those of a csv, and what folders
            ``key=value`` say. ``inferred`` finds it.
        short: Rows of a csv with fewer fields than there are columns; they are not among the rows.
        dropped: Columns at the end of a csv with neither a name nor a value; they are not among the columns.
        later: Rows of ``as_of`` and later that were left out as they were read; the index of ``rows`` counts
            them.
        facts: What the source tells of itself: see ``source_facts``.
    """

    rows: pd.DataFrame
    columns: tuple[str, ...]
    text: tuple[str, ...]
    short: int = 0
    dropped: int = 0
    later: int = 0
    facts: Facts = field(default_factory=dict)


def read_whole(source: Source, wanted: Sequence[str] | None = None) -> WholeTable:
    """Read all rows of a source, whose files are parts of one table.

    Args:
        source: A file, folder, pattern, query or Delta table.
        wanted: The columns that are read; None for all. One that is not there is left out.

    Raises:
        DataError: It is not there or not what its name says, a row of a csv has more fields than there are
            columns, or two files do not fit together; names file, row and column.
        SourceChanged: Somebody wrote to it meanwhile.
        Outage: The store or the database did not answer.
    """
    source = replace(source, chunk_rows=None)
    partitions = list_partitions(source)
    before = source_facts(source, partitions)
    dvc = dvc_facts(source.home, source.source) if "files" in before else {}
    parts = _parts(source, partitions, wanted)
    _refuse_a_change(source, before)
    columns, text = parts[0].columns, [name for name in parts[0].text if name in parts[0].rows.column_names]
    short, dropped = sum(part.short for part in parts), max(part.dropped for part in parts)
    later, index = sum(part.later for part in parts), _index(parts)
    tables = [joined(parts)]
    del parts
    rows = as_frame(tables)
    if index is not None:
        rows.index = index
    return WholeTable(rows, tuple(columns), tuple(text), short, dropped, later, {**before, **dvc})


def _parts(source: Source, partitions: Sequence[Partition], wanted: Sequence[str] | None) -> list[Part]:
    with ThreadPoolExecutor(_READERS) as pool:
        return list(pool.map(lambda partition: read_part(source, partition, wanted), partitions))


def _refuse_a_change(source: Source, before: Facts) -> None:
    after = source_facts(source, list_partitions(source))
    if difference := changed(before, after):
        raise SourceChanged(
            f"{source.source} changed while it was read: {difference}; train when nobody writes there"
        )


def _index(parts: Sequence[Part]) -> npt.NDArray[np.int64] | None:
    """Return where each row is among all, from 0, if rows were left out on the way."""
    if not any(part.later for part in parts):
        return None
    starts = np.cumsum([0, *(len(part.rows) + part.later for part in parts)])
    numbers = [part.numbers if part.later else np.arange(1, 1 + len(part.rows)) for part in parts]
    return np.concatenate([one + start - 1 for one, start in zip(numbers, starts[:-1], strict=True)])


def inferred(rows: pd.DataFrame, text: Sequence[str]) -> pd.DataFrame:
    """Return rows in which columns of text have the types that their values show, as pandas reads a csv."""
    if not text:
        return rows
    content = StringIO(
        rows[list(text)].to_csv(index=False, header=[str(place) for place in range(len(text))])
    )
    # In pieces, which is how pandas saves memory, a column could come out half numbers and half text.
    typed = pd.read_csv(content, low_memory=False, index_col=False)
    typed = typed.set_axis(list(text), axis=1).set_axis(rows.index)
    return pd.DataFrame({name: typed[name] if name in typed else rows[name] for name in rows})
