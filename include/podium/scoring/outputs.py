"""Where scores go: parquet files on disk or in S3, or a table. A partition is replaced whole or not."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from glob import escape
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq
import sqlalchemy as sa

from podium.disk import full_disk_named
from podium.errors import DataError, Outage
from podium.model_file.scoring import PARTITION
from podium.model_file.source import S3, SQL
from podium.sources.storage import database_engine, database_errors, query_of

REJECTS_FOLDER = "_rejects"
REJECTS_TABLE = "_rejects"


@dataclass(frozen=True)
class Output:
    """Where the scores of one partition go.

    Attributes:
        at: A path, an ``s3://`` address, or ``sql:`` and a table.
        partition: The partition's name; rows of a table carry it.
        home: The folder to which paths are relative.
        database: Of a table: the environment variable with the database's URL.
    """

    at: str
    partition: str
    home: Path
    database: str | None = None

    @property
    def rejects_at(self) -> str:
        """Where the rows go that could not be scored."""
        if self.at.startswith(SQL):
            return f"{self.at}{REJECTS_TABLE}"
        folder, _, name = self.at.rpartition("/")
        return f"{folder}/{REJECTS_FOLDER}/{name}" if folder else f"{REJECTS_FOLDER}/{name}"


def output_of(folder: str, partition: str, home: Path, database: str | None) -> Output:
    """Return where the scores of a partition go in the folder, prefix or table of a model file."""
    at = folder if folder.startswith(SQL) else f"{folder.rstrip('/')}/{partition}.parquet"
    return Output(at, partition, home, database)


class Writer(Protocol):
    """What ``writing`` gives: both take tables of one schema, in order."""

    def add(self, table: pa.Table) -> None:
        """Write scored rows."""

    def reject(self, table: pa.Table) -> None:
        """Write rows that could not be scored."""


@contextmanager
def writing(output: Output) -> Iterator[Writer]:
    """Write the scores of a partition in the place of what was there; nothing changes unless the block ends.

    The rejects are replaced before the scores, and removed where there are none any more.

    Raises:
        DataError: The place cannot be written, or a table has other columns.
        DiskFull: There is no room for the files. Nothing is half-done.
        Outage: The store or the database did not answer. Nothing is half-done.
    """
    if output.at.startswith(SQL):
        with _writing_table(output) as writer:
            yield writer
    elif output.at.startswith(S3):
        with TemporaryDirectory(prefix="podium-") as folder:
            files = _Files(Path(folder) / "scores", Path(folder) / "rejects")
            with files.open():
                yield files
            _upload(files, output)
    else:
        place, rejects = output.home / output.at, output.home / output.rejects_at
        with _local_errors(place):
            files = _Files(_unfinished(place), _unfinished(rejects))
        try:
            with files.open():
                yield files
            with _local_errors(place):
                _replace(files.rejects if files.rejected else None, rejects)
                _replace(files.scores, place)
        finally:
            files.scores.unlink(missing_ok=True)
            files.rejects.unlink(missing_ok=True)


class _Files:
    """The two parquet files of a partition while they are written."""

    def __init__(self, scores: Path, rejects: Path) -> None:
        self.scores, self.rejects = scores, rejects
        self._open: dict[Path, pq.ParquetWriter] = {}

    def add(self, table: pa.Table) -> None:
        self._write(self.scores, table)

    def reject(self, table: pa.Table) -> None:
        self._write(self.rejects, table)

    @property
    def rejected(self) -> bool:
        return self.rejects in self._open

    @contextmanager
    def open(self) -> Iterator[None]:
        try:
            yield
        finally:
            for path, writer in self._open.items():
                with _local_errors(path):
                    writer.close()

    def _write(self, path: Path, table: pa.Table) -> None:
        with _local_errors(path):
            if path not in self._open:
                # Without Arrow's schema readers see text, however it is kept in memory.
                texts = [column.name for column in table.schema if not pa.types.is_floating(column.type)]
                self._open[path] = pq.ParquetWriter(
                    path, table.schema, use_dictionary=texts, store_schema=False
                )
            self._open[path].write_table(table)


@contextmanager
def _local_errors(place: Path) -> Iterator[None]:
    try:
        with full_disk_named(f"writing {place.name}", place.parent):
            yield
    except OSError as error:
        raise DataError(f"{place} cannot be written: {error.strerror or error}") from error


def _unfinished(place: Path) -> Path:
    """Return where a file is written before it takes its place; removes what killed writers left there."""
    place.parent.mkdir(parents=True, exist_ok=True)
    for left in place.parent.glob(f".{escape(place.name)}.*.unfinished"):
        left.unlink(missing_ok=True)
    return place.parent / f".{place.name}.{uuid4().hex}.unfinished"


def _replace(file: Path | None, place: Path) -> None:
    if file is None:
        place.unlink(missing_ok=True)
        return
    with file.open("rb") as stream:
        os.fsync(stream.fileno())
    file.replace(place)


def _upload(files: _Files, output: Output) -> None:
    """Put finished files into S3: an object appears whole, in the place of the one before."""
    import boto3
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        client = boto3.client("s3")
        if files.rejected:
            client.upload_file(str(files.rejects), *_bucket_and_key(output.rejects_at))
        else:
            bucket, key = _bucket_and_key(output.rejects_at)
            client.delete_object(Bucket=bucket, Key=key)
        client.upload_file(str(files.scores), *_bucket_and_key(output.at))
    except (Boto3Error, BotoCoreError, ClientError) as error:
        raise Outage(f"{output.at}: the store did not take it: {error}") from error


def _bucket_and_key(at: str) -> tuple[str, str]:
    bucket, _, key = at.removeprefix(S3).partition("/")
    return bucket, key


class _Tables:
    """The two tables of a partition, in one transaction."""

    def __init__(self, connection: sa.Connection, output: Output) -> None:
        self._connection = connection
        self._partition = output.partition
        self._doing = _doing(output)
        self._scores, self._rejects = query_of(output.at), query_of(output.rejects_at)
        self._tables: dict[str, sa.Table] = {}

    def add(self, table: pa.Table) -> None:
        self._write(self._scores, table)

    def reject(self, table: pa.Table) -> None:
        own = {"row": table.column("row"), "reason": table.column("reason")}
        raw = [
            json.dumps(row, ensure_ascii=False) for row in table.drop_columns(["row", "reason"]).to_pylist()
        ]
        self._write(self._rejects, pa.table({**own, "raw": pa.array(raw, pa.string())}))

    def clear_rejects(self) -> None:
        """Remove the rejects of the run before, if this one had none."""
        table = _sql_table(self._rejects, {})
        there = sa.inspect(self._connection).has_table(table.name, schema=table.schema)
        if self._rejects not in self._tables and there:
            self._clear(table)

    def _write(self, name: str, table: pa.Table) -> None:
        with database_errors(self._doing):
            if name not in self._tables:
                self._tables[name] = _sql_table(name, _columns(table.schema))
                self._make(self._tables[name])
                self._clear(self._tables[name])
            if rows := table.to_pylist():
                numbered = [{PARTITION: self._partition, **row} for row in rows]
                self._connection.execute(sa.insert(self._tables[name]), numbered)

    def _make(self, table: sa.Table) -> None:
        """Make the table; the run of another partition may do so at the same moment."""
        engine = self._connection.engine
        try:
            with engine.begin() as connection:
                table.create(connection, checkfirst=True)
        except sa.exc.DBAPIError:
            if not sa.inspect(engine).has_table(table.name, schema=table.schema):
                raise

    def _clear(self, table: sa.Table) -> None:
        self._connection.execute(sa.delete(table).where(table.c[PARTITION] == self._partition))


@contextmanager
def _writing_table(output: Output) -> Iterator[_Tables]:
    engine = database_engine(output.database)
    with database_errors(_doing(output)):
        connection = engine.connect()
    try:
        with database_errors(_doing(output)):
            transaction = connection.begin()
        tables = _Tables(connection, output)
        yield tables
        with database_errors(_doing(output)):
            tables.clear_rejects()
            transaction.commit()
    finally:
        connection.close()


def _doing(output: Output) -> str:
    return f"writing partition {output.partition} to {output.at}"


def _sql_table(name: str, columns: Mapping[str, Any]) -> sa.Table:
    schema, _, table = name.rpartition(".")
    return sa.Table(
        table,
        sa.MetaData(),
        sa.Column(PARTITION, sa.Text, primary_key=True),
        *(sa.Column(column, kind, primary_key=column == "row") for column, kind in columns.items()),
        schema=schema or None,
    )


def _columns(schema: pa.Schema) -> dict[str, Any]:
    return {column.name: _sql_type(column.type) for column in schema}


def _sql_type(kind: pa.DataType) -> Any:
    choices: Sequence[tuple[Any, Any]] = (
        (pa.types.is_boolean, sa.Boolean()),
        (pa.types.is_integer, sa.BigInteger()),
        (pa.types.is_floating, sa.Double()),
        (pa.types.is_date, sa.Date()),
    )
    if pa.types.is_timestamp(kind):
        return sa.DateTime(timezone=kind.tz is not None)
    return next((sql for fits, sql in choices if fits(kind)), sa.Text())
