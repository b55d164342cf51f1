"""Folders that are called ``key=value``: each is a column of the files below it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.compute as pc

from podium.errors import DataError

# What Hive, Spark and Arrow call the folder of the rows that have no value.
_MISSING = "__HIVE_DEFAULT_PARTITION__"


def folder_keys(path: str, home: Path) -> dict[str, bytes | None]:
    """Return the columns that a file's folders give it, as bytes, as a csv would have them; None is missing.

    Args:
        path: Of the file.
        home: The folder to which paths are relative; what is above it gives no columns.

    Raises:
        DataError: Two folders are of one key.
    """
    whole = PurePosixPath(path)
    below = whole.relative_to(home) if whole.is_relative_to(home) else whole
    keys: dict[str, bytes | None] = {}
    for folder in below.parts[:-1]:
        name, equals, value = folder.partition("=")
        if not equals or not name:
            continue
        if unquote(name) in keys:
            raise DataError(f"{path}: two of its folders say {name}=; one of them must go")
        keys[unquote(name)] = None if value == _MISSING else unquote(value).encode()
    return keys


def with_keys(rows: pa.Table, keys: Mapping[str, bytes | None], shown: str) -> pa.Table:
    """Return rows with the columns that their folders give them.

    Args:
        rows: Of one file.
        keys: The columns to add. One that the file has itself must say the same.
        shown: The file, for messages.

    Raises:
        DataError: The file has such a column, with other values.
    """
    for name, value in keys.items():
        if name not in rows.column_names:
            rows = rows.append_column(name, pa.repeat(pa.scalar(value, pa.binary()), len(rows)))
        elif not _says(rows.column(name), value):
            said = "no value" if value is None else f"'{value.decode()}'"
            raise DataError(
                f"{shown}: its folder says that {name} is {said}, and its own column {name} says otherwise; "
                "rename one of them"
            )
    return rows


def _says(column: pa.ChunkedArray, value: bytes | None) -> bool:
    if value is None or column.null_count:
        return value is None and column.null_count == len(column)
    try:
        expected = pa.scalar(value) if pa.types.is_binary(column.type) else _cast(value, column.type)
    except pa.ArrowInvalid:
        return False
    return bool(pc.all(pc.equal(column, expected)).as_py() is not False)


def _cast(value: bytes, kind: pa.DataType) -> pa.Scalar:
    inside = kind.value_type if pa.types.is_dictionary(kind) else kind
    return pa.scalar(value.decode()).cast(inside)
