"""One part of a source as a table: a file, the rows of a query, or a Delta table."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from podium.errors import DataError
from podium.sources.chunks import Chunk, Partition, Source, chosen
from podium.sources.csv_file import MISSING, OddRow
from podium.sources.read import open_partition

log = logging.getLogger(__name__)

_PIECE_BYTES = 32 << 20


@dataclass(frozen=True)
class Part:
    """One file: where it is, its rows, and what ``WholeTable`` says of all."""

    at: str
    rows: pa.Table
    numbers: npt.NDArray[np.int64]
    columns: Sequence[str]
    text: Sequence[str]
    short: int
    dropped: int
    later: int

    @property
    def is_csv(self) -> bool:
        """Tell files of one kind from those of the other; a query and a Delta table have no other parts."""
        return not self.at.endswith(".parquet")


class _Noted(NamedTuple):
    """What a chunk tells beside its rows: their numbers, odd rows, and how many later ones were left out."""

    numbers: range | npt.NDArray[np.int64]
    odd: Sequence[OddRow]
    later: int


def read_part(
    source: Source, partition: Partition, wanted: Sequence[str] | None, chunks: int | None = None
) -> Part:
    """Read a part.

    Args:
        source: What is read.
        partition: One of its parts.
        wanted: The columns that are read; None for all.
        chunks: How many chunks are read; None for all.

    Raises:
        DataError: It is not what its name says, or a row of a csv has more fields than there are columns.
        Outage: The store or the database did not answer.
    """
    noted: list[_Noted] = []
    with open_partition(source, partition, wanted) as reader:
        names = chosen(reader.columns, wanted)
        rows = pa.concat_tables(_in_pieces(_noting(islice(reader.chunks, chunks), names, noted)))
    odd = [row for one in noted for row in one.odd]
    short = [row for row in odd if row.fields < row.expected]
    _refuse_long([row for row in odd if row.fields > row.expected], partition.at)
    _tell(short, reader.dropped, partition.at)
    later = sum(one.later for one in noted)
    numbers = np.concatenate([_array(one.numbers) for one in noted] if later else [np.empty(0, np.int64)])
    rows = _decoded(rows, [name for name in reader.text if name in names], partition.at)
    rows = _as_numbers(rows, [name for name in reader.decimals if name in names])
    # What reading took beside the rows goes back to the system, so that it does not add up over many parts.
    pa.default_memory_pool().release_unused()
    return Part(partition.at, rows, numbers, reader.columns, reader.text, len(short), reader.dropped, later)


def _array(numbers: range | npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    return np.arange(numbers.start, numbers.stop) if isinstance(numbers, range) else numbers


def _noting(chunks: Iterable[Chunk], names: Sequence[str], noted: list[_Noted]) -> Iterator[pa.Table]:
    """Give the rows of chunks, and note what else they tell."""
    for chunk in chunks:
        numbers = chunk.numbers
        follow = len(numbers) > 0 and numbers[-1] - numbers[0] + 1 == len(numbers)
        short = range(int(numbers[0]), int(numbers[-1]) + 1) if follow else numbers
        noted.append(_Noted(short, chunk.odd, chunk.later))
        yield chunk.rows.select(names)


def _in_pieces(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Join small tables, so that each column has memory of its own, which can be given back."""
    waiting: list[pa.Table] = []
    size = 0
    for table in tables:
        waiting.append(table)
        size += table.nbytes
        if size >= _PIECE_BYTES:
            yield _one_piece(waiting)
            size = 0
    if waiting:
        yield _one_piece(waiting)


def _one_piece(waiting: list[pa.Table]) -> pa.Table:
    """Return the tables of a list as one; the list is empty then."""
    if len(waiting) == 1:
        return waiting.pop()
    joined = pa.concat_tables(waiting).combine_chunks()
    waiting.clear()
    pa.default_memory_pool().release_unused()
    return joined


def _as_numbers(table: pa.Table, decimals: Sequence[str]) -> pa.Table:
    for name in decimals:
        table = table.set_column(table.column_names.index(name), name, table[name].cast(pa.float64()))
    return table


def _refuse_long(long: Sequence[OddRow], at: str) -> None:
    if long:
        first = long[0]
        raise DataError(
            f"{at}: row {first.number:,} has {first.fields} fields, and there are {first.expected} columns; "
            f"{len(long):,} such rows. Nobody knows which field is which: quote the text that holds a "
            f"separator, or name each column. The row: {first.text}"
        )


def _tell(short: Sequence[OddRow], dropped: int, at: str) -> None:
    if short:
        first = short[0]
        log.warning(
            "%s: row %s has %d fields, and there are %d columns; %s such rows are left out.",
            *(at, f"{first.number:,}", first.fields, first.expected, f"{len(short):,}"),
        )
    if dropped:
        log.info("%s: columns at the end without a name or a value, left out: %d.", at, dropped)


def _decoded(table: pa.Table, text: Sequence[str], at: str) -> pa.Table:
    """Return bytes as text, missing where pandas takes a value of a csv for missing."""
    said = []
    for name in text:
        column = table.column(name)
        try:
            decoded = column.cast(pa.string())
        except pa.ArrowInvalid as error:
            raise DataError(f"{at} cannot be read: column {name}: {_no_utf8(column)}") from error
        missing = pc.is_in(decoded, value_set=pa.array(MISSING))
        words = decoded.filter(pc.is_in(decoded, value_set=pa.array(MISSING[1:])))
        if len(words):
            said.append(f"{len(words):,} of {name} ({', '.join(words.unique().to_pylist())})")
        decoded = pc.if_else(missing, pa.scalar(None, pa.string()), decoded)
        table = table.set_column(table.column_names.index(name), name, decoded)
    if said:
        log.info("%s: words that are taken as missing: %s.", at, "; ".join(said))
    return table


def _no_utf8(column: pa.ChunkedArray) -> str:
    values = (value for value in column.to_pylist() if value is not None)
    wrong = next(value for value in values if value.decode(errors="ignore").encode() != value)
    return f"{wrong[:40]!r} is not a text in UTF-8; save the file as such"
