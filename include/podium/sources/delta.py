"""The rows of a Delta table, at the version that it had when it was listed."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from podium.errors import DataError, Outage, PodiumError
from podium.model_file.source import DELTA, S3
from podium.sources.chunks import (
    Partition,
    Reader,
    Source,
    chosen,
    is_moment,
    moment_of,
    numbered,
    of_size,
    once_each,
)

ALL = "all"
INSTALL = ".venv/bin/uv pip install --require-hashes -r requirements-delta.txt"


def delta_partitions(source: Source) -> list[Partition]:
    """Return the table as one partition, pinned to its newest version."""
    with _delta_errors(source):
        return [Partition(ALL, str(_table(source, None).version()))]


@contextmanager
def open_delta(source: Source, partition: Partition, wanted: Sequence[str] | None) -> Iterator[Reader]:
    """Open a version of a table; columns and ``as_of`` are left to the statistics of its files."""
    with _delta_errors(source):
        dataset = _table(source, int(partition.at)).to_pyarrow_dataset()
        names = list(dataset.schema.names)
        once_each(names, source.source)
        columns = chosen(names, wanted) or names[:1]
        scanner = dataset.scanner(columns, filter=_known(dataset.schema, source))
    empty = pa.schema([dataset.schema.field(name) for name in columns]).empty_table()

    def tables() -> Iterator[pa.Table]:
        with _delta_errors(source):
            for batch in scanner.to_batches():
                if len(batch):
                    yield pa.Table.from_batches([batch]).replace_schema_metadata()

    yield Reader(names, numbered(of_size(tables(), source.chunk_rows, empty)))


def _known(schema: pa.Schema, source: Source) -> Any:
    name = source.time_column
    if source.as_of is None or name is None or name not in schema.names:
        return None
    if not is_moment(schema.field(name).type):
        return None
    field = pc.field(name)
    return (field < moment_of(source.as_of, schema.field(name).type)) | field.is_null()


def _table(source: Source, version: int | None) -> Any:
    try:
        from deltalake import DeltaTable
    except ImportError as error:
        raise PodiumError(f"{source.source}: the package deltalake is not installed: {INSTALL}") from error
    place = source.source.removeprefix(DELTA).strip()
    is_s3 = place.startswith(S3)
    at = place if is_s3 else str(Path(source.home) / place)
    return DeltaTable(at, version=version, storage_options=_options() if is_s3 else None)


def _options() -> dict[str, str]:
    """Return what deltalake does not find in the environment by itself."""
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""
    options = {
        "AWS_REGION": os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
    }
    if endpoint:
        options["AWS_ENDPOINT_URL"] = endpoint
    if endpoint.startswith("http://"):
        options["AWS_ALLOW_HTTP"] = "true"
    return options


@contextmanager
def _delta_errors(source: Source) -> Iterator[None]:
    """Translate what deltalake and Arrow raise.

    Raises:
        DataError: There is no such table, or it has what cannot be read.
        Outage: The store did not answer.
    """
    try:
        from deltalake.exceptions import DeltaError, TableNotFoundError
    except ImportError:
        yield
        return
    try:
        yield
    except TableNotFoundError as error:
        raise DataError(f"{source.source}: there is no Delta table") from error
    except (DeltaError, pa.ArrowInvalid) as error:
        raise DataError(f"{source.source} cannot be read: {str(error).splitlines()[0]}") from error
    except OSError as error:
        raise Outage(f"{source.source}: the store did not answer: {str(error).splitlines()[0]}") from error
