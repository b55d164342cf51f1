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
from dataclasses import dataclass, replace
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
from podium.serving.columns import Judge, check_rows, named, takes, texts_of, typed_values
from podium.serving.mlflow_requests import CSV_TEXT, RECORDS, check_limits, read_by_mlflow
from podium.serving.tensors import Tensor, tensor_of
from podium.sources.columns import InputColumn, Kind
from podium.sources.json_values import json_type, short, values_of

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
        PREDICT: A list of records or a CSV, read strictly: a column that no champion took is a typing error.
        INVOCATIONS: MLflow's protocol; columns that the version does not take are left out, as there.
    """

    PREDICT = "predict"
    INVOCATIONS = "invocations"


_CONTENT_TYPES = (JSON, CSV)


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
        columns: Its columns in order; None where its signature has none.
        by_place: The columns have no names: those that are sent are taken by their order.
        tensors: The tensors of a signature that has these.
        as_array: It takes an array of numbers (n, columns), and answers exactly as with a table.
        metadata: MLflow's description of a version without ``columns``.
        former: Columns that former champions took: clients may go on sending them.
        max_rows: Rows that one request may hold.
    """

    columns: tuple[InputColumn, ...] | None
    by_place: bool = False
    tensors: tuple[Tensor, ...] | None = None
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
        with_gaps: Flags of which some are missing.
    """

    count: int
    values: Values
    params: Mapping[str, Any] | None = None
    ignored: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    with_gaps: tuple[str, ...] = ()

    def missing_values(self) -> list[str]:
        """Name the columns with a missing or an infinite value, which many models cannot take."""
        if isinstance(self.values, pd.DataFrame):
            return [str(name) for name, column in self.values.items() if _has_gaps(column)]
        if self.names:
            odd = np.flatnonzero(~np.isfinite(self.values).all(axis=0))
            return [self.names[place] for place in odd]
        return []


def _has_gaps(column: pd.Series) -> bool:
    infinite = column.dtype.kind == "f" and np.isinf(column.to_numpy()).any()
    return bool(infinite or column.isna().any())


@dataclass(frozen=True)
class _Table:
    """Columns of equal length as they were sent.

    Attributes:
        count: Rows.
        names: All columns, in their order.
        column: Gives the values of one of them.
        judge: Brings them to the type of the column.
    """

    count: int
    names: Collection[str]
    column: Callable[[InputColumn], Sequence[Any]]
    judge: Judge = values_of


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
    if shape.tensors is not None:
        return _tensors(sent, shape, shape.tensors)
    if shape.columns is None:
        count, values = read_by_mlflow(sent.form, sent.content, shape.metadata, shape.max_rows)
        return Rows(count, values, sent.params)
    table = _by_place(sent, shape) if shape.by_place else _TABLES[sent.form](sent.content, shape)
    rows = _fitted(table, shape, sent.params)
    if rows.ignored and body.dialect is Dialect.PREDICT:
        _refuse_unknown(rows.ignored, shape)
    return rows


def _sent(body: Body, shape: Shape) -> _Sent:
    kind = check_content_type(body.content_type, _CONTENT_TYPES)
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
        raise RequestRefused(f"content type {short(content_type)}: only UTF-8 is accepted", 415)
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
        raise RequestRefused(
            f"more than {_MAX_LISTS_AND_OBJECTS:,} lists and objects: send several requests", 413
        )
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
        raise RequestRefused("dataframe_split: send an object with columns, data and, optionally, index")
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
    """Read records; or lists of values by place; or, as MLflow does, the values of the only column."""
    if shape.by_place and values and isinstance(values[0], list):
        check_rows(len(values), shape.max_rows)
        return _from_lines([column.name for column in shape.columns or ()], values)
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
    return replace(_from_lines(names, rows), judge=texts_of)


_TABLES: Mapping[str, Callable[[Any, Shape], _Table]] = {
    RECORDS: _from_records,
    CSV_TEXT: _from_csv,
    "dataframe_records": _from_records,
    "dataframe_split": _from_split,
    "instances": _from_columns,
    "inputs": _from_columns,
}


def _by_place(sent: _Sent, shape: Shape) -> _Table:
    """Read columns that have no names in the signature; whatever names they are sent with do not count.

    Raises:
        RequestRefused: There are fewer than the version takes.
    """
    if sent.form == CSV_TEXT or sent.form == "dataframe_split":
        table = _TABLES[sent.form](sent.content, shape)
    else:
        table = _from_columns(sent.content, shape)
    names, wanted = list(table.names), shape.columns or ()
    if len(names) < len(wanted):
        raise RequestRefused(f"{len(names)} columns; {takes(wanted)}")
    sent_as = {column.name: name for column, name in zip(wanted, names, strict=False)}
    return replace(
        table,
        names=[*sent_as, *names[len(wanted) :]],
        column=lambda column: table.column(replace(column, name=sent_as[column.name])),
    )


def _tensors(sent: _Sent, shape: Shape, tensors: Sequence[Tensor]) -> Rows:
    """Read tensors: a list for the only one, or a table of them.

    Raises:
        RequestRefused: One is missing or does not fit; names the row.
    """
    content = sent.content
    if isinstance(content, list) and not (content and isinstance(content[0], dict)) and len(tensors) == 1:
        check_limits(content, len(content), shape.max_rows)
        return Rows(len(content), _named(tensors, [tensor_of(tensors[0], content, values_of)]), sent.params)
    table = _TABLES[sent.form](content, shape)
    if missing := [tensor.name for tensor in tensors if tensor.name not in (None, *table.names)]:
        raise RequestRefused(named("missing column", missing))
    cells = [_cells(table, tensor) for tensor in tensors]
    if sent.form != CSV_TEXT:
        check_limits(content, table.count, shape.max_rows)
    found = [tensor_of(tensor, some, table.judge) for tensor, some in zip(tensors, cells, strict=True)]
    return Rows(table.count, _named(tensors, found), sent.params)


def _cells(table: _Table, tensor: Tensor) -> list[Any]:
    if tensor.name is not None:
        return list(table.column(tensor.column))
    columns = [table.column(replace(tensor.column, name=name)) for name in table.names]
    return [list(row) if tensor.row else row[0] for row in zip(*columns, strict=True)]


def _named(tensors: Sequence[Tensor], found: Sequence[npt.NDArray[Any]]) -> Any:
    if tensors[0].name is None:
        return found[0]
    return {tensor.name: array for tensor, array in zip(tensors, found, strict=True)}


def _fitted(table: _Table, shape: Shape, params: Mapping[str, Any] | None) -> Rows:
    """Give the columns the order and types of the version.

    Raises:
        RequestRefused: A column is missing, or has a value of another type; names both.
    """
    wanted, sent = shape.columns or (), frozenset(table.names)
    if missing := [column.name for column in wanted if column.required and column.name not in sent]:
        raise RequestRefused(f"{named('missing column', missing)}; {takes(wanted)}")
    typed = {
        column.name: typed_values(column, table.column(column), table.judge)
        for column in wanted
        if column.name in sent
    }
    names = {column.name for column in wanted}
    ignored = tuple(name for name in table.names if name not in names)
    if shape.as_array and len(typed) == len(wanted):
        # Column by column, as a table lies in memory: sums then come out the same to the last bit.
        values = np.array(list(typed.values()), dtype=np.float64).T
        return Rows(table.count, values, params, ignored, tuple(typed))
    frame = pd.DataFrame(typed, index=range(table.count))
    if shape.by_place:
        frame.columns = pd.RangeIndex(len(typed))
    return Rows(table.count, frame, params, ignored, with_gaps=_with_gaps(wanted, typed))


def _with_gaps(wanted: Sequence[InputColumn], typed: Mapping[str, Any]) -> tuple[str, ...]:
    optional = (column for column in wanted if column.kind is Kind.BOOLEAN and not column.required)
    return tuple(one.name for one in optional if one.name in typed and typed[one.name].dtype == object)


def _example(shape: Shape) -> str:
    if not shape.columns or shape.by_place:
        return "[...]"
    return f'[{{"{short(shape.columns[0].name)}": ...}}]'
