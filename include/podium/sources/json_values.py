"""What a value of each kind is, for JSON and for what is nested in a table, by the rule of ``values``."""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from podium.sources.columns import NESTED, WHOLE, InputColumn, Kind, items_of, kind_of
from podium.sources.values import EXACT, NO_MOMENT, fit_text, too_large


class Unfit(ValueError):
    """A value of JSON that does not fit its kind.

    Attributes:
        place: Which it is, from 0.
        why: What it is, and what it should be.
    """

    def __init__(self, place: int, why: str) -> None:
        super().__init__(why)
        self.place = place
        self.why = why


_NONE = type(None)
_ALLOWED: Mapping[Kind, frozenset[type]] = {
    Kind.DOUBLE: frozenset((float, int)),
    Kind.FLOAT: frozenset((float, int)),
    Kind.LONG: frozenset((int, float)),
    Kind.INTEGER: frozenset((int, float)),
    Kind.BOOLEAN: frozenset((bool, int, float)),
    Kind.STRING: frozenset((str,)),
    Kind.DATETIME: frozenset((str,)),
    Kind.BINARY: frozenset((str,)),
}
# Constants, because Python 3.11 looks up an enum's member slowly, and this is done for each column.
_DOUBLE, _FLOAT, _STRING = Kind.DOUBLE, Kind.FLOAT, Kind.STRING
_FLOATING = (_DOUBLE, _FLOAT)
_ONLY_FLOATS, _ONLY_WHOLE = frozenset((float,)), frozenset((int,))
_ONLY_TEXTS, _ONLY_NONE = frozenset((str,)), frozenset((_NONE,))
_EXACT_DOUBLE = EXACT[_DOUBLE]


def values_of(column: InputColumn, values: Sequence[Any]) -> Any:
    """Return the values of a column, as JSON has them, in its type.

    Returns:
        A numpy array, or a list where the type has no place for what is missing.

    Raises:
        Unfit: One is of another type, or null where the column has none; names its place.
    """
    kind, types = column.kind, frozenset(map(type, values))
    if kind is _DOUBLE and (types == _ONLY_FLOATS or (types == _ONLY_WHOLE and _all_exact(values))):
        return np.asarray(values, dtype=np.float64)
    if kind is _STRING and types == _ONLY_TEXTS:
        return values
    if kind in NESTED:
        return [_nested(place, column, value) for place, value in enumerate(values)]
    if float in types and kind not in EXACT:
        # What is missing is nan in pandas, and so in what MLflow's client sends.
        values = [None if value != value else value for value in values]
        types = frozenset(map(type, values))
    if not types <= _ALLOWED[kind] and not (column.nullable and types <= _ALLOWED[kind] | _ONLY_NONE):
        raise _of_another_type(column, values)
    if kind in EXACT:
        return _numbers(kind, values, types)
    return _READERS[kind](values, types)


def _all_exact(whole: Sequence[Any]) -> bool:
    return bool(min(whole) >= -_EXACT_DOUBLE and max(whole) <= _EXACT_DOUBLE)


def _of_another_type(column: InputColumn, values: Sequence[Any]) -> Unfit:
    kind = column.kind
    allowed = _ALLOWED[kind] | (_ONLY_NONE if column.nullable else frozenset())
    place, value = next((at, value) for at, value in enumerate(values) if type(value) not in allowed)
    if value is None:
        return Unfit(place, f"null, and {kind.with_article} has none")
    return Unfit(place, f"{json_type(value)}, not {kind.with_article}")


def _numbers(kind: Kind, values: Sequence[Any], types: frozenset[type]) -> npt.NDArray[Any]:
    if kind in WHOLE and float in types:
        values = [_whole(kind, place, value) for place, value in enumerate(values)]
    elif kind in _FLOATING:
        if int in types:
            _assert_exact(kind, values)
        if _NONE in types:
            values = [math.nan if value is None else value for value in values]
    try:
        if kind is not _FLOAT:
            numbers: npt.NDArray[Any] = np.asarray(values, dtype=kind.dtype)
            return numbers
        # Of all types only this one lets a number too large pass: it becomes infinite.
        with np.errstate(over="raise"):
            return np.asarray(values, dtype=kind.dtype)
    except (OverflowError, FloatingPointError):
        raise _first_too_large(kind, values) from None


def _whole(kind: Kind, place: int, value: Any) -> int:
    if not math.isfinite(value) or value != int(value):
        raise Unfit(place, f"{value}, not a {kind.words}")
    if type(value) is float and abs(value) > EXACT[kind]:
        raise Unfit(place, f"{value} {too_large(kind)}")
    return int(value)


def _assert_exact(kind: Kind, values: Sequence[Any]) -> None:
    limit = EXACT[kind]
    for place, value in enumerate(values):
        if type(value) is int and not -limit <= value <= limit:
            raise Unfit(place, f"{value} {too_large(kind)}")


def _first_too_large(kind: Kind, values: Sequence[Any]) -> Unfit:
    for place, value in enumerate(values):
        try:
            with np.errstate(over="raise"):
                np.asarray([value], dtype=kind.dtype)
        except (OverflowError, FloatingPointError):
            return Unfit(place, f"{value} {too_large(kind)}")
    raise AssertionError("each is small enough alone")


def _texts(values: Sequence[Any], types: frozenset[type]) -> Any:
    # Of nothing but None pandas would make no column of texts.
    return pd.array(values, dtype="str") if types == _ONLY_NONE else values


def _booleans(values: Sequence[Any], types: frozenset[type]) -> Any:
    for place, value in enumerate(values):
        if value not in (0, 1, None):
            raise Unfit(place, f"{value}, not a {Kind.BOOLEAN}")
    if _NONE in types:
        return _objects(None if value is None else bool(value) for value in values)
    return np.asarray(values, dtype=bool)


def _moments(values: Sequence[Any], _: frozenset[type]) -> npt.NDArray[Any]:
    array = pa.chunked_array([pa.array(values, pa.string())])
    fitted = fit_text(array, Kind.DATETIME).array.to_numpy()
    for place in np.flatnonzero(np.isnat(fitted)).tolist():
        if values[place] not in (None, NO_MOMENT):
            raise Unfit(place, f"'{short(values[place])}', not a {Kind.DATETIME} in ISO 8601")
    moments: npt.NDArray[Any] = fitted.astype(Kind.DATETIME.dtype)
    return moments


def _binaries(values: Sequence[Any], _: frozenset[type]) -> Any:
    return _objects(None if value is None else _base64(place, value) for place, value in enumerate(values))


def _base64(place: int, text: str) -> bytes:
    try:
        return base64.b64decode(text.replace("\n", ""), validate=True)
    except (binascii.Error, ValueError) as error:
        raise Unfit(place, f"'{short(text)}', not a {Kind.BINARY} in base64") from error


def _objects(values: Iterable[Any]) -> npt.NDArray[np.object_]:
    listed = list(values)
    array = np.empty(len(listed), dtype=object)
    array[:] = listed
    return array


_READERS: Mapping[Kind, Callable[[Sequence[Any], frozenset[type]], Any]] = {
    Kind.STRING: _texts,
    Kind.BOOLEAN: _booleans,
    Kind.DATETIME: _moments,
    Kind.BINARY: _binaries,
}


def _nested(place: int, column: InputColumn, value: Any) -> Any:
    try:
        # What is missing is nan in pandas, and so in what MLflow's client sends.
        return _inside(column.inside, None if value != value else value, column.required)
    except Unfit as error:
        raise Unfit(place, error.why) from error


def _inside(described: Mapping[str, Any], value: Any, required: bool) -> Any:
    """Judge a value by what a signature's JSON says of it, as MLflow does, and its parts by their kinds."""
    kind = kind_of(described)
    if value is None and not required:
        return None
    if kind in _INSIDE:
        return _INSIDE[kind](described, value, required)
    leaf = values_of(InputColumn("", kind), [_not_null(kind, value)])[0]
    return leaf.item() if isinstance(leaf, np.generic) and kind is not Kind.DATETIME else leaf


def _not_null(kind: Kind, value: Any) -> Any:
    if value is None:
        raise Unfit(0, f"null, where {kind.with_article} is required")
    return value


def _list(described: Mapping[str, Any], value: Any, required: bool) -> Any:
    if not isinstance(value, list):
        raise Unfit(0, f"{json_type(value)}, not a list")
    items = items_of(described)
    kind = kind_of(items)
    if not value:
        return value
    if kind is Kind.STRING and all(one is None for one in value):
        raise Unfit(0, "a list of nothing but null, not of texts")
    if kind in NESTED:
        return [_part(f"[{place}]", items, one, required) for place, one in enumerate(value)]
    try:
        found = values_of(InputColumn("", kind), value)
    except Unfit as error:
        raise Unfit(0, f"[{error.place}]: {error.why}") from error
    # Of moments tolist would make whole numbers.
    return found.tolist() if isinstance(found, np.ndarray) and kind is not Kind.DATETIME else list(found)


def _object(described: Mapping[str, Any], value: Any, _: bool) -> Any:
    if not isinstance(value, dict):
        raise Unfit(0, f"{json_type(value)}, not an object")
    properties = described["properties"]
    for name, one in properties.items():
        if one.get("required", True) and name not in value:
            raise Unfit(0, f"no {short(name)}")
    if unknown := next((name for name in value if name not in properties), None):
        raise Unfit(0, f"{short(unknown)} is unknown; there are {', '.join(map(short, properties))}")
    return {
        name: _part(f".{short(name)}", properties[name], one, properties[name].get("required", True))
        for name, one in value.items()
    }


def _map(described: Mapping[str, Any], value: Any, required: bool) -> Any:
    if not isinstance(value, dict):
        raise Unfit(0, f"{json_type(value)}, not an object")
    return {name: _part(f".{short(name)}", described["values"], one, required) for name, one in value.items()}


def _anything(_: Mapping[str, Any], value: Any, __: bool) -> Any:
    """Take what JSON has, and nothing else: a table's moments are another thing than a request's texts."""
    left = [value]
    while left:
        one = left.pop()
        if isinstance(one, list | dict):
            left.extend(one.values() if isinstance(one, dict) else one)
        elif not (one is None or isinstance(one, str | int | float)):
            raise Unfit(0, f"{json_type(one)}, which JSON does not have")
    return value


_INSIDE: Mapping[Kind, Callable[[Mapping[str, Any], Any, bool], Any]] = {
    Kind.ANY: _anything,
    Kind.ARRAY: _list,
    Kind.OBJECT: _object,
    Kind.MAP: _map,
}


def _part(where: str, described: Mapping[str, Any], value: Any, required: bool) -> Any:
    try:
        return _inside(described, value, required)
    except Unfit as error:
        between = "" if error.why.startswith(("[", ".")) else ": "
        raise Unfit(0, f"{where}{between}{error.why}") from error


def json_type(value: Any) -> str:
    """Name the type of a JSON value as clients know it."""
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int | float):
        return "a number"
    kinds = {dict: "an object", list: "a list", str: "a text", _NONE: "null"}
    return kinds.get(type(value), f"a {type(value).__name__}")


def short(text: Any, letters: int = 60) -> str:
    """Return a text that fits into a message."""
    whole = str(text)
    return whole if len(whole) <= letters else f"{whole[:letters]}..."
