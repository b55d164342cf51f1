"""The columns of a version, and the values that clients send in their types."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from podium.errors import RequestRefused

# Kinds of columns that are parsed here; a signature with any other goes MLflow's own way.
_NUMPY = {
    "double": np.float64,
    "float": np.float32,
    "long": np.int64,
    "integer": np.int32,
    "boolean": np.bool_,
}
KINDS = (*_NUMPY, "string")
_NULLABLE = ("double", "float", "string")
_WORDS = {"true": True, "false": False}
_NAMES_SHOWN = 5
_COLUMNS_SHOWN = 50


@dataclass(frozen=True)
class RequestColumn:
    """An input column of a version, from its signature.

    Attributes:
        name: Its name.
        kind: MLflow's name of its type, one of ``KINDS``.
        required: Clients may not leave it out.
    """

    name: str
    kind: str
    required: bool = True

    @property
    def nullable(self) -> bool:
        """Whether a value may be missing; numbers without a gap in their type have none for that."""
        return self.kind in _NULLABLE


def typed_values(column: RequestColumn, values: Sequence[Any]) -> npt.NDArray[Any] | list[str | None]:
    """Return the values of a column, as JSON has them, in its type.

    Raises:
        RequestRefused: One is of another type, or null where the type has none; names the row.
    """
    allowed = _ALLOWED[column.kind]
    if column.kind == "string" and float in set(map(type, values)):
        # A missing text is nan in pandas, and so in what MLflow's client sends.
        values = [None if value != value else value for value in values]
    if set(map(type, values)) - allowed:
        place, value = next((at, value) for at, value in enumerate(values) if type(value) not in allowed)
        if value is None:
            raise RequestRefused(f"{_at(column, place)}: null, and a {column.kind} has none")
        raise RequestRefused(f"{_at(column, place)}: {json_type(value)}, not a {column.kind}")
    if column.kind == "string":
        return list(values)
    try:
        with np.errstate(over="raise"):
            return np.asarray(_numbers(column, values), dtype=_NUMPY[column.kind])
    except (OverflowError, FloatingPointError) as error:
        raise RequestRefused(
            f"column {short(column.name)}: a number too large for a {column.kind}"
        ) from error


_ALLOWED: Mapping[str, frozenset[type]] = {
    "double": frozenset((float, int, type(None))),
    "float": frozenset((float, int, type(None))),
    "long": frozenset((int, float)),
    "integer": frozenset((int, float)),
    "boolean": frozenset((bool,)),
    "string": frozenset((str, type(None))),
}


def _numbers(column: RequestColumn, values: Sequence[Any]) -> Sequence[Any]:
    if column.kind in ("long", "integer") and float in set(map(type, values)):
        for place, value in enumerate(values):
            if not math.isfinite(value) or value != int(value):
                raise RequestRefused(f"{_at(column, place)}: {value}, not a whole number")
        return [int(value) for value in values]
    if column.kind in ("double", "float") and None in values:
        return [math.nan if value is None else value for value in values]
    return values


def text_values(column: RequestColumn, texts: Sequence[str]) -> list[Any]:
    """Return the values of a column of a CSV as JSON would have them; an empty field is a missing value.

    Raises:
        RequestRefused: One cannot be read as the column's type; names the row.
    """
    return [_from_text(column, place, text) for place, text in enumerate(texts)]


def _from_text(column: RequestColumn, place: int, text: str) -> Any:
    if not text and column.nullable:
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


_TEXT: Mapping[str, Callable[[str], Any]] = {
    "double": lambda text: float(_plain(text)),
    "float": lambda text: float(_plain(text)),
    "long": lambda text: int(_plain(text)),
    "integer": lambda text: int(_plain(text)),
    "boolean": lambda text: _WORDS[text.strip().lower()],
    "string": str,
}


def _at(column: RequestColumn, place: int) -> str:
    return f"column {short(column.name)}, row {place}"


def takes(columns: Sequence[RequestColumn]) -> str:
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
