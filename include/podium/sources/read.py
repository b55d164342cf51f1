"""Rows: csv, parquet, SQL and ``s3://``, one partition after another, in chunks of bounded size."""

from __future__ import annotations

import fnmatch
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from decimal import Decimal
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote
from uuid import UUID

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import sqlalchemy as sa
from pyarrow import fs

from podium.errors import DataError
from podium.model_file.scoring import CHUNK_ROWS, PARTITION, PLACEHOLDER, SQL
from podium.sources.csv_file import OddRow, open_csv
from podium.sources.folder_keys import folder_keys, with_keys
from podium.sources.storage import (
    FilePlace,
    database_engine,
    database_errors,
    file_errors,
    find_files,
    query_of,
)

SUFFIXES = (".csv", ".csv.gz", ".parquet")
_ALLOWED = f"{', '.join(SUFFIXES[:-1])} and {SUFFIXES[-1]}"
ALL = "all"
_WILD = re.compile(r"[*?\[]")
_UNNAMED_INDEX = re.compile(r"__index_level_\d+__")


@dataclass(frozen=True)
class Source:
    """What is scored; see ``ScoringSpec`` for what is not listed here.

    Attributes:
        source: A file, folder, pattern, or ``sql:`` and a query.
        home: The folder to which paths are relative.
    """

    source: str
    home: Path
    database: str | None = None
    partitions: str | None = None
    chunk_rows: int = CHUNK_ROWS


@dataclass(frozen=True)
class Partition:
    """A part of the rows that is scored at once and replaced at once.

    Attributes:
        name: Of a file its path below the folder that is scored, without its suffix; of a query what
            ``partitions`` listed. The same between runs.
        at: Where its rows are: a path, an ``s3://`` address, or the value that the query gets.
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
    """

    rows: pa.Table
    numbers: npt.NDArray[np.int64]
    odd: Sequence[OddRow] = ()
    done: float | None = None

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
    """

    columns: Sequence[str]
    chunks: Iterator[Chunk]
    text: Sequence[str] = ()
    dropped: int = 0


def list_partitions(source: Source, only: str = "*") -> list[Partition]:
    """Return the partitions of a source, in the order of their names.

    Args:
        source: What is scored.
        only: A pattern that names must fit, such as ``2026-*``.

    Raises:
        DataError: There are none, or two would have one name.
        Outage: The store or the database did not answer.
    """
    list_all = _query_partitions if source.source.startswith(SQL) else _file_partitions
    found = sorted(list_all(source), key=lambda part: part.name)
    if twice := next((one.name for one in found if [part.name for part in found].count(one.name) > 1), None):
        where = " and ".join(part.at for part in found if part.name == twice)
        raise DataError(f"two partitions are called {twice}, so one would replace the other: {where}")
    chosen = [part for part in found if fnmatch.fnmatchcase(part.name, only)]
    if not chosen:
        names = ", ".join(part.name for part in found[:5]) + (", ..." if len(found) > 5 else "")
        raise DataError(f"{source.source}: no partition is called {only}; available: {names or 'none'}")
    return chosen


def the_only_partition(source: Source) -> Partition:
    """Return the partition of a source that is one file or one query.

    Raises:
        DataError: There are several, or none.
    """
    found = list_partitions(source)
    if len(found) > 1:
        raise DataError(f"{source.source} is {len(found)} files; name one of them, such as {found[0].at}")
    return found[0]


@contextmanager
def open_partition(source: Source, partition: Partition, wanted: Sequence[str] | None) -> Iterator[Reader]:
    """Open a partition to read its rows in chunks.

    Args:
        source: What is scored.
        partition: One of ``list_partitions``.
        wanted: The columns that are used, or None for all. A parquet file is read for these only.

    A file below a folder ``key=value`` has the column ``key`` too. The named index of a parquet file is a
    column, an unnamed one is not there.

    Raises:
        DataError: The file is not what its name says, or the query is wrong.
        Outage: The store or the database did not answer.
    """
    if source.source.startswith(SQL):
        with _open_query(source, partition) as reader:
            yield reader
        return
    place = find_files(partition.at, source.home)
    with ExitStack() as stack:
        with file_errors(place):
            reader = _open_file(stack, place, source.chunk_rows, wanted)
        yield _with_folder_keys(reader, place, source.home, wanted)


def _open_file(stack: ExitStack, place: FilePlace, chunk_rows: int, wanted: Sequence[str] | None) -> Reader:
    def opened() -> Any:
        return stack.enter_context(place.store.open_input_file(place.path))

    if _kind(place.path) == ".parquet":
        return _open_parquet(opened(), place, chunk_rows, wanted)
    return _open_csv(opened, place, chunk_rows)


def _with_folder_keys(reader: Reader, place: FilePlace, home: Path, wanted: Sequence[str] | None) -> Reader:
    """Add the columns that the file's folders give it."""
    keys = folder_keys(place.path, home)
    used = {name: keys[name] for name in keys if wanted is None or name in wanted}
    if not keys:
        return reader
    chunks = (replace(chunk, rows=with_keys(chunk.rows, used, place.shown)) for chunk in reader.chunks)
    added = [name for name in keys if name not in reader.columns]
    return replace(reader, columns=[*reader.columns, *added], chunks=chunks, text=[*reader.text, *added])


def _file_partitions(source: Source) -> list[Partition]:
    place = find_files(source.source, source.home)
    folder, pattern = _fixed_part(place.path)
    base = folder if pattern else place.path
    with file_errors(place):
        info = place.store.get_file_info(base)
        if info.type == fs.FileType.File:
            return [_partition(place, info.path, str(PurePosixPath(info.path).parent))]
        if info.type == fs.FileType.NotFound:
            raise DataError(f"there is no file or folder {_shown(place, base)}")
        listed = place.store.get_file_info(fs.FileSelector(base, recursive=True))
    files = [
        one.path
        for one in listed
        if one.type == fs.FileType.File and _is_data(PurePosixPath(one.path).relative_to(base))
    ]
    if pattern:
        files = [
            path for path in files if PurePosixPath(path).match(place.path) and _as_deep(path, place.path)
        ]
    if not files:
        raise DataError(f"no file of {', '.join(SUFFIXES)} in {place.shown}")
    return [_partition(place, path, base) for path in files]


def _fixed_part(path: str) -> tuple[str, bool]:
    """Return the folder before the first wildcard of a pattern, and whether there is one."""
    parts = PurePosixPath(path).parts
    wild = next((place for place, part in enumerate(parts) if _WILD.search(part)), None)
    return (path, False) if wild is None else (str(PurePosixPath(*parts[:wild])), True)


def _as_deep(path: str, pattern: str) -> bool:
    return len(PurePosixPath(path).parts) == len(PurePosixPath(pattern).parts)


def _is_data(path: PurePosixPath) -> bool:
    """True for a table, unless it lies where writers put what is none (``_rejects``, ``.unfinished``)."""
    return path.name.endswith(SUFFIXES) and not any(part.startswith(("_", ".")) for part in path.parts)


def _partition(place: FilePlace, path: str, base: str) -> Partition:
    if not path.endswith(SUFFIXES):
        raise DataError(f"{_shown(place, path)}: allowed are {_ALLOWED}")
    name = str(PurePosixPath(path).relative_to(base))
    return Partition(name.removesuffix(".gz").removesuffix(_kind(path)), _shown(place, path))


def _shown(place: FilePlace, path: str) -> str:
    return f"s3://{path}" if place.is_s3 else path


def _kind(path: str) -> str:
    return PurePosixPath(path.removesuffix(".gz")).suffix


def _open_parquet(stream: Any, place: FilePlace, chunk_rows: int, wanted: Sequence[str] | None) -> Reader:
    # Without the buffer only what is decoded now is in memory, not whole row groups.
    file = pq.ParquetFile(stream, pre_buffer=False)
    _once_each(file.schema_arrow.names, place.shown)
    there, counted = _pandas_index(file.schema_arrow)
    # At least one: without columns nobody knows how many rows there are.
    columns = [name for name in there if wanted is None or name in set(wanted)] or there[:1]
    counted = {name: steps for name, steps in counted.items() if wanted is None or name in wanted}
    empty = pa.Table.from_batches([], pa.schema([file.schema_arrow.field(name) for name in columns]))

    def chunks() -> Iterator[Chunk]:
        with file_errors(place):
            batches = file.iter_batches(batch_size=chunk_rows, columns=columns, use_threads=False)
            tables = (pa.Table.from_batches([batch]).replace_schema_metadata() for batch in batches)
            for chunk in _numbered(_of_size(tables, chunk_rows, empty)):
                last = int(chunk.numbers[-1]) if len(chunk.numbers) else 0
                rows = chunk.rows
                for name, (start, step) in counted.items():
                    rows = rows.append_column(name, pa.array(start + (chunk.numbers - 1) * step))
                yield replace(chunk, rows=rows, done=last / max(file.metadata.num_rows, 1))

    return Reader([*there, *counted], chunks())


def _pandas_index(schema: pa.Schema) -> tuple[list[str], dict[str, tuple[int, int]]]:
    """Return the columns of a parquet file without an unnamed index, and a named one that only counts.

    pandas stores an index as a column that its own reader takes away again, and of one that counts only start
    and step: https://pandas.pydata.org/docs/development/developer.html
    """
    said = json.loads((schema.metadata or {}).get(b"pandas", b"{}")).get("index_columns", [])
    unnamed = {name for name in said if isinstance(name, str) and _UNNAMED_INDEX.fullmatch(name)}
    ranges = [one for one in said if isinstance(one, dict) and one.get("name") is not None]
    counted = {str(one["name"]): (int(one["start"]), int(one["step"])) for one in ranges}
    return [name for name in schema.names if name not in unnamed], counted


def _open_csv(opened: Callable[[], Any], place: FilePlace, chunk_rows: int) -> Reader:
    streams: list[Any] = []

    def from_the_beginning() -> Any:
        streams[:] = [opened()]
        if place.path.endswith(".gz"):
            # Kept with the other: when it goes, it closes it.
            streams.append(pa.CompressedInputStream(streams[0], "gzip"))
        return streams[-1]

    file = open_csv(from_the_beginning, place.shown)

    def chunks() -> Iterator[Chunk]:
        with file_errors(place):
            size = streams[0].size()
            tables = (pa.Table.from_batches([batch]) for batch in file.batches)
            for chunk in _numbered(_of_size(tables, chunk_rows, file.empty), file.odd.found):
                yield replace(chunk, done=streams[0].tell() / max(size, 1))

    return Reader(file.columns, chunks(), file.columns, file.dropped)


def _once_each(columns: Sequence[str], shown: str) -> None:
    if twice := next((name for name in columns if list(columns).count(name) > 1), None):
        raise DataError(f"{shown}: column '{twice}' appears twice")


def _of_size(tables: Iterable[pa.Table], rows: int, empty: pa.Table) -> Iterator[pa.Table]:
    """Cut tables to the same number of rows each, however they came; at least one table."""
    waiting, count, given = [empty], 0, False
    for table in tables:
        waiting.append(table)
        count += len(table)
        while count >= rows:
            joined = pa.concat_tables(waiting)
            yield joined.slice(0, rows)
            given, count = True, count - rows
            waiting = [empty, joined.slice(rows)]
    if count or not given:
        yield pa.concat_tables(waiting)


def _numbered(tables: Iterable[pa.Table], odd: list[OddRow] | None = None) -> Iterator[Chunk]:
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


def _query_partitions(source: Source) -> list[Partition]:
    if source.partitions is None:
        return [Partition(ALL, "")]
    engine = database_engine(source.database)
    with database_errors(f"listing the partitions of {source.source}"), engine.connect() as connection:
        values = list(connection.scalars(sa.text(source.partitions)))
    if any(value in (None, "") for value in values):
        raise DataError(f"{source.partitions}: lists a partition without a value")
    # A name becomes a file's name, and leads nowhere else.
    return [Partition(quote(str(value), safe=" =:+,@"), str(value)) for value in values]


@contextmanager
def _open_query(source: Source, partition: Partition) -> Iterator[Reader]:
    query = query_of(source.source)
    statement = sa.text(query)
    if PLACEHOLDER.search(query):
        statement = statement.bindparams(**{PARTITION: partition.at})
    doing, engine = f"reading {source.source}", database_engine(source.database)
    with ExitStack() as stack:
        with database_errors(doing):
            connection = stack.enter_context(engine.connect())
            streaming = connection.execution_options(stream_results=True, max_row_buffer=source.chunk_rows)
            result = streaming.execute(statement)
        columns = list(result.keys())
        _once_each(columns, source.source)

        def tables() -> Iterator[pa.Table]:
            types: dict[str, pa.DataType] = {}
            with database_errors(doing):
                for rows in chain([result.fetchmany(source.chunk_rows)], _many(result, source.chunk_rows)):
                    yield _table(columns, rows, types)

        yield Reader(columns, _numbered(tables()))


def _many(result: sa.CursorResult[Any], rows: int) -> Iterator[Sequence[sa.Row[Any]]]:
    while some := result.fetchmany(rows):
        yield some


def _table(columns: Sequence[str], rows: Sequence[Any], types: dict[str, pa.DataType]) -> pa.Table:
    """Make a table of rows; a column keeps the type that it had first, text where it began with nothing."""
    by_column = zip(*rows, strict=True) if rows else ((),) * len(columns)
    return pa.table(
        {name: _array(name, values, types) for name, values in zip(columns, by_column, strict=True)}
    )


def _array(name: str, values: Sequence[Any], types: dict[str, pa.DataType]) -> pa.Array:
    plain = [str(value) if isinstance(value, Decimal | UUID) else value for value in values]
    try:
        if name not in types:
            first = pa.array(plain)
            types[name] = pa.string() if pa.types.is_null(first.type) else first.type
            return first.cast(types[name])
        return pa.array(plain, type=types[name])
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise DataError(f"column '{name}' of the query: {error}; cast it in the query") from error
