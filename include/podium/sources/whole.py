"""All rows of a file or folder in memory, read as batch scoring reads them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from podium.errors import DataError
from podium.sources.csv_file import MISSING, OddRow
from podium.sources.read import Partition, Source, list_partitions, open_partition

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class WholeTable:
    """All rows of a source.

    Attributes:
        rows: The rows, in the order of the files.
        text: The columns that are text because nobody knows their type yet: those of a csv, and what folders
            ``key=value`` say. ``inferred`` finds it.
        short: Rows of a csv with fewer fields than there are columns; they are not among the rows.
        dropped: Columns at the end of a csv with neither a name nor a value; they are not among the columns.
    """

    rows: pd.DataFrame
    text: tuple[str, ...]
    short: int = 0
    dropped: int = 0


def read_whole(source: str, home: Path) -> WholeTable:
    """Read all rows of a file, or of a folder whose files are parts of one table.

    Args:
        source: A csv or parquet file, or a folder of such.
        home: The folder to which it is relative.

    Raises:
        DataError: It is not there or not what its name says, a row of a csv has more fields than there are
            columns, or two files do not fit together; names file, row and column.
    """
    wanted = Source(source, home)
    parts = [_part(wanted, partition) for partition in list_partitions(wanted)]
    table = _joined(parts)
    text = tuple(name for name in table.column_names if name in parts[0].text)
    rows = table.to_pandas(ignore_metadata=True)
    return WholeTable(rows, text, sum(part.short for part in parts), max(part.dropped for part in parts))


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
    text: Sequence[str]
    short: int
    dropped: int

    @property
    def is_csv(self) -> bool:
        return not self.at.endswith(".parquet")


def _part(source: Source, partition: Partition) -> _Part:
    with open_partition(source, partition, None) as reader:
        chunks = list(reader.chunks)
    odd = [row for chunk in chunks for row in chunk.odd]
    short = [row for row in odd if row.fields < row.expected]
    _refuse_long([row for row in odd if row.fields > row.expected], partition.at)
    _tell(short, reader.dropped, partition.at)
    rows = _decoded(pa.concat_tables([chunk.rows for chunk in chunks]), reader.text, partition.at)
    return _Part(partition.at, rows, reader.text, len(short), reader.dropped)


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
    mine, its = set(first.rows.column_names), set(part.rows.column_names)
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
