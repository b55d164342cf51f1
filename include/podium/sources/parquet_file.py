"""A parquet file opened to read the columns and row groups that are wanted."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, time
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from podium.sources.chunks import Chunk, Reader, Source, chosen, is_moment, numbered, of_size, once_each
from podium.sources.storage import FilePlace, file_errors

_UNNAMED_INDEX = re.compile(r"__index_level_\d+__")


def open_parquet(stream: Any, place: FilePlace, source: Source, wanted: Sequence[str] | None) -> Reader:
    """Open a parquet file; a row group whose statistics show that all of it is later is not read."""
    # Without the buffer only what is decoded now is in memory, not whole row groups.
    file = pq.ParquetFile(stream, pre_buffer=source.chunk_rows is None)
    once_each(file.schema_arrow.names, place.shown)
    there, counted = _pandas_index(file.schema_arrow)
    # At least one: without columns nobody knows how many rows there are.
    columns = chosen(there, wanted) or there[:1]
    counted = {name: steps for name, steps in counted.items() if wanted is None or name in wanted}
    empty = pa.Table.from_batches([], pa.schema([file.schema_arrow.field(name) for name in columns]))
    groups = _known_groups(file, source)

    def chunks() -> Iterator[Chunk]:
        with file_errors(place):
            tables = (table.replace_schema_metadata() for table in _tables(file, groups, columns, source))
            for chunk in _in_place(file, groups, numbered(of_size(tables, source.chunk_rows, empty))):
                last = int(chunk.numbers[-1]) if len(chunk.numbers) else 0
                rows = chunk.rows
                for name, (start, step) in counted.items():
                    rows = rows.append_column(name, pa.array(start + (chunk.numbers - 1) * step))
                yield replace(chunk, rows=rows, done=last / max(file.metadata.num_rows, 1))

    return Reader([*there, *counted], chunks())


def _tables(
    file: pq.ParquetFile, groups: Sequence[int], columns: Sequence[str], source: Source
) -> Iterator[pa.Table]:
    if source.chunk_rows is None:
        for group in groups:
            yield file.read_row_group(group, columns=columns)
    elif groups:
        for batch in file.iter_batches(
            batch_size=source.chunk_rows, row_groups=groups, columns=columns, use_threads=False
        ):
            yield pa.Table.from_batches([batch])


def _in_place(file: pq.ParquetFile, groups: Sequence[int], chunks: Iterator[Chunk]) -> Iterator[Chunk]:
    """Number rows as the whole file does, and tell with the first chunk how many were left out."""
    sizes = [file.metadata.row_group(group).num_rows for group in range(file.metadata.num_row_groups)]
    later = sum(sizes) - sum(sizes[group] for group in groups)
    if later:
        starts = np.cumsum([0, *sizes])
        ends = np.cumsum([sizes[group] for group in groups])
        shifts = np.array([starts[group] for group in groups]) - np.array([0, *ends[:-1]][: len(ends)])
    for place, chunk in enumerate(chunks):
        numbers = chunk.numbers
        if later and len(numbers):
            numbers = numbers + shifts[np.searchsorted(ends, numbers)]
        yield replace(chunk, numbers=numbers, later=0 if place else later)


def _known_groups(file: pq.ParquetFile, source: Source) -> list[int]:
    groups = list(range(file.metadata.num_row_groups))
    name = source.time_column
    if source.as_of is None or name is None or name not in file.schema_arrow.names:
        return groups
    if not is_moment(file.schema_arrow.field(name).type):
        return groups
    return [group for group in groups if not _all_later(file.metadata.row_group(group), name, source.as_of)]


def _all_later(group: Any, name: str, as_of: datetime) -> bool:
    columns = (group.column(place) for place in range(group.num_columns))
    found = next((column.statistics for column in columns if column.path_in_schema == name), None)
    if found is None or not found.has_min_max or not found.has_null_count or found.null_count:
        return False
    return _in_utc(found.min) >= as_of


def _in_utc(value: date) -> datetime:
    if not isinstance(value, datetime):
        return datetime.combine(value, time.min)
    return value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value


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
