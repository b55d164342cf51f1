"""The places that training and batch scoring read from and write to: files, ``s3://`` objects, databases."""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import sqlalchemy as sa
from pyarrow import fs

from podium.errors import DataError, Outage, PodiumError
from podium.model_file.source import S3, SQL

# Arrow raises the same class for a file that is broken and for a store that does not answer.
_OF_THE_CONTENT = re.compile(r"thrift|corrupt|parquet|decompress|unexpected end of stream", re.IGNORECASE)


@dataclass(frozen=True)
class FilePlace:
    """A file, folder or pattern of files, in the store that has it.

    Attributes:
        store: The file system.
        path: The path there.
        shown: As people write it.
    """

    store: Any
    path: str
    shown: str

    @property
    def is_s3(self) -> bool:
        """Tell whether it is an object in an S3 store."""
        return self.shown.startswith(S3)


def find_files(place: str, home: Path) -> FilePlace:
    """Return where a path leads: relative to a folder, absolute, or ``s3://bucket/key``.

    Of S3 the environment says where (``AWS_ENDPOINT_URL_S3`` or ``AWS_ENDPOINT_URL``) and who
    (``AWS_ACCESS_KEY_ID``, ``AWS_SECRET_ACCESS_KEY``, or what else boto3 and Arrow find).
    """
    if not place.startswith(S3):
        path = str(home / place)
        return FilePlace(fs.LocalFileSystem(), path, path)
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    options: dict[str, Any] = {} if region is None else {"region": region}
    if endpoint is not None:
        options = {"region": "us-east-1", **options, "endpoint_override": endpoint}
    return FilePlace(fs.S3FileSystem(**options), place.removeprefix(S3), place)


@contextmanager
def file_errors(place: FilePlace) -> Iterator[None]:
    """Translate what reading raises.

    Raises:
        DataError: There is no such file, or it is not what its name says.
        Outage: The S3 store did not answer, or refused.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise DataError(f"there is no {place.shown}") from error
    except pa.ArrowInvalid as error:
        raise DataError(f"{place.shown} cannot be read: {str(error).splitlines()[0]}") from error
    except OSError as error:
        if place.is_s3 and not _OF_THE_CONTENT.search(str(error)):
            raise Outage(f"{place.shown}: the store did not answer: {error}") from error
        raise DataError(f"{place.shown} cannot be read: {error.strerror or error}") from error


def query_of(place: str) -> str:
    """Return what stands behind ``sql:``: a query to read, or a table to write."""
    return place.removeprefix(SQL).strip()


def database_engine(variable: str | None) -> sa.Engine:
    """Return the database whose SQLAlchemy URL an environment variable holds.

    Raises:
        PodiumError: The variable is not named, not set, or no URL; its value is never told.
    """
    if variable is None:
        raise PodiumError(f"{SQL} needs a database: the environment variable with its SQLAlchemy URL")
    url = os.environ.get(variable)
    if not url:
        raise PodiumError(f"{variable} is not set: the SQLAlchemy URL of the database")
    try:
        return sa.create_engine(url, poolclass=sa.pool.NullPool, hide_parameters=True)
    except (sa.exc.ArgumentError, sa.exc.NoSuchModuleError, ImportError):
        raise PodiumError(f"{variable} holds no SQLAlchemy URL of a database that is installed") from None


@contextmanager
def database_errors(doing: str) -> Iterator[None]:
    """Translate what a database raises.

    Raises:
        DataError: It does not know what it was asked: a table or column is missing, a value does not fit.
        Outage: It did not answer.
    """
    try:
        yield
    except sa.exc.OperationalError as error:
        if isinstance(error.orig, sqlite3.OperationalError) and "locked" not in str(error.orig):
            # SQLite's word for a wrong query, too.
            raise DataError(f"{doing}: {_first_line(error)}") from error
        raise Outage(f"{doing}: the database did not answer: {_first_line(error)}") from error
    except (sa.exc.InterfaceError, sa.exc.TimeoutError) as error:
        raise Outage(f"{doing}: the database did not answer: {_first_line(error)}") from error
    except sa.exc.DBAPIError as error:
        raise DataError(f"{doing}: {_first_line(error)}") from error
    except sa.exc.SQLAlchemyError as error:
        raise DataError(f"{doing}: {error}") from error


def _first_line(error: sa.exc.SQLAlchemyError) -> str:
    return (str(getattr(error, "orig", error)).strip().splitlines() or [""])[0]
