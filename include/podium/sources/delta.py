"""The rows of a Delta table, at the version that it had when it was listed."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa

from podium.errors import DataError, Outage, PodiumError
from podium.model_file.extras import how_to_install
from podium.model_file.source import DELTA, S3
from podium.sources.chunks import (
    Partition,
    Reader,
    Source,
    chosen,
    is_moment,
    numbered,
    of_size,
)

ALL = "all"
# Files in their order, one after the other: equal tables give equal rows in equal order.
_IN_ORDER = {
    "datafusion.execution.target_partitions": "1",
    "datafusion.execution.parquet.schema_force_view_types": "false",
}
# Objects that are not there are told otherwise.
_OF_THE_STORE = re.compile(r"Generic S3 error|HTTP error|error sending request")
_OTHER_WAYS = (
    "; read it through the database that wrote it (sql:), or write a copy without that feature of Delta"
)
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_LONGEST = 1000


def delta_partitions(source: Source) -> list[Partition]:
    """Return the table as one partition, pinned to its newest version."""
    with _delta_errors(source):
        return [Partition(ALL, str(_table(source, None).version()))]


@contextmanager
def open_delta(source: Source, partition: Partition, wanted: Sequence[str] | None) -> Iterator[Reader]:
    """Open a version of a table; columns and ``as_of`` are left to the statistics of its files.

    It is read by the query engine of deltalake, which knows deletion vectors and mapped columns. Its dataset
    of pyarrow refuses the first, and gives only missing values for the second.
    """
    with _delta_errors(source):
        table = _table(source, int(partition.at))
        schema = pa.schema(table.schema().to_arrow()).remove_metadata()
        columns = chosen(schema.names, wanted) or schema.names[:1]
        batches = _asked(table, columns, _known(schema, source))
    # The engine has text in a type of its own.
    kinds = pa.schema([schema.field(name).remove_metadata() for name in columns])

    def tables() -> Iterator[pa.Table]:
        with _delta_errors(source):
            for batch in batches:
                yield pa.Table.from_batches([batch]).replace_schema_metadata().cast(kinds)

    yield Reader(schema.names, numbered(of_size(tables(), source.chunk_rows, kinds.empty_table())))


def _asked(table: Any, columns: Sequence[str], known: str) -> pa.RecordBatchReader:
    from deltalake import QueryBuilder

    query = f"SELECT {', '.join(map(_quoted, columns))} FROM podium_rows{known}"  # noqa: S608 - all are quoted
    return pa.RecordBatchReader.from_stream(
        QueryBuilder(_IN_ORDER).register("podium_rows", table).execute(query)
    )


def _known(schema: pa.Schema, source: Source) -> str:
    """Return the condition that leaves out later rows; "" where nobody can tell."""
    name = source.time_column
    if source.as_of is None or name is None or name not in schema.names:
        return ""
    if not is_moment(schema.field(name).type):
        return ""
    return f" WHERE {_quoted(name)} < TIMESTAMP '{source.as_of.isoformat()}Z' OR {_quoted(name)} IS NULL"


def _quoted(name: str) -> str:
    return f'"{name.replace(chr(34), chr(34) * 2)}"'


def _table(source: Source, version: int | None) -> Any:
    try:
        from deltalake import DeltaTable
    except ImportError as error:
        hint = how_to_install("deltalake")
        raise PodiumError(f"{source.source}: the package deltalake is not installed{hint}") from error
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
        if _OF_THE_STORE.search(str(error)):
            raise _outage(source, error) from error
        way_out = _OTHER_WAYS if "nsupported" in str(error) or "not supported" in str(error) else ""
        raise DataError(f"{source.source} cannot be read: {_plain(error)}{way_out}") from error
    except OSError as error:
        raise _outage(source, error) from error


def _outage(source: Source, error: Exception) -> Outage:
    return Outage(f"{source.source}: the store did not answer: {_plain(error)}")


def _plain(error: Exception) -> str:
    """Return what deltalake says, on one line and without colours."""
    said = " ".join(_COLOURS.sub("", str(error)).replace("↳", " ").split())
    return said if len(said) <= _LONGEST else f"{said[:_LONGEST]}..."
