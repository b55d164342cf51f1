"""The rows of a query: row by row, or from Postgres by COPY where all types are plain."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC
from decimal import Decimal
from itertools import chain
from typing import Any
from urllib.parse import quote
from uuid import UUID

import pyarrow as pa
import sqlalchemy as sa
from pyarrow import csv

from podium.errors import DataError
from podium.model_file.scoring import CHUNK_ROWS, PARTITION, PLACEHOLDER
from podium.model_file.source import AS_OF, asks_as_of
from podium.sources.chunks import Chunk, Partition, Reader, Source, chosen, numbered, of_size, once_each
from podium.sources.storage import database_engine, database_errors, query_of

ALL = "all"
_PIPE_BYTES = 4 << 20
# Arrow reads 32 blocks ahead of what it parses.
_BLOCK_BYTES = 2 << 20
# Types of Postgres by their numbers, which never change (pg_type.dat), that COPY writes as Arrow reads them.
_DECIMAL = 1700
_PLAIN: Mapping[int, pa.DataType] = {
    16: pa.bool_(),
    **dict.fromkeys((20, 21, 23), pa.int64()),
    **dict.fromkeys((700, 701), pa.float64()),
    **dict.fromkeys((25, 1043, 2950, _DECIMAL), pa.string()),
    1082: pa.date32(),
    1114: pa.timestamp("us"),
    1184: pa.timestamp("us", "UTC"),
}


def query_partitions(source: Source) -> list[Partition]:
    """Return the values that ``partitions`` lists; one partition without it."""
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
def open_query(source: Source, partition: Partition, wanted: Sequence[str] | None) -> Iterator[Reader]:
    """Open a query; from Postgres only the wanted columns come.

    ``:as_of`` is a moment in UTC. One statement sees one state of the database, whatever is written
    meanwhile.
    """
    doing, engine = f"reading {source.source}", database_engine(source.database)
    with database_errors(doing), ExitStack() as stack:
        connection = stack.enter_context(engine.connect())
        if engine.dialect.name == "postgresql":
            # Else :as_of, and moments without a zone, would be of the server's zone.
            connection.execute(sa.text("SET TIME ZONE 'UTC'"))
        asked = _Asked(connection, query_of(source.source).rstrip("; \n"), _values(source, partition))
        types = _plain_types(asked)
        if types is not None:
            once_each([name for name, _ in types], source.source)
            yield stack.enter_context(_copied(asked, dict(types), source, wanted))
        else:
            yield _by_rows(asked, source, wanted)


@dataclass(frozen=True)
class _Asked:
    """A query, and what its parameters stand for."""

    connection: sa.Connection
    query: str
    values: Mapping[str, Any]

    def statement(self) -> sa.TextClause:
        """Return it as SQLAlchemy runs it."""
        bound = [
            sa.bindparam(name, value, type_=sa.DateTime(timezone=True) if name == AS_OF else None)
            for name, value in self.values.items()
        ]
        return sa.text(self.query).bindparams(*bound)

    def literal(self, cursor: Any) -> str:
        """Return it with the values in it, as psycopg2 quotes them: COPY takes no parameters."""
        compiled = self.statement().compile(dialect=self.connection.dialect)
        written: bytes = cursor.mogrify(str(compiled), dict(self.values))
        return written.decode()


def _values(source: Source, partition: Partition) -> dict[str, Any]:
    query = query_of(source.source)
    values: dict[str, Any] = {}
    if PLACEHOLDER.search(query):
        values[PARTITION] = partition.at
    if asks_as_of(query) and source.as_of is not None:
        values[AS_OF] = source.as_of.replace(tzinfo=UTC)
    return values


def _by_rows(asked: _Asked, source: Source, wanted: Sequence[str] | None) -> Reader:
    doing, rows = f"reading {source.source}", source.chunk_rows or CHUNK_ROWS
    streaming = asked.connection.execution_options(stream_results=True, max_row_buffer=rows)
    result = streaming.execute(asked.statement())
    columns = list(result.keys())
    once_each(columns, source.source)
    places = [columns.index(name) for name in chosen(columns, wanted) or columns[:1]]
    decimals: list[str] = []

    def tables() -> Iterator[pa.Table]:
        types: dict[str, pa.DataType] = {}
        with database_errors(doing):
            for some in chain([result.fetchmany(rows)], _many(result, rows)):
                yield _table([columns[place] for place in places], places, some, types, decimals)

    return Reader(columns, numbered(tables()), decimals=decimals)


def _many(result: sa.CursorResult[Any], rows: int) -> Iterator[Sequence[sa.Row[Any]]]:
    while some := result.fetchmany(rows):
        yield some


def _table(
    columns: Sequence[str],
    places: Sequence[int],
    rows: Sequence[Any],
    types: dict[str, pa.DataType],
    decimals: list[str],
) -> pa.Table:
    """Make a table of rows; a column keeps the type that it had first, text where it began with nothing."""
    by_column = list(zip(*rows, strict=True)) if rows else []
    arrays = {}
    for name, place in zip(columns, places, strict=True):
        values = by_column[place] if rows else ()
        if name not in decimals and any(isinstance(value, Decimal) for value in values):
            decimals.append(name)
        arrays[name] = _array(name, values, types)
    return pa.table(arrays)


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


def _plain_types(asked: _Asked) -> list[tuple[str, int]] | None:
    """Return the columns of a query with their types if COPY can write them; None elsewhere than Postgres."""
    dialect = asked.connection.dialect
    if (dialect.name, dialect.driver) != ("postgresql", "psycopg2"):
        return None
    with _cursor(asked) as cursor:
        # The query is the model file's, which somebody reviewed.
        cursor.execute(f"SELECT * FROM ({asked.literal(cursor)}) AS podium_rows LIMIT 0")  # noqa: S608
        described = [(column.name, int(column.type_code)) for column in cursor.description]
    return described if all(kind in _PLAIN for _, kind in described) else None


@contextmanager
def _cursor(asked: _Asked) -> Iterator[Any]:
    """Give psycopg2's own cursor; what it raises comes as SQLAlchemy says it."""
    import psycopg2

    connection: Any = asked.connection.connection
    try:
        with connection.cursor() as cursor:
            yield cursor
    except psycopg2.Error as error:
        raise sa.exc.DBAPIError.instance("", None, error, psycopg2.Error) from error


@contextmanager
def _copied(
    asked: _Asked, types: Mapping[str, int], source: Source, wanted: Sequence[str] | None
) -> Iterator[Reader]:
    """Read by COPY: Postgres writes csv into a pipe, and Arrow parses it on the other end."""
    columns = chosen(list(types), wanted) or list(types)[:1]
    quote_name = asked.connection.dialect.identifier_preparer.quote_identifier
    quoted = ", ".join(map(quote_name, columns))
    kinds = {name: _PLAIN[types[name]] for name in columns}
    doing = f"reading {source.source}"

    def copy(sink: Any) -> None:
        with _cursor(asked) as cursor:
            chosen_rows = f"SELECT {quoted} FROM ({asked.literal(cursor)}) AS podium_rows"  # noqa: S608
            cursor.copy_expert(f"COPY ({chosen_rows}) TO STDOUT (FORMAT csv)", sink)

    with _piped(copy) as (stream, assert_whole):

        def tables() -> Iterator[pa.Table]:
            with database_errors(doing):
                for batch in _parsed(stream, kinds, source.source):
                    yield pa.Table.from_batches([batch])
                assert_whole()

        empty = pa.schema(list(kinds.items())).empty_table()
        decimals = [name for name in columns if types[name] == _DECIMAL]
        chunks: Iterator[Chunk] = numbered(of_size(tables(), source.chunk_rows, empty))
        yield Reader(list(types), chunks, decimals=decimals)


def _parsed(stream: Any, kinds: Mapping[str, pa.DataType], shown: str) -> Iterator[pa.RecordBatch]:
    convert = csv.ConvertOptions(
        column_types=dict(kinds),
        null_values=[""],
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
        true_values=["t"],
        false_values=["f"],
    )
    try:
        # An answer without rows is no csv for Arrow.
        if not stream.peek(1):
            return
        reader = csv.open_csv(
            stream,
            read_options=csv.ReadOptions(column_names=list(kinds), block_size=_BLOCK_BYTES),
            parse_options=csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=False),
            convert_options=convert,
        )
        yield from reader
    except pa.ArrowInvalid as error:
        if "straddling" in str(error):
            # A line longer than a block: https://arrow.apache.org/docs/python/generated/pyarrow.csv.ReadOptions.html
            long = f"a row is longer than {_BLOCK_BYTES >> 20} MB; leave its long column out of the query"
            raise DataError(f"{shown}: {long}") from error
        raise DataError(f"{shown}: {str(error).splitlines()[0]}; cast it in the query") from error


@contextmanager
def _piped(write: Callable[[Any], None]) -> Iterator[tuple[Any, Callable[[], None]]]:
    """Let a thread write into a pipe; give its other end, and what raises the thread's error at the end."""
    read_end, write_end = os.pipe()
    failed: list[BaseException] = []

    def work() -> None:
        try:
            with os.fdopen(write_end, "wb", buffering=_PIPE_BYTES) as sink:
                write(sink)
        except BaseException as error:  # noqa: BLE001 - raised again in the reader's thread
            failed.append(error)

    thread = threading.Thread(target=work, name="podium-copy", daemon=True)

    def assert_whole() -> None:
        thread.join()
        if failed:
            raise failed[0]

    with os.fdopen(read_end, "rb", buffering=_PIPE_BYTES) as stream:
        thread.start()
        yield stream, assert_whole
    # Whoever reads no further closed the pipe, so the thread ends as well.
    thread.join()
