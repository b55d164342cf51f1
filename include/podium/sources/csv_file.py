"""A csv opened to read its rows in blocks: no value is ever moved to another column."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from podium.errors import DataError

_BLOCK_BYTES = 4 << 20
_LONGEST_LINE_SHOWN = 200
_TAIL_BYTES = 64
# What pandas takes for missing in a csv.
_WORDS = "#N/A|#N/A N/A|#NA|-1.#IND|-1.#QNAN|-NaN|-nan|1.#IND|1.#QNAN|<NA>|N/A|NA|NULL|NaN|None|n/a|nan|null"
MISSING = ("", *_WORDS.split("|"))
# What it calls a column that has no name, by its place.
_NAMELESS = "Unnamed: {}"


class OddRow(NamedTuple):
    """A row that has more or fewer fields than there are columns.

    Attributes:
        number: Its number in the file, from 1, without the header.
        fields: How many it has.
        expected: How many there are columns.
        text: How it begins.
    """

    number: int
    fields: int
    expected: int
    text: str

    @property
    def reason(self) -> str:
        """Why it cannot be read."""
        return f"the line has {self.fields} columns, not {self.expected}: {self.text}"


@dataclass
class OddRows:
    """The odd rows of a csv, as Arrow comes across them: it reads ahead of what it gives."""

    shown: str
    found: list[OddRow] = field(default_factory=list)
    unclosed: str = ""

    def __call__(self, line: Any) -> str:
        """Note a row, and tell Arrow to skip it."""
        text = line.text
        if "\n" in text and text.count('"') % 2:
            self.unclosed = self.unclosed or f"row {line.number - 1}"
        shown = f"{text[:_LONGEST_LINE_SHOWN]}{'...' if len(text) > _LONGEST_LINE_SHOWN else ''}"
        # The header is line 1.
        self.found.append(OddRow(line.number - 1, line.actual_columns, line.expected_columns, shown))
        return "skip"

    def assert_closed(self) -> None:
        """Make sure that no quote swallowed rows.

        Raises:
            DataError: One did; names the row.
        """
        if self.unclosed:
            raise DataError(
                f"{self.shown}: a quote is opened in {self.unclosed} and not closed: all lines behind it "
                "would be one value. Close it, or double it where it is meant"
            )


class _Watched(io.RawIOBase):
    """Bytes that are read once, of which the last are kept."""

    def __init__(self, stream: Any) -> None:
        super().__init__()
        self._stream = stream
        self.last = b""

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        data: bytes = self._stream.read(size)
        self.last = data[-_TAIL_BYTES:].rstrip(b"\r\n")[-1:] or self.last
        return data


@dataclass(frozen=True)
class CsvFile:
    """An open csv.

    Attributes:
        columns: The names of its columns.
        empty: A table of them without rows.
        batches: Its rows, as bytes.
        odd: Rows that have more or fewer fields, as far as Arrow has read.
        dropped: Columns at its end that have neither a name nor a value, and are left out.
    """

    columns: Sequence[str]
    empty: pa.Table
    batches: Iterator[pa.RecordBatch]
    odd: OddRows
    dropped: int


class _Reading(NamedTuple):
    """A csv that Arrow reads, and what is seen of it meanwhile."""

    reader: csv.CSVStreamingReader
    odd: OddRows
    stream: _Watched


class _Layout(NamedTuple):
    """How the fields of a row become columns.

    Attributes:
        names: A name for each field.
        kept: The columns that are given, which are the first of them.
        dropped: How many at the end are not.
    """

    names: list[str]
    kept: list[str]
    dropped: int


def open_csv(opened: Callable[[], Any], shown: str) -> CsvFile:
    """Open a csv that may end each row with separators that its header does not have, or the other way round.

    Such a column is left out if it is empty in every row. Else a row that has more fields than there are
    columns is an odd row: nobody knows which of its fields is which.

    Args:
        opened: Gives its bytes from the beginning, each time that it is called.
        shown: As people write its place.

    Raises:
        DataError: It has no header, or one that is not in UTF-8 or names a column twice.
    """
    reading = _read(opened(), shown)
    try:
        header = list(reading.reader.schema.names)
    except UnicodeDecodeError as error:
        raise DataError(f"{shown}: the names of its columns are not in UTF-8: {error}") from error
    layout = _layout(opened, shown, header, reading.odd)
    if twice := next((name for name in layout.kept if layout.kept.count(name) > 1), None):
        raise DataError(f"{shown}: column '{twice}' appears twice")
    if layout.names != header:
        reading = _read(opened(), shown, layout.names, layout.kept)
    empty = reading.reader.schema.empty_table()
    return CsvFile(layout.kept, empty, _batches(reading), reading.odd, layout.dropped)


@contextmanager
def _endless_rows_named(shown: str) -> Iterator[None]:
    """Say what a row that is longer than a block is about.

    Raises:
        DataError: There is one.
    """
    try:
        yield
    except pa.ArrowInvalid as error:
        # A line longer than a block: https://arrow.apache.org/docs/python/generated/pyarrow.csv.ReadOptions.html
        if "straddling" not in str(error):
            raise
        raise DataError(
            f"{shown}: a row is longer than {_BLOCK_BYTES >> 20} MB: a quote is opened and not closed, or a "
            "value is that long. Close it, or store the rows as parquet"
        ) from error


def _batches(reading: _Reading) -> Iterator[pa.RecordBatch]:
    last = b""
    for batch in iter(lambda: _next(reading.reader, reading.odd.shown), None):
        reading.odd.assert_closed()
        last = batch.columns[-1][-1].as_py() if len(batch) else last
        yield batch
    # The last value is of the last row: Arrow takes a quote that the file does not close for closed.
    if b"\n" in last and reading.stream.last != b'"':
        reading.odd.unclosed = "the last row that was read"
    reading.odd.assert_closed()


def _next(batches: Iterator[pa.RecordBatch], shown: str) -> pa.RecordBatch | None:
    with _endless_rows_named(shown):
        return next(batches, None)


def _read(stream: Any, shown: str, names: list[str] | None = None, kept: list[str] | None = None) -> _Reading:
    odd, watched = OddRows(shown), _Watched(stream)
    # In one thread, or lines would have no numbers.
    reading = csv.ReadOptions(
        use_threads=False,
        block_size=_BLOCK_BYTES,
        column_names=names,
        skip_rows_after_names=0 if names is None else 1,
    )
    parsing = csv.ParseOptions(newlines_in_values=True, invalid_row_handler=odd)
    # As bytes: whatever a row says, it stops no other row.
    kinds = csv.ConvertOptions(
        default_column_type=pa.binary(), strings_can_be_null=False, include_columns=kept
    )
    with _endless_rows_named(shown):
        reader = csv.open_csv(watched, read_options=reading, parse_options=parsing, convert_options=kinds)
    return _Reading(reader, odd, watched)


def _layout(opened: Callable[[], Any], shown: str, header: Sequence[str], odd: OddRows) -> _Layout:
    """Find by header and first row how many fields rows have, and by all rows if the last are empty."""
    named = max((place + 1 for place, name in enumerate(header) if name), default=0)
    width = _first_width(odd, len(header), named)
    if width > named and not _empty_beyond(opened(), shown, named, width):
        width = named = len(header)
    names = _names(header[:named], width)
    return _Layout(names, names[:named], max(len(header), width) - named)


def _first_width(odd: OddRows, header: int, named: int) -> int:
    """Return how many fields the first row has that has one for each named column."""
    by_number = {row.number: row.fields for row in odd.found}
    number = 1
    while by_number.get(number, named) < named:
        number += 1
    return by_number.get(number, header)


def _empty_beyond(stream: Any, shown: str, named: int, width: int) -> bool:
    """Tell whether all rows have so many fields, and nothing in those behind the named columns."""
    names = _names([], width)
    reading = _read(stream, shown, names, names[named:])
    for batch in iter(lambda: _next(reading.reader, shown), None):
        for column in batch.columns:
            if pc.max(pc.binary_length(column)).as_py():
                return False
    return not any(row.fields >= named for row in reading.odd.found)


def _names(header: Sequence[str], count: int) -> list[str]:
    """Name so many columns, those without a name by their places."""
    padded = [*header, *[""] * (count - len(header))]
    return [name or _NAMELESS.format(place) for place, name in enumerate(padded)]
