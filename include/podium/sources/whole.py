"""All rows of a source in memory, read as batch scoring reads them."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from io import StringIO

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from podium.errors import DataError, SourceChanged
from podium.sources.chunks import chosen
from podium.sources.csv_file import MISSING, OddRow
from podium.sources.facts import Facts, changed, source_facts
from podium.sources.read import Chunk, Partition, Source, list_partitions, open_partition

log = logging.getLogger(__name__)

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
    parts = _parts(source, partitions, wanted)
    _refuse_a_change(source, before)
    columns, text = parts[0].columns, [name for name in parts[0].text if name in parts[0].rows.column_names]
    short, dropped = sum(part.short for part in parts), max(part.dropped for part in parts)
    later, index = sum(part.later for part in parts), _index(parts)
    tables = [_joined(parts)]
    del parts
    rows = _frame(tables)
    if index is not None:
        rows.index = index
    return WholeTable(rows, tuple(columns), tuple(text), short, dropped, later, before)


def _frame(tables: list[pa.Table]) -> pd.DataFrame:
    """Turn the one table of a list into a frame, column by column; the list is empty then.

    Each column leaves Arrow's memory when pandas has it, so that no second table is in memory.
    """
    table, columns = tables.pop(), {}
    for name in table.column_names:
        columns[name] = table.column(name).to_pandas()
        table = table.drop_columns([name])
        pa.default_memory_pool().release_unused()
    return pd.DataFrame(columns, index=pd.RangeIndex(len(table)) if not columns else None, copy=False)


def _parts(source: Source, partitions: Sequence[Partition], wanted: Sequence[str] | None) -> list[_Part]:
    with ThreadPoolExecutor(_READERS) as pool:
        return list(pool.map(lambda partition: _part(source, partition, wanted), partitions))


def _refuse_a_change(source: Source, before: Facts) -> None:
    after = source_facts(source, list_partitions(source))
    if difference := changed(before, after):
        raise SourceChanged(
            f"{source.source} changed while it was read: {difference}; train when nobody writes there"
        )


def _index(parts: Sequence[_Part]) -> npt.NDArray[np.int64] | None:
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


@dataclass(frozen=True)
class _Part:
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
        return not self.at.endswith(".parquet")


def _part(source: Source, partition: Partition, wanted: Sequence[str] | None) -> _Part:
    with open_partition(source, partition, wanted) as reader:
        names = chosen(reader.columns, wanted)
        chunks = [_slim(chunk, names) for chunk in reader.chunks]
    odd = [row for chunk in chunks for row in chunk.odd]
    short = [row for row in odd if row.fields < row.expected]
    _refuse_long([row for row in odd if row.fields > row.expected], partition.at)
    _tell(short, reader.dropped, partition.at)
    later = sum(chunk.later for chunk in chunks)
    numbers = _numbers(chunks) if later else np.empty(0, dtype=np.int64)
    rows = pa.concat_tables([chunk.rows for chunk in chunks])
    rows = _decoded(rows, [name for name in reader.text if name in names], partition.at)
    rows = _as_numbers(rows, [name for name in reader.decimals if name in names])
    # What reading took beside the rows goes back to the system, so that it does not add up over many parts.
    pa.default_memory_pool().release_unused()
    return _Part(partition.at, rows, numbers, reader.columns, reader.text, len(short), reader.dropped, later)


def _slim(chunk: Chunk, names: Sequence[str]) -> Chunk:
    """Leave out other columns, and where all numbers follow one another all but the first of them."""
    numbers = chunk.numbers
    follow = len(numbers) > 0 and numbers[-1] - numbers[0] + 1 == len(numbers)
    return replace(chunk, rows=chunk.rows.select(names), numbers=numbers[:1].copy() if follow else numbers)


def _numbers(chunks: Sequence[Chunk]) -> npt.NDArray[np.int64]:
    """Return the numbers of all rows of slim chunks."""
    whole = [
        chunk.numbers[0] + np.arange(len(chunk.rows)) if len(chunk.numbers) == 1 else chunk.numbers
        for chunk in chunks
    ]
    return np.concatenate(whole)


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


def _joined(parts: Sequence[_Part]) -> pa.Table:
    first = parts[0]
    for part in parts[1:]:
        _assert_alike(first, part)
    tables = [part.rows.select(first.rows.column_names) for part in parts]
    return pa.concat_tables(_alike_in_type(tables, parts), promote_options="permissive").unify_dictionaries()


def _assert_alike(first: _Part, part: _Part) -> None:
    if first.is_csv != part.is_csv:
        raise DataError(f"{first.at} and {part.at} are parts of one source, and must be files of one kind")
    mine, its = set(first.columns), set(part.columns)
    for one, other, more in ((part, first, mine - its), (first, part, its - mine)):
        if more:
            raise DataError(
                f"{one.at} has no column '{sorted(more)[0]}', which {other.at} has; parts of one source have "
                "the same columns"
            )


def _alike_in_type(tables: Sequence[pa.Table], parts: Sequence[_Part]) -> list[pa.Table]:
    """Bring each column to a type that holds the values of all parts unchanged."""
    alike = list(tables)
    for place, name in enumerate(tables[0].column_names):
        types = [table.schema.field(name).type for table in alike]
        if len(set(types)) > 1 and any(map(pa.types.is_dictionary, types)):
            alike = [_with_plain(table, place, name) for table in alike]
        if len(set(types)) > 1:
            alike = [_in_utc(table, place, name) for table in alike]
        for table, part in zip(alike, parts, strict=True):
            both = [pa.schema([one.schema.field(name)]) for one in (alike[0], table)]
            try:
                pa.unify_schemas(both, promote_options="permissive")
            except (pa.ArrowTypeError, pa.ArrowInvalid) as error:
                raise DataError(
                    f"column {name} is {both[0].field(0).type} in {parts[0].at} and {both[1].field(0).type} "
                    f"in {part.at}; parts of one source have the same types"
                ) from error
    return alike


def _with_plain(table: pa.Table, place: int, name: str) -> pa.Table:
    column = table.column(name)
    if not pa.types.is_dictionary(column.type):
        return table
    return table.set_column(place, name, column.cast(column.type.value_type))


def _in_utc(table: pa.Table, place: int, name: str) -> pa.Table:
    column = table.column(name)
    if not pa.types.is_timestamp(column.type) or column.type.tz is None:
        return table
    return table.set_column(place, name, column.cast(pa.timestamp(column.type.unit, "UTC")))


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
