"""The values that clients send, in the types of the columns; and what is said where they do not fit."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence, Set
from typing import Any

import numpy as np
import numpy.typing as npt

from podium.errors import RequestRefused
from podium.sources.columns import InputColumn, Kind

_NONE = type(None)
# What JSON has for the values of a kind; a signature with another kind goes MLflow's own way.
_JSON_TYPES: Mapping[Kind, tuple[type, ...]] = {
    Kind.DOUBLE: (float, int),
    Kind.FLOAT: (float, int),
    Kind.LONG: (int, float),
    Kind.INTEGER: (int, float),
    Kind.BOOLEAN: (bool,),
    Kind.STRING: (str,),
}
_ALLOWED = {
    kind: frozenset((*types, _NONE) if kind.nullable else types) for kind, types in _JSON_TYPES.items()
}
READABLE = frozenset(_JSON_TYPES)
# Constants, because Python 3.11 looks up an enum's member slowly, and this is done for each column.
_STRING, _FLOAT = Kind.STRING, Kind.FLOAT
_WHOLE = (Kind.LONG, Kind.INTEGER)
_FLOATING = (Kind.DOUBLE, _FLOAT)
_WORDS = {"true": True, "false": False}
_NAMES_SHOWN = 5
_COLUMNS_SHOWN = 50


def typed_values(column: InputColumn, values: Sequence[Any]) -> npt.NDArray[Any] | list[str | None]:
    """Return the values of a column, as JSON has them, in its type.

    Raises:
        RequestRefused: One is of another type, or null where the type has none; names the row.
    """
    kind, types = column.kind, set(map(type, values))
    if kind is _STRING and float in types:
        # A missing text is nan in pandas, and so in what MLflow's client sends.
        values = [None if value != value else value for value in values]
        types = set(map(type, values))
    if not types <= _ALLOWED[kind]:
        raise _of_another_type(column, values)
    if kind is _STRING:
        return list(values)
    numbers = _numbers(column, values, types)
    try:
        if kind is not _FLOAT:
            return np.asarray(numbers, dtype=kind.dtype)
        # Of all types only this one lets a number too large pass: it becomes infinite.
        with np.errstate(over="raise"):
            return np.asarray(numbers, dtype=kind.dtype)
    except (OverflowError, FloatingPointError) as error:
        raise RequestRefused(f"column {short(column.name)}: a number too large for a {kind}") from error


def _of_another_type(column: InputColumn, values: Sequence[Any]) -> RequestRefused:
    allowed = _ALLOWED[column.kind]
    place, value = next((at, value) for at, value in enumerate(values) if type(value) not in allowed)
    if value is None:
        return RequestRefused(f"{_at(column, place)}: null, and a {column.kind} has none")
    return RequestRefused(f"{_at(column, place)}: {json_type(value)}, not a {column.kind}")


def _numbers(column: InputColumn, values: Sequence[Any], types: Set[type]) -> Sequence[Any]:
    if column.kind in _WHOLE and float in types:
        for place, value in enumerate(values):
            if not math.isfinite(value) or value != int(value):
                raise RequestRefused(f"{_at(column, place)}: {value}, not a {column.kind.words}")
        return [int(value) for value in values]
    if column.kind in _FLOATING and _NONE in types:
        return [math.nan if value is None else value for value in values]
    return values


def text_values(column: InputColumn, texts: Sequence[str]) -> list[Any]:
    """Return the values of a column of a CSV as JSON would have them; an empty field is a missing value.

    Raises:
        RequestRefused: One cannot be read as the column's type; names the row.
    """
    return [_from_text(column, place, text) for place, text in enumerate(texts)]


def _from_text(column: InputColumn, place: int, text: str) -> Any:
    if not text and column.kind.nullable:
        return None
    try:
        return _TEXT[column.kind](text)
    except (ValueError, KeyError) as error:
        raise RequestRefused(f"{_at(column, place)}: '{short(text)}', not a {column.kind}") from error


def _plain(text: str) -> str:
    """Refuse what only Python takes for a number: 1_000, and digits of other scripts."""
    if "_" in text or not text.isascii():
        raise ValueError(text)
    return text


_TEXT: Mapping[Kind, Callable[[str], Any]] = {
    Kind.DOUBLE: lambda text: float(_plain(text)),
    Kind.FLOAT: lambda text: float(_plain(text)),
    Kind.LONG: lambda text: int(_plain(text)),
    Kind.INTEGER: lambda text: int(_plain(text)),
    Kind.BOOLEAN: lambda text: _WORDS[text.strip().lower()],
    Kind.STRING: str,
}


def _at(column: InputColumn, place: int) -> str:
    return f"column {short(column.name)}, row {place}"


def takes(columns: Sequence[InputColumn]) -> str:
    """Say what the model takes."""
    shown = ", ".join(f"{short(column.name)} ({column.kind})" for column in columns[:_COLUMNS_SHOWN])
    more = len(columns) - _COLUMNS_SHOWN
    return f"the model takes {shown} and {more} more" if more > 0 else f"the model takes {shown}"


def named(what: str, names: Sequence[Any]) -> str:
    """Name a few things; however many and long they are, the message stays short."""
    shown = ", ".join(short(name) for name in names[:_NAMES_SHOWN])
    more = f" and {len(names) - _NAMES_SHOWN:,} more" if len(names) > _NAMES_SHOWN else ""
    return f"{what}{'s' if len(names) > 1 else ''} {shown}{more}"


def short(text: Any, letters: int = 60) -> str:
    """Return a text that fits into a message."""
    whole = str(text)
    return whole if len(whole) <= letters else f"{whole[:letters]}..."


def check_rows(count: int, max_rows: int) -> None:
    """Make sure that a request has rows, and not too many.

    Raises:
        RequestRefused: It is not so; states the limit.
    """
    if count == 0:
        raise RequestRefused("no rows: send at least one")
    if count > max_rows:
        raise RequestRefused(
            f"more than {max_rows:,} rows, which is what one request may hold: send several", 413
        )


def json_type(value: Any) -> str:
    """Name the type of a JSON value as clients know it."""
    if isinstance(value, bool):
        return "true or false"
    kinds = {dict: "an object", list: "a list", str: "a text", type(None): "null"}
    return kinds.get(type(value), "a number")
