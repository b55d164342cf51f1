"""What is read, and the chunks in which rows come."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from podium.errors import DataError
from podium.model_file.scoring import CHUNK_ROWS
from podium.sources.csv_file import OddRow


@dataclass(frozen=True)
class Source:
    """What is read; see ``ScoringSpec`` and ``DataSpec`` for what is not listed here.

    Attributes:
        source: A file, folder, pattern, ``sql:`` and a query, or ``delta:`` and a path.
        home: The folder to which paths are relative.
        chunk_rows: Rows in memory at a time; None for whoever keeps all of them: as many as come at once.
        as_of: What ``:as_of`` in a query stands for, in UTC without a zone.
        time_column: Rows at or after ``as_of`` are left out where this column holds moments; those of other
            types stay, for the reader to judge.
    """

    source: str
    home: Path
    database: str | None = None
    partitions: str | None = None
    chunk_rows: int | None = CHUNK_ROWS
    as_of: datetime | None = None
    time_column: str | None = None


@dataclass(frozen=True)
class Partition:
    """A part of the rows that is scored at once and replaced at once.

    Attributes:
        name: Of a file its path below the folder that is scored, without its suffix; of a query what
            ``partitions`` listed. The same between runs.
        at: Where its rows are: a path, an ``s3://`` address, the value that the query gets, or the version of
            a Delta table.
    """

    name: str
    at: str


@dataclass(frozen=True)
class Chunk:
    """Some rows as they are in the source.

    Attributes:
        rows: The rows; those of a csv, and what ``key=value`` folders say, as bytes.
        numbers: The number of each row in its partition, from 1.
        odd: Rows of a csv that have more or fewer fields than there are columns, and so cannot be read.
        done: The share of the partition that is read, 0 to 1; None where nobody knows.
        later: Rows that were left out because they are of ``as_of`` or later.
    """

    rows: pa.Table
    numbers: npt.NDArray[np.int64]
    odd: Sequence[OddRow] = ()
    done: float | None = None
    later: int = 0

    @property
    def unreadable(self) -> list[tuple[int, str]]:
        """Number and reason of each odd row."""
        return [(row.number, row.reason) for row in self.odd]


@dataclass(frozen=True)
class Reader:
    """An open partition.

    Attributes:
        columns: The names of its columns.
        chunks: Its rows, at least one chunk, which may be empty.
        text: The columns whose bytes are text of which nobody knows the type: all of a csv, and what folders
            ``key=value`` say.
        dropped: Columns at the end of a csv that have neither a name nor a value, and are left out.
        decimals: Columns of text that are decimal numbers, as a database has them.
    """

    columns: Sequence[str]
    chunks: Iterator[Chunk]
    text: Sequence[str] = ()
    dropped: int = 0
    decimals: Sequence[str] = ()


def once_each(columns: Sequence[str], shown: str) -> None:
    """Make sure that no name appears twice.

    Raises:
        DataError: One is; names it.
    """
    if twice := next((name for name in columns if list(columns).count(name) > 1), None):
        raise DataError(f"{shown}: column '{twice}' appears twice")


def of_size(tables: Iterable[pa.Table], rows: int | None, empty: pa.Table) -> Iterator[pa.Table]:
    """Cut tables to the same number of rows each, however they came; at least one table."""
    waiting, count, given = [empty], 0, False
    for table in tables:
        if rows is None:
            yield table
            given = True
            continue
        waiting.append(table)
        count += len(table)
        while count >= rows:
            joined = pa.concat_tables(waiting)
            yield joined.slice(0, rows)
            given, count = True, count - rows
            waiting = [empty, joined.slice(rows)]
    if count or not given:
        yield pa.concat_tables(waiting)


def numbered(tables: Iterable[pa.Table], odd: list[OddRow] | None = None) -> Iterator[Chunk]:
    """Number the rows, past the odd ones, and hand each of these over once."""
    last, skipped = 0, odd if odd is not None else []
    for table in tables:
        numbers = np.arange(last + 1, last + 1 + len(table), dtype=np.int64)
        taken: list[OddRow] = []
        while skipped and (not len(table) or skipped[0].number <= numbers[-1]):
            taken.append(skipped.pop(0))
            numbers[numbers >= taken[-1].number] += 1
        last = int(numbers[-1]) if len(table) else last
        yield Chunk(table, numbers, taken)
    if skipped:
        yield Chunk(table.slice(0, 0), np.zeros(0, dtype=np.int64), skipped[:])


def is_moment(kind: pa.DataType) -> bool:
    """Tell whether a column of this type can be compared with a moment."""
    return bool(pa.types.is_timestamp(kind) or pa.types.is_date(kind))


def known_rows(chunk: Chunk, source: Source) -> Chunk:
    """Leave out the rows of ``as_of`` and later; those without a time stay."""
    name = source.time_column
    if source.as_of is None or name is None or name not in chunk.rows.column_names:
        return chunk
    times = chunk.rows.column(name)
    if not is_moment(times.type):
        return chunk
    known = pc.fill_null(pc.less(times, moment_of(source.as_of, times.type)), True)
    count = int(pc.sum(known).as_py() or 0)
    if count == len(known):
        return chunk
    mask = np.asarray(known.combine_chunks())
    rows, numbers = chunk.rows.filter(known), chunk.numbers[mask]
    return replace(chunk, rows=rows, numbers=numbers, later=chunk.later + len(known) - count)


def moment_of(moment: datetime, kind: pa.DataType) -> pa.Scalar:
    """Return a moment in UTC so that a column of this type can be compared with it."""
    zoned = pa.types.is_timestamp(kind) and kind.tz is not None
    whole = moment.replace(tzinfo=UTC) if zoned else moment
    return pa.scalar(whole, pa.timestamp("us", kind.tz if zoned else None))


def chosen(names: Sequence[str], wanted: Sequence[str] | None) -> list[str]:
    """Return those of the columns that are wanted, in their order."""
    asked: Any = names if wanted is None else set(wanted)
    return [name for name in names if name in asked]
