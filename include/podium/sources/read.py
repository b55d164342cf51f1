"""Rows: csv, parquet, SQL and ``s3://``, one partition after another, in chunks of bounded size."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
from pyarrow import fs

from podium.errors import DataError
from podium.model_file.source import DELTA, SQL, SUFFIXES
from podium.sources.chunks import Chunk, Partition, Reader, Source, known_rows, numbered, of_size
from podium.sources.csv_file import open_csv
from podium.sources.delta import delta_partitions, open_delta
from podium.sources.folder_keys import folder_keys, with_keys
from podium.sources.parquet_file import open_parquet
from podium.sources.query import open_query, query_partitions
from podium.sources.storage import FilePlace, file_errors, find_files

__all__ = [
    "Chunk",
    "Partition",
    "Reader",
    "Source",
    "list_partitions",
    "open_partition",
    "the_only_partition",
]

_ALLOWED = f"{', '.join(SUFFIXES[:-1])} and {SUFFIXES[-1]}"
_WILD = re.compile(r"[*?\[]")


def list_partitions(source: Source, only: str = "*") -> list[Partition]:
    """Return the partitions of a source, in the order of their names.

    Args:
        source: What is scored.
        only: A pattern that names must fit, such as ``2026-*``.

    Raises:
        DataError: There are none, or two would have one name.
        Outage: The store or the database did not answer.
    """
    found = sorted(_all_partitions(source), key=lambda part: part.name)
    if twice := next((one.name for one in found if [part.name for part in found].count(one.name) > 1), None):
        where = " and ".join(part.at for part in found if part.name == twice)
        raise DataError(f"two partitions are called {twice}, so one would replace the other: {where}")
    chosen = [part for part in found if fnmatch.fnmatchcase(part.name, only)]
    if not chosen:
        names = ", ".join(part.name for part in found[:5]) + (", ..." if len(found) > 5 else "")
        raise DataError(f"{source.source}: no partition is called {only}; available: {names or 'none'}")
    return chosen


def _all_partitions(source: Source) -> list[Partition]:
    if source.source.startswith(SQL):
        return query_partitions(source)
    if source.source.startswith(DELTA):
        return delta_partitions(source)
    return _file_partitions(source)


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
        wanted: The columns that are used, or None for all. A parquet file, a Delta table and Postgres are
            read for these only.

    A file below a folder ``key=value`` has the column ``key`` too. The named index of a parquet file is a
    column, an unnamed one is not there.

    Raises:
        DataError: The file is not what its name says, or the query is wrong.
        Outage: The store or the database did not answer.
    """
    if source.source.startswith((SQL, DELTA)):
        opened = open_query if source.source.startswith(SQL) else open_delta
        with opened(source, partition, wanted) as reader:
            yield _without_later(reader, source)
        return
    place = find_files(partition.at, source.home)
    with ExitStack() as stack:
        with file_errors(place):
            reader = _open_file(stack, place, source, wanted)
        yield _with_folder_keys(_without_later(reader, source), place, source.home, wanted)


def _without_later(reader: Reader, source: Source) -> Reader:
    return replace(reader, chunks=(known_rows(chunk, source) for chunk in reader.chunks))


def _open_file(stack: ExitStack, place: FilePlace, source: Source, wanted: Sequence[str] | None) -> Reader:
    def opened() -> Any:
        return stack.enter_context(place.store.open_input_file(place.path))

    if _kind(place.path) == ".parquet":
        return open_parquet(opened(), place, source, wanted)
    return _open_csv(opened, place, source.chunk_rows)


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


def _open_csv(opened: Callable[[], Any], place: FilePlace, chunk_rows: int | None) -> Reader:
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
            for chunk in numbered(of_size(tables, chunk_rows, file.empty), file.odd.found):
                yield replace(chunk, done=streams[0].tell() / max(size, 1))

    return Reader(file.columns, chunks(), file.columns, file.dropped)
