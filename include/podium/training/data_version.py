"""The version of training data: a digest of values, whatever stores them and in whatever order.

A number is a number: 2 and 2.0, a whole number with gaps and a decimal are the same value. Flags, texts,
moments and lists are values of their own kinds. What is missing is missing, however it is written.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

Hashes = npt.NDArray[np.uint64]

_MISSING = np.uint64(0x9E3779B97F4A7C15)
# By kind, so that 1, true, "1" and the first nanosecond of 1970 are four values.
_NUMBER, _FRACTION, _LARGE, _FLAG, _TEXT, _MOMENT, _OTHER = (
    np.uint64(0xA24BAED4963EE407 * odd % 2**64) for odd in (1, 3, 5, 7, 9, 11, 13)
)
_WHOLE = float(2**63)
# Whole numbers beside fractions become floats, which hold them up to here.
_EXACT = 2.0**53


def content_digest(tables: Mapping[str, pd.DataFrame]) -> str:
    """Return the digest of tables by name (sha256): equal for equal values, in any order of rows and columns.

    Args:
        tables: Each row counts as often as it is there.
    """
    digest = hashlib.sha256()
    for name, table in sorted(tables.items()):
        columns = sorted(map(str, table.columns))
        digest.update(json.dumps([name, columns, len(table)]).encode())
        digest.update(np.sort(_row_hashes(table)).tobytes())
    return digest.hexdigest()


def _row_hashes(table: pd.DataFrame) -> Hashes:
    total = np.zeros(len(table), dtype=np.uint64)
    for name in table:
        salt = np.uint64(int.from_bytes(hashlib.sha256(str(name).encode()).digest()[:8], "little"))
        # Mixed once more with the column's name: values that change columns are other values.
        total += _mixed(_value_hashes(table[name]) ^ salt)
    return total


def _mixed(hashes: Hashes) -> Hashes:
    return np.asarray(pd.util.hash_array(hashes), dtype=np.uint64)


def _value_hashes(column: pd.Series) -> Hashes:
    kind = column.dtype
    if isinstance(kind, pd.CategoricalDtype):
        held = _value_hashes(pd.Series(kind.categories))
        return np.append(held, _MISSING)[column.cat.codes.to_numpy()]
    if isinstance(kind, pd.ArrowDtype):
        return _value_hashes(column.astype(object))
    if isinstance(kind, pd.StringDtype):
        return _texts(column)
    if isinstance(kind, pd.DatetimeTZDtype):
        column = column.dt.tz_convert("UTC").dt.tz_localize(None)
    gaps = column.isna().to_numpy()
    if column.dtype.kind == "M":
        # To nanoseconds by numpy: a moment that they do not hold is refused elsewhere, by name.
        moments = column.to_numpy().astype("datetime64[ns]").view(np.uint64)
        return _where_there(_mixed(moments) ^ _MOMENT, gaps)
    if pd.api.types.is_bool_dtype(kind):
        return _where_there(_mixed(column.to_numpy(np.uint64, na_value=0)) ^ _FLAG, gaps)
    if pd.api.types.is_numeric_dtype(kind) and kind.kind in "iuf":
        return _where_there(_numbers(column), gaps)
    return _objects(column)


def _where_there(hashes: Hashes, gaps: npt.NDArray[np.bool_]) -> Hashes:
    return np.where(gaps, _MISSING, hashes) if gaps.any() else hashes


def _numbers(column: pd.Series) -> Hashes:
    kind = column.dtype.kind
    if kind == "i":
        return _mixed(column.to_numpy(np.int64, na_value=0).view(np.uint64)) ^ _NUMBER
    if kind == "u":
        values = column.to_numpy(np.uint64, na_value=0)
        return _mixed(values) ^ np.where(values < np.uint64(2**63), _NUMBER, _LARGE)
    floats = column.to_numpy(np.float64, na_value=np.nan)
    with np.errstate(invalid="ignore"):
        whole = (floats == np.floor(floats)) & (np.abs(floats) < _WHOLE)
        as_whole = np.where(whole, floats, 0).astype(np.int64).view(np.uint64)
    if whole.all():
        return _mixed(as_whole) ^ _NUMBER
    return np.where(whole, _mixed(as_whole) ^ _NUMBER, _mixed(floats.view(np.uint64)) ^ _FRACTION)


def _texts(column: pd.Series) -> Hashes:
    codes, values = pd.factorize(column, use_na_sentinel=True)
    hashes = pd.util.hash_array(np.asarray(values, dtype=object), categorize=False) ^ _TEXT
    return np.append(np.asarray(hashes, dtype=np.uint64), _MISSING)[codes]


def _objects(column: pd.Series) -> Hashes:
    """Hash values that pandas has no type of its own for, one by one."""
    plain = [_plain(value) for value in column]
    kinds = {type(value) for value in plain} - {type(None)}
    if kinds == {str}:
        return _texts(pd.Series(plain, dtype="str"))
    if kinds == {bool}:
        return _value_hashes(pd.Series(plain, dtype="boolean"))
    if kinds == {int} and all(value is None or abs(value) < _WHOLE for value in plain):
        return _value_hashes(pd.Series(plain, dtype="Int64"))
    if kinds and kinds <= {int, float} and all(value is None or abs(value) <= _EXACT for value in plain):
        return _value_hashes(pd.Series(plain, dtype="float64"))
    texts = [None if value is None else json.dumps(value, sort_keys=True) for value in plain]
    hashes = pd.util.hash_array(np.array([text or "" for text in texts], dtype=object), categorize=False)
    return _where_there(hashes ^ _OTHER, np.array([text is None for text in texts]))


def _plain(value: Any) -> Any:
    """Return a value as JSON has it: numbers as numbers, moments in UTC, None where it is missing."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or value is pd.NaT or value is pd.NA:
        return None
    if isinstance(value, bool | str):
        return value
    if isinstance(value, int | float | Decimal):
        return _plain_number(value)
    if isinstance(value, np.ndarray | list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, dt.datetime):
        return {"moment": str(pd.Timestamp(value).tz_convert("UTC") if value.tzinfo else pd.Timestamp(value))}
    return {type(value).__name__: str(value)}


def _plain_number(value: float | Decimal) -> float | int | None:
    if isinstance(value, int):
        return value
    number = float(value)
    if math.isnan(number):
        return None
    return int(number) if number.is_integer() else number
