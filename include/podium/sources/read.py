"""Rows to score: csv, parquet, SQL and ``s3://``, one partition after another, in chunks of bounded size."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
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
from pyarrow import csv, fs

from podium.errors import DataError
from podium.model_file.scoring import CHUNK_ROWS, PARTITION, PLACEHOLDER, SQL
from podium.sources.storage import (
    FilePlace,
    database_engine,
    database_errors,
    file_errors,
    find_files,
    query_of,
)

SUFFIXES = (".csv", ".csv.gz", ".parquet")
ALL = "all"
_WILD = re.compile(r"[*?\[]")
_BLOCK_BYTES = 4 << 20
_LONGEST_LINE_SHOWN = 200


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
        rows: The rows; those of a csv as bytes.
        numbers: The number of each row in its partition, from 1.
        unreadable: Lines of a csv that are no rows: number and reason.
        done: The share of the partition that is read, 0 to 1; None where nobody knows.
    """

    rows: pa.Table
    numbers: npt.NDArray[np.int64]
    unreadable: Sequence[tuple[int, str]] = ()
    done: float | None = None


@dataclass(frozen=True)
class Reader:
    """An open partition.

    Attributes:
        columns: The names of its columns.
        chunks: Its rows, at least one chunk, which may be empty.
    """

    columns: Sequence[str]
    chunks: Iterator[Chunk]


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
        raise DataError(f"{source.source}: no partition is called {only}; there are: {names or 'none'}")
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
            stream = stack.enter_context(place.store.open_input_file(place.path))
            if _kind(place.path) == ".parquet":
                reader = _open_parquet(stream, place, source.chunk_rows, wanted)
            else:
                reader = _open_csv(stream, place, source.chunk_rows)
        yield reader


def _file_partitions(source: Source) -> list[Partition]:
    place = find_files(source.source, source.home)
    folder, pattern = _fixed_part(place.path)
    base = folder if pattern else place.path
    with file_errors(place):
        info = place.store.get_file_info(base)
        if info.type == fs.FileType.File:
            return [_partition(place, info.path, str(PurePosixPath(info.path).parent))]
        if info.type == fs.FileType.NotFound:
            raise DataError(f"there is no {_shown(place, base)}")
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
        raise DataError(f"{_shown(place, path)}: allowed are {', '.join(SUFFIXES)}")
    name = str(PurePosixPath(path).relative_to(base))
    return Partition(name.removesuffix(".gz").removesuffix(_kind(path)), _shown(place, path))


def _shown(place: FilePlace, path: str) -> str:
    return f"s3://{path}" if place.is_s3 else path


def _kind(path: str) -> str:
    return PurePosixPath(path.removesuffix(".gz")).suffix


def _open_parquet(stream: Any, place: FilePlace, chunk_rows: int, wanted: Sequence[str] | None) -> Reader:
    # Without the buffer only what is decoded now is in memory, not whole row groups.
    file = pq.ParquetFile(stream, pre_buffer=False)
    there = file.schema_arrow.names
    columns = None if wanted is None else [name for name in there if name in set(wanted)]
    empty = pa.Table.from_batches([], file.schema_arrow if columns is None else _part(file, columns))

    def chunks() -> Iterator[Chunk]:
        with file_errors(place):
            batches = file.iter_batches(batch_size=chunk_rows, columns=columns, use_threads=False)
            tables = (pa.Table.from_batches([batch]) for batch in batches)
            for chunk in _numbered(_of_size(tables, chunk_rows, empty)):
                last = int(chunk.numbers[-1]) if len(chunk.numbers) else 0
                yield replace(chunk, done=last / max(file.metadata.num_rows, 1))

    return Reader(there, chunks())


def _part(file: pq.ParquetFile, columns: Sequence[str]) -> pa.Schema:
    return pa.schema([file.schema_arrow.field(name) for name in columns])


@dataclass
class _Unreadable:
    """Lines of a csv that are no rows, as Arrow comes across them: it reads ahead of what it gives."""

    found: list[tuple[int, str]] = field(default_factory=list)

    def __call__(self, line: Any) -> str:
        shown = f"{line.text[:_LONGEST_LINE_SHOWN]}{'...' if len(line.text) > _LONGEST_LINE_SHOWN else ''}"
        what = f"the line has {line.actual_columns} columns, not {line.expected_columns}: {shown}"
        # The header is line 1.
        self.found.append((line.number - 1, what))
        return "skip"


def _open_csv(stream: Any, place: FilePlace, chunk_rows: int) -> Reader:
    size, unreadable = stream.size(), _Unreadable()
    reader = csv.open_csv(
        pa.CompressedInputStream(stream, "gzip") if place.path.endswith(".gz") else stream,
        # In one thread, or lines would have no numbers.
        read_options=csv.ReadOptions(use_threads=False, block_size=_BLOCK_BYTES),
        parse_options=csv.ParseOptions(newlines_in_values=True, invalid_row_handler=unreadable),
        # As bytes: whatever a row says, it stops no other row.
        convert_options=csv.ConvertOptions(default_column_type=pa.binary(), strings_can_be_null=False),
    )
    _once_each(reader.schema.names, place.shown)
    empty = reader.schema.empty_table()

    def chunks() -> Iterator[Chunk]:
        with file_errors(place):
            tables = (pa.Table.from_batches([batch]) for batch in reader)
            for chunk in _numbered(_of_size(tables, chunk_rows, empty), unreadable.found):
                yield replace(chunk, done=stream.tell() / max(size, 1))

    return Reader(reader.schema.names, chunks())


def _once_each(columns: Sequence[str], shown: str) -> None:
    if twice := next((name for name in columns if list(columns).count(name) > 1), None):
        raise DataError(f"{shown}: column '{twice}' is there twice")


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


def _numbered(tables: Iterable[pa.Table], unreadable: list[tuple[int, str]] | None = None) -> Iterator[Chunk]:
    """Number the rows, past the lines that are no rows, and hand each of these over once."""
    last, skipped = 0, unreadable if unreadable is not None else []
    for table in tables:
        numbers = np.arange(last + 1, last + 1 + len(table), dtype=np.int64)
        taken: list[tuple[int, str]] = []
        while skipped and (not len(table) or skipped[0][0] <= numbers[-1]):
            taken.append(skipped.pop(0))
            numbers[numbers >= taken[-1][0]] += 1
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
