"""From the bytes of a request to rows that a version takes; what does not fit is refused with its column.

``read`` is the one way in, for both dialects. The formats are those of MLflow's scoring server
(https://mlflow.org/docs/latest/ml/deployment/deploy-model-locally/#api-reference), and a list of records.
"""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import orjson
import pandas as pd
from mlflow.models import Model
from mlflow.pyfunc.scoring_server import SUPPORTED_FORMATS

from podium.errors import RequestRefused
from podium.serving.columns import (
    check_rows,
    json_type,
    named,
    short,
    takes,
    text_values,
    typed_values,
)
from podium.serving.mlflow_requests import CSV_TEXT, RECORDS, read_by_mlflow
from podium.sources.columns import InputColumn

# SUPPORTED_FORMATS is private to MLflow: https://github.com/mlflow/mlflow/blob/v3.17.2/mlflow/pyfunc/scoring_server/__init__.py
JSON, CSV = "application/json", "text/csv"
PARAMS = "params"
_FORMATS = sorted(SUPPORTED_FORMATS)
# Each takes sixty times the memory of the two letters that it is.
_MAX_LISTS_AND_OBJECTS = 1_000_000

Values = npt.NDArray[Any] | pd.DataFrame | Any


class Dialect(StrEnum):
    """How clients write their rows.

    Attributes:
        PREDICT: A list of records, read strictly: a column that no champion ever took is a typing error.
        INVOCATIONS: MLflow's protocol; columns that the version does not take are left out, as there.
    """

    PREDICT = "predict"
    INVOCATIONS = "invocations"


_CONTENT_TYPES = {Dialect.PREDICT: (JSON,), Dialect.INVOCATIONS: (JSON, CSV)}


@dataclass(frozen=True)
class Body:
    """The whole body of a request.

    Attributes:
        content: Its bytes.
        content_type: The header of that name.
        dialect: How it is to be read.
    """

    content: bytes
    content_type: str
    dialect: Dialect


@dataclass(frozen=True)
class Shape:
    """What a version takes.

    Attributes:
        columns: Its columns in order; None where its signature is none of named, plain columns.
        as_array: It takes an array of numbers (n, columns), and answers exactly as with a table.
        metadata: MLflow's description of a version without ``columns``.
        former: Columns that former champions took: clients may go on sending them.
        max_rows: Rows that one request may hold.
    """

    columns: tuple[InputColumn, ...] | None
    as_array: bool = False
    metadata: Model | None = None
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
        names: The columns of an array.
    """

    count: int
    values: Values
    params: Mapping[str, Any] | None = None
    ignored: tuple[str, ...] = ()
    names: tuple[str, ...] = ()

    def missing_values(self) -> list[str]:
        """Name the columns with a missing or an infinite value, which many models cannot take."""
        if isinstance(self.values, pd.DataFrame):
            table = self.values.replace([np.inf, -np.inf], np.nan)
            return [str(name) for name in table.columns[table.isna().any()]]
        if self.names:
            odd = np.flatnonzero(~np.isfinite(self.values).all(axis=0))
            return [self.names[place] for place in odd]
        return []


@dataclass(frozen=True)
class _Table:
    """Columns of equal length as they were sent.

    Attributes:
        count: Rows.
        names: All columns, in their order.
        column: Gives the values of one of them.
    """

    count: int
    names: Collection[str]
    column: Callable[[InputColumn], Sequence[Any]]


class _Sent(NamedTuple):
    """What a client sent, before anybody asks whether it fits.

    Attributes:
        form: ``CSV_TEXT``, ``RECORDS``, or one of MLflow's formats.
        content: The text of a CSV; else the JSON.
        params: Parameters of the prediction, in MLflow's protocol.
    """

    form: str
    content: Any
    params: Mapping[str, Any] | None = None


def read(body: Body, shape: Shape) -> Rows:
    """Read the rows of a request as a version takes them.

    Raises:
        RequestRefused: It is no request of its dialect, or does not fit the version; names the column.
    """
    sent = _sent(body, shape)
    if shape.columns is None:
        count, values = read_by_mlflow(sent.form, sent.content, shape.metadata, shape.max_rows)
        return Rows(count, values, sent.params)
    rows = _fitted(_TABLES[sent.form](sent.content, shape), shape, sent.params)
    if rows.ignored and body.dialect is Dialect.PREDICT:
        _refuse_unknown(rows.ignored, shape)
    return rows


def _sent(body: Body, shape: Shape) -> _Sent:
    kind = check_content_type(body.content_type, _CONTENT_TYPES[body.dialect])
    if kind == CSV:
        return _Sent(CSV_TEXT, _utf8(body.content))
    return _SENT_AS_JSON[body.dialect](_json(body.content), shape)


def _refuse_unknown(ignored: Collection[str], shape: Shape) -> None:
    if unknown := [name for name in ignored if name not in shape.former]:
        raise RequestRefused(f"{named('unknown column', unknown)}; {takes(shape.columns or ())}")


def check_content_type(content_type: str, allowed: Sequence[str]) -> str:
    """Return the kind of content, without its charset. A page elsewhere cannot make a browser send JSON here.

    Raises:
        RequestRefused: It is none that is read.
    """
    kind, _, charset = (part.strip().lower() for part in content_type.partition(";"))
    if charset.replace('"', "").replace(" ", "").strip(";") not in ("", "charset=utf-8", "charset=utf8"):
        raise RequestRefused(f"content type {short(content_type)}: only UTF-8", 415)
    if kind not in allowed:
        raise RequestRefused(f"content type {short(kind) or 'missing'}: send {' or '.join(allowed)}", 415)
    return kind


def _records(content: Any, shape: Shape) -> _Sent:
    if not isinstance(content, list):
        raise RequestRefused(f"send a list of records, such as {_example(shape)}, not {json_type(content)}")
    return _Sent(RECORDS, content)


def _invocation(content: Any, _: Shape) -> _Sent:
    if not isinstance(content, dict):
        raise RequestRefused(
            f"send a JSON object with one of {', '.join(_FORMATS)}, not {json_type(content)}"
        )
    found = [name for name in _FORMATS if name in content]
    if len(found) != 1:
        raise RequestRefused(
            f"send exactly one of {', '.join(_FORMATS)}; found: {', '.join(found) or 'none'}"
        )
    params = content.get(PARAMS)
    if params is not None and not isinstance(params, dict):
        raise RequestRefused(f"{PARAMS}: send an object, not {json_type(params)}")
    return _Sent(found[0], content[found[0]], params)


_SENT_AS_JSON = {Dialect.PREDICT: _records, Dialect.INVOCATIONS: _invocation}


def _json(body: bytes) -> Any:
    """Read JSON, and the NaN and Infinity that MLflow's own client sends.

    Raises:
        RequestRefused: It is neither.
    """
    if body.count(b"[") + body.count(b"{") > _MAX_LISTS_AND_OBJECTS:
        raise RequestRefused(f"more than {_MAX_LISTS_AND_OBJECTS:,} lists and objects: send several", 413)
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        if b"NaN" not in body and b"Infinity" not in body:
            raise RequestRefused(f"the body is not JSON: {error}") from error
    try:
        content = json.loads(body.decode())
        if b"\\u" in body:
            # Half a surrogate pair is no text: nothing could be done with it.
            json.dumps(content, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise RequestRefused(f"the body is not JSON: {short(error)}") from error
    return content


def _from_records(records: Any, shape: Shape) -> _Table:
    if not isinstance(records, list):
        raise RequestRefused(f"send a list of records, not {json_type(records)}")
    check_rows(len(records), shape.max_rows)
    for place, record in enumerate(records):
        if not isinstance(record, dict):
            raise RequestRefused(f"row {place}: {json_type(record)}, not an object of columns")
    names = dict.fromkeys(records[0])
    for record in records:
        if record.keys() != names.keys():
            names.update(dict.fromkeys(record))

    def values(column: InputColumn) -> list[Any]:
        try:
            return [record[column.name] for record in records]
        except KeyError as error:
            if column.required:
                place = next(at for at, record in enumerate(records) if column.name not in record)
                raise RequestRefused(f"row {place}: {named('missing column', [column.name])}") from error
            return [record.get(column.name) for record in records]

    return _Table(len(records), names, values)


def _from_split(split: Any, shape: Shape) -> _Table:
    if not isinstance(split, dict) or not {"columns", "data"} <= split.keys() <= {"columns", "data", "index"}:
        raise RequestRefused("dataframe_split: send an object with columns, data and, if you like, index")
    names, data = split["columns"], split["data"]
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise RequestRefused("dataframe_split.columns: send a list of names")
    if not isinstance(data, list):
        raise RequestRefused(f"dataframe_split.data: send a list of rows, not {json_type(data)}")
    check_rows(len(data), shape.max_rows)
    return _from_lines(names, data)


def _from_lines(names: list[str], lines: Sequence[Any]) -> _Table:
    if repeated := [name for name, times in Counter(names).items() if times > 1]:
        raise RequestRefused(named("repeated column", repeated))
    for place, line in enumerate(lines):
        if not isinstance(line, list) or len(line) != len(names):
            what = f"{len(line)} values" if isinstance(line, list) else json_type(line)
            raise RequestRefused(f"row {place}: {what}, not a list of {len(names)} values")
    places = {name: place for place, name in enumerate(names)}
    return _Table(len(lines), names, lambda column: [line[places[column.name]] for line in lines])


def _from_columns(columns: Any, shape: Shape) -> _Table:
    if isinstance(columns, list):
        return _from_list(columns, shape)
    if not isinstance(columns, dict):
        raise RequestRefused(f"send a list of records or an object of columns, not {json_type(columns)}")
    single = not any(isinstance(values, list) for values in columns.values())
    lists = {name: [values] for name, values in columns.items()} if single else columns
    counts = {len(values) if isinstance(values, list) else 1 for values in lists.values()}
    if len(counts) > 1:
        raise RequestRefused(
            f"the columns have different numbers of values: {named('count', sorted(counts))}"
        )
    count = counts.pop() if counts else 0
    check_rows(count, shape.max_rows)
    # A value beside lists of one is one, too.
    return _Table(count, lists, lambda column: _as_list(lists[column.name]))


def _as_list(values: Any) -> list[Any]:
    return values if isinstance(values, list) else [values]


def _from_list(values: list[Any], shape: Shape) -> _Table:
    """Read records; or, as MLflow does, the values of the only column of a version that takes just one."""
    if shape.columns and len(shape.columns) == 1 and not any(isinstance(value, dict) for value in values):
        check_rows(len(values), shape.max_rows)
        return _Table(len(values), (shape.columns[0].name,), lambda _: values)
    return _from_records(values, shape)


def _utf8(body: bytes) -> str:
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RequestRefused(f"the body is not UTF-8: {error}") from error


def _from_csv(text: str, shape: Shape) -> _Table:
    lines = (line for line in csv.reader(io.StringIO(text, newline=""), strict=True) if line)
    try:
        names, rows = next(lines, None), list(islice(lines, shape.max_rows + 1))
    except csv.Error as error:
        raise RequestRefused(f"the body is not CSV: {error}") from error
    if names is None:
        raise RequestRefused("the CSV is empty; its first line names the columns")
    check_rows(len(rows), shape.max_rows)
    table = _from_lines(names, rows)
    return _Table(table.count, names, lambda column: text_values(column, table.column(column)))


_TABLES: Mapping[str, Callable[[Any, Shape], _Table]] = {
    RECORDS: _from_records,
    CSV_TEXT: _from_csv,
    "dataframe_records": _from_records,
    "dataframe_split": _from_split,
    "instances": _from_columns,
    "inputs": _from_columns,
}


def _fitted(table: _Table, shape: Shape, params: Mapping[str, Any] | None) -> Rows:
    """Give the columns the order and types of the version.

    Raises:
        RequestRefused: A column is missing, or has a value of another type; names both.
    """
    wanted, sent = shape.columns or (), frozenset(table.names)
    if missing := [column.name for column in wanted if column.required and column.name not in sent]:
        raise RequestRefused(f"{named('missing column', missing)}; {takes(wanted)}")
    typed = {
        column.name: typed_values(column, table.column(column)) for column in wanted if column.name in sent
    }
    names = {column.name for column in wanted}
    ignored = tuple(name for name in table.names if name not in names)
    if shape.as_array and len(typed) == len(wanted):
        # Column by column, as a table lies in memory: sums then come out the same to the last bit.
        values = np.array(list(typed.values()), dtype=np.float64).T
        return Rows(table.count, values, params, ignored, tuple(typed))
    return Rows(table.count, pd.DataFrame(typed, index=range(table.count)), params, ignored)


def _example(shape: Shape) -> str:
    if not shape.columns:
        return "[...]"
    return f'[{{"{short(shape.columns[0].name)}": ...}}]'
