"""From the bytes of a request to rows that a version takes; what does not fit is refused with its column.

The formats are those of MLflow's scoring server
(https://mlflow.org/docs/latest/ml/deployment/deploy-model-locally/#api-reference), and a list of records.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.pyfunc.scoring_server import SUPPORTED_FORMATS, infer_and_parse_data
from mlflow.types import Schema

from podium.errors import PodiumError

JSON, CSV = "application/json", "text/csv"
PARAMS = "params"
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

Values = npt.NDArray[Any] | pd.DataFrame | Any


class RequestRefused(PodiumError):
    """A request cannot be answered as it is.

    Attributes:
        status: The HTTP status that says so, 4xx.
    """

    def __init__(self, message: str, status: int = 400) -> None:
        self.status = status
        super().__init__(message)


@dataclass(frozen=True)
class Column:
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


@dataclass(frozen=True)
class Shape:
    """What a version takes.

    Attributes:
        columns: Its columns in order; None where its signature is none of named, plain columns.
        as_array: It takes an array of numbers (n, columns), and answers exactly as with a table.
        schema: MLflow's schema of its inputs, for a version without ``columns``.
        former: Columns that former champions took: clients may go on sending them.
        max_rows: Rows that one request may hold.
    """

    columns: tuple[Column, ...] | None
    as_array: bool = False
    schema: Schema | None = None
    former: frozenset[str] = frozenset()
    max_rows: int = 10_000


@dataclass(frozen=True)
class Rows:
    """The rows of one request, as a version takes them.

    Attributes:
        count: How many.
        values: (n, columns) numbers, or a table of n rows, or whatever a version without columns takes.
        params: Parameters of the prediction, in MLflow's protocol.
        ignored: Columns that were sent and that the version does not take.
    """

    count: int
    values: Values
    params: Mapping[str, Any] | None = None
    ignored: tuple[str, ...] = ()

    def missing_values(self) -> list[str]:
        """Name the columns with a missing value; of an array their places."""
        if isinstance(self.values, pd.DataFrame):
            return [str(name) for name in self.values.columns[self.values.isna().any()]]
        if isinstance(self.values, np.ndarray) and self.values.dtype.kind == "f":
            return [str(place) for place in np.flatnonzero(np.isnan(self.values).any(axis=0))]
        return []


@dataclass(frozen=True)
class _Table:
    """Columns of equal length as they were sent; ``text`` are the values of a CSV."""

    count: int
    columns: Mapping[str, Sequence[Any]]
    text: bool = False


def parse_records(body: bytes, shape: Shape) -> Rows:
    """Read a plain list of records, strictly: a column that no champion ever took is a typing error.

    Raises:
        RequestRefused: It is no such list, or does not fit the version; names the column.
    """
    content = _json(body)
    if not isinstance(content, list):
        raise RequestRefused(f"send a list of records, such as {_example(shape)}, not {_json_type(content)}")
    if shape.columns is None:
        return _parsed_by_mlflow({"instances": content}, None, shape)
    rows = _fitted(_from_records(content, shape), shape)
    if unknown := [name for name in rows.ignored if name not in shape.former]:
        raise RequestRefused(f"{_named('unknown column', unknown)}; {_takes(shape.columns)}")
    return rows


def parse_invocation(body: bytes, content_type: str, shape: Shape) -> Rows:
    """Read a request in MLflow's protocol; columns that the version does not take are left out, as there.

    Raises:
        RequestRefused: It is no such request, or does not fit the version; names the column.
    """
    kind, _, charset = (part.strip().lower() for part in content_type.partition(";"))
    if charset.replace('"', "") not in ("", "charset=utf-8", "charset=utf8"):
        raise RequestRefused(f"content type {content_type}: only UTF-8", 415)
    if kind == CSV:
        return _fitted(_from_csv(body, shape), shape)
    if kind != JSON:
        raise RequestRefused(f"content type {kind or 'missing'}: send {JSON} or {CSV}", 415)
    return _parse_json_invocation(_json(body), shape)


def _parse_json_invocation(content: Any, shape: Shape) -> Rows:
    formats = sorted(SUPPORTED_FORMATS)
    if not isinstance(content, dict):
        raise RequestRefused(
            f"send a JSON object with one of {', '.join(formats)}, not {_json_type(content)}"
        )
    found = [name for name in formats if name in content]
    if len(found) != 1:
        raise RequestRefused(f"send exactly one of {', '.join(formats)}; found: {', '.join(found) or 'none'}")
    params = content.get(PARAMS)
    if params is not None and not isinstance(params, dict):
        raise RequestRefused(f"{PARAMS}: send an object, not {_json_type(params)}")
    if shape.columns is None:
        return _parsed_by_mlflow({found[0]: content[found[0]]}, params, shape)
    return _fitted(_FORMATS[found[0]](content[found[0]], shape), shape, params)


def _parsed_by_mlflow(data: Mapping[str, Any], params: Mapping[str, Any] | None, shape: Shape) -> Rows:
    (sent,) = data.values()
    if not isinstance(sent, (list, dict)):
        raise RequestRefused(f"send a list or an object, not {_json_type(sent)}")
    count = _count(sent)
    _within_limit(count, shape)
    try:
        return Rows(count, infer_and_parse_data(data, shape.schema), params)
    except MlflowException as error:
        raise RequestRefused(str(error.message)) from error


def _count(sent: list[Any] | dict[str, Any]) -> int:
    if isinstance(sent, list):
        return len(sent)
    lists = [values for values in (sent.get("data"), *sent.values()) if isinstance(values, list)]
    return len(lists[0]) if lists else len(sent)


def _json(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise RequestRefused(f"the body is not JSON: {error}") from error


def _from_records(records: Any, shape: Shape) -> _Table:
    if not isinstance(records, list):
        raise RequestRefused(f"send a list of records, not {_json_type(records)}")
    _within_limit(len(records), shape)
    for place, record in enumerate(records):
        if not isinstance(record, dict):
            raise RequestRefused(f"row {place}: {_json_type(record)}, not an object of columns")
    names = dict.fromkeys(records[0])
    for place, record in enumerate(records):
        if record.keys() != names.keys():
            odd = sorted(record.keys() ^ names.keys())
            raise RequestRefused(f"row {place}: its columns differ from those of row 0: {_some(odd)}")
    return _Table(len(records), {name: [record[name] for record in records] for name in names})


def _from_split(split: Any, shape: Shape) -> _Table:
    if not isinstance(split, dict) or not {"columns", "data"} <= split.keys() <= {"columns", "data", "index"}:
        raise RequestRefused("dataframe_split: send an object with columns, data and, if you like, index")
    names, data = split["columns"], split["data"]
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise RequestRefused("dataframe_split.columns: send a list of names")
    if repeated := {name for name in names if names.count(name) > 1}:
        raise RequestRefused(_named("repeated column", sorted(repeated)))
    if not isinstance(data, list):
        raise RequestRefused(f"dataframe_split.data: send a list of rows, not {_json_type(data)}")
    _within_limit(len(data), shape)
    for place, row in enumerate(data):
        if not isinstance(row, list) or len(row) != len(names):
            what = f"{len(row)} values" if isinstance(row, list) else _json_type(row)
            raise RequestRefused(f"row {place}: {what}, not a list of {len(names)} values")
    return _Table(len(data), dict(zip(names, zip(*data, strict=True), strict=True)))


def _from_columns(columns: Any, shape: Shape) -> _Table:
    if isinstance(columns, list):
        return _from_records(columns, shape)
    if not isinstance(columns, dict):
        raise RequestRefused(f"send a list of records or an object of columns, not {_json_type(columns)}")
    single = not any(isinstance(values, list) for values in columns.values())
    lists = {name: [values] for name, values in columns.items()} if single else columns
    counts = {len(values) if isinstance(values, list) else 1 for values in lists.values()}
    if len(counts) > 1:
        raise RequestRefused(f"the columns have different numbers of values: {_some(sorted(counts))}")
    count = counts.pop() if counts else 0
    _within_limit(count, shape)
    return _Table(count, lists)


_FORMATS: Mapping[str, Callable[[Any, Shape], _Table]] = {
    "dataframe_records": _from_records,
    "dataframe_split": _from_split,
    "instances": _from_records,
    "inputs": _from_columns,
}


def _from_csv(body: bytes, shape: Shape) -> _Table:
    if shape.columns is None:
        raise RequestRefused(f"this version takes no table of columns; send {JSON}", 415)
    try:
        lines = list(csv.reader(io.StringIO(body.decode("utf-8-sig"), newline=""), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise RequestRefused(f"the body is not CSV in UTF-8: {error}") from error
    lines = [line for line in lines if line]
    if not lines:
        raise RequestRefused("the CSV is empty; its first line names the columns")
    return replace(_from_split({"columns": lines[0], "data": lines[1:]}, shape), text=True)


def _fitted(table: _Table, shape: Shape, params: Mapping[str, Any] | None = None) -> Rows:
    """Give the columns the order and types of the version.

    Raises:
        RequestRefused: A column is missing, or has a value of another type; names both.
    """
    wanted = shape.columns or ()
    taken = [column for column in wanted if column.name in table.columns]
    if missing := [column.name for column in wanted if column.required and column not in taken]:
        raise RequestRefused(f"{_named('missing column', missing)}; {_takes(wanted)}")
    names = {column.name for column in wanted}
    ignored = tuple(name for name in table.columns if name not in names)
    typed = {
        column.name: typed_values(
            column, _read_text(column, table) if table.text else table.columns[column.name]
        )
        for column in taken
    }
    if shape.as_array and len(taken) == len(wanted):
        # Column by column, as a table lies in memory: sums then come out the same to the last bit.
        return Rows(table.count, np.array(list(typed.values()), dtype=np.float64).T, params, ignored)
    return Rows(table.count, pd.DataFrame(typed, index=range(table.count)), params, ignored)


def typed_values(column: Column, values: Sequence[Any]) -> npt.NDArray[Any] | list[str | None]:
    """Return the values of a column in its type.

    Raises:
        RequestRefused: One is of another type, or null where the type has none; names the row.
    """
    allowed = _ALLOWED[column.kind]
    if set(map(type, values)) - allowed:
        place, value = next((at, value) for at, value in enumerate(values) if type(value) not in allowed)
        if value is None:
            raise RequestRefused(f"column {column.name}, row {place}: null, and a {column.kind} has none")
        raise RequestRefused(f"column {column.name}, row {place}: {_json_type(value)}, not a {column.kind}")
    if column.kind == "string":
        return list(values)
    try:
        # An array of Python numbers, null being nan, and out of range an error.
        return np.asarray(_numbers(column, values), dtype=_NUMPY[column.kind])
    except OverflowError as error:
        raise RequestRefused(f"column {column.name}: a number too large for a {column.kind}") from error


_ALLOWED: Mapping[str, frozenset[type]] = {
    "double": frozenset((float, int, type(None))),
    "float": frozenset((float, int, type(None))),
    "long": frozenset((int, float)),
    "integer": frozenset((int, float)),
    "boolean": frozenset((bool,)),
    "string": frozenset((str, type(None))),
}


def _numbers(column: Column, values: Sequence[Any]) -> Sequence[Any]:
    if column.kind in ("long", "integer") and float in set(map(type, values)):
        for place, value in enumerate(values):
            if not math.isfinite(value) or value != int(value):
                raise RequestRefused(f"column {column.name}, row {place}: {value}, not a whole number")
        return [int(value) for value in values]
    if column.kind in ("double", "float") and None in values:
        return [math.nan if value is None else value for value in values]
    return values


def _read_text(column: Column, table: _Table) -> list[Any]:
    return list(_from_text(column, table.columns[column.name]))


def _from_text(column: Column, texts: Sequence[str]) -> Iterator[Any]:
    for place, text in enumerate(texts):
        try:
            yield _TEXT[column.kind](text) if text or not column.nullable else None
        except (ValueError, KeyError) as error:
            raise RequestRefused(
                f"column {column.name}, row {place}: '{text[:40]}', not a {column.kind}"
            ) from error


_TEXT: Mapping[str, Callable[[str], Any]] = {
    "double": float,
    "float": float,
    "long": int,
    "integer": int,
    "boolean": lambda text: _WORDS[text.strip().lower()],
    "string": str,
}


def _within_limit(count: int, shape: Shape) -> None:
    if count == 0:
        raise RequestRefused("no rows: send at least one")
    if count > shape.max_rows:
        raise RequestRefused(f"{count:,} rows; one request may hold {shape.max_rows:,}: send several", 413)


def _takes(columns: Sequence[Column]) -> str:
    return "the model takes " + ", ".join(f"{column.name} ({column.kind})" for column in columns)


def _named(what: str, names: Sequence[str]) -> str:
    return f"{what}{'s' if len(names) > 1 else ''} {_some(names)}"


def _some(names: Sequence[Any]) -> str:
    shown = ", ".join(str(name)[:60] for name in names[:_NAMES_SHOWN])
    return f"{shown} and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else shown


def _example(shape: Shape) -> str:
    if not shape.columns:
        return "[...]"
    return f'[{{"{shape.columns[0].name}": ...}}]'


def _json_type(value: Any) -> str:
    if isinstance(value, bool):
        return "true or false"
    kinds = {dict: "an object", list: "a list", str: "a text", type(None): "null"}
    return kinds.get(type(value), "a number")
