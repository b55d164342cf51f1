"""Requests become the rows that ``pyfunc.predict`` takes, to the last bit, or are refused by name."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mlflow.models.utils import _enforce_schema
from mlflow.types import ColSpec, Schema
from mlflow.utils.proto_json_utils import NumpyEncoder, dump_input_data

from podium.errors import RequestRefused
from podium.serving.batching import layout
from podium.serving.requests import CSV, JSON, Body, Dialect, Rows, Shape, read
from podium.sources.columns import InputColumn, Kind

INT32, INT64 = 2**31, 2**63
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8) | st.sampled_from(
    ["NA", "null", "NaN", "1", "a,b", 'say "x"', "two\nlines", "\U0001f3c6", "\x00", " ", "﻿"]
)
# No text tells one nan from another.
FLOATS = st.floats(allow_nan=False) | st.sampled_from([math.nan, -0.0, 5e-324, 1.7976931348623157e308])
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "double": FLOATS,
    "float": st.floats(width=32, allow_nan=False) | st.just(math.nan),
    "long": st.integers(-INT64, INT64 - 1),
    "integer": st.integers(-INT32, INT32 - 1),
    "boolean": st.booleans(),
    "string": TEXTS | st.none(),
    "datetime": st.datetimes(datetime(1700, 1, 1), datetime(2200, 1, 1)) | st.none(),
}
# Texts as a training has them: a column of nothing but None would be one of objects.
DTYPES = {
    "double": "f8",
    "float": "f4",
    "long": "i8",
    "integer": "i4",
    "boolean": "?",
    "string": "str",
    "datetime": "M8[ns]",
}


@st.composite
def tables(draw: st.DrawFn) -> tuple[pd.DataFrame, Shape]:
    """A table of mixed columns, as a client has it, and what the version takes, in another order."""
    names = draw(st.lists(TEXTS.filter(str.strip), min_size=1, max_size=5, unique=True))
    columns = [InputColumn(name, Kind(draw(st.sampled_from(list(VALUES))))) for name in names]
    count = draw(st.integers(1, 4))
    table = pd.DataFrame(
        {
            column.name: pd.Series(
                draw(st.lists(VALUES[column.kind], min_size=count, max_size=count)),
                dtype=DTYPES[column.kind],
            )
            for column in columns
        }
    )
    return table, Shape(tuple(draw(st.permutations(columns))))


def as_predict_takes_it(table: pd.DataFrame, shape: Shape) -> pd.DataFrame:
    schema = Schema([ColSpec(column.kind, column.name) for column in shape.columns or ()])
    return _enforce_schema(table, schema)


def same(found: Rows, table: pd.DataFrame, shape: Shape) -> None:
    expected = as_predict_takes_it(table, shape)
    assert isinstance(found.values, pd.DataFrame)
    assert list(found.values.columns) == list(expected.columns)
    for column in shape.columns or ():
        ours, theirs = found.values[column.name], expected[column.name]
        assert ours.dtype == theirs.dtype
        if column.kind == "string":
            assert ours.isna().tolist() == theirs.isna().tolist()
            assert ours.dropna().tolist() == theirs.dropna().tolist()
        else:
            assert ours.to_numpy().tobytes() == theirs.to_numpy().tobytes()


def parse_records(body: bytes, content_type: str, shape: Shape) -> Rows:
    return read(Body(body, content_type, Dialect.PREDICT), shape)


def parse_invocation(body: bytes, content_type: str, shape: Shape) -> Rows:
    return read(Body(body, content_type, Dialect.INVOCATIONS), shape)


def invoked(content: Any, shape: Shape) -> Rows:
    body = content if isinstance(content, str) else json.dumps(content, cls=NumpyEncoder)
    return parse_invocation(body.encode(), JSON, shape)


FORMATS: dict[str, Callable[[pd.DataFrame, Shape], Rows]] = {
    "mlflow's client": lambda table, shape: invoked(dump_input_data(table), shape),
    "split": lambda table, shape: invoked(
        {"dataframe_split": {"columns": list(table), "data": table.to_numpy(object).tolist()}}, shape
    ),
    "records": lambda table, shape: invoked({"dataframe_records": table.to_dict("records")}, shape),
    "instances": lambda table, shape: invoked({"instances": table.to_dict("records")}, shape),
    "inputs": lambda table, shape: invoked({"inputs": table.to_dict("list")}, shape),
    "plain": lambda table, shape: parse_records(
        json.dumps(table.to_dict("records"), cls=NumpyEncoder).encode(), JSON, shape
    ),
}


@settings(max_examples=60)
@given(tables())
def test_every_json_format_is_what_predict_takes_to_the_last_bit(case: tuple[pd.DataFrame, Shape]) -> None:
    table, shape = case
    for parse in FORMATS.values():
        same(parse(table, shape), table, shape)


@settings(max_examples=40)
@given(tables())
def test_a_csv_is_what_predict_takes_to_the_last_bit(case: tuple[pd.DataFrame, Shape]) -> None:
    table, shape = case
    named = [column.name for column in shape.columns or () if column.kind == "string"]
    # A CSV cannot tell an empty text from none, and pandas writes a carriage return that ends a line.
    for name in named:
        texts = [str(text).replace("\r", "") or None if pd.notna(text) else None for text in table[name]]
        table[name] = pd.Series(texts, dtype="str")
    if not any("\r" in name or name.startswith("\ufeff") for name in table):
        same(parse_invocation(table.to_csv(index=False).encode(), CSV, shape), table, shape)


SHAPE = Shape(
    (
        InputColumn("x", Kind.DOUBLE),
        InputColumn("n", Kind.LONG),
        InputColumn("small", Kind.INTEGER),
        InputColumn("yes", Kind.BOOLEAN),
        InputColumn("name", Kind.STRING),
        InputColumn("maybe", Kind.DOUBLE, required=False),
        InputColumn("count", Kind.LONG, required=False),
    ),
    former=frozenset({"old"}),
    max_rows=100,
)
ROW = {"x": 1.5, "n": 2, "small": 3, "yes": True, "name": "a"}
REFUSED: dict[str, tuple[Any, str]] = {
    "missing": (
        [{key: value for key, value in ROW.items() if key != "n"}],
        "missing column n; the model takes x",
    ),
    "missing in one": ([ROW, {"x": 1.0}], "row 1: missing column n"),
    "unknown": ([{**ROW, "y": 1}], "unknown column y; the model takes x"),
    "text for a number": ([{**ROW, "x": "1.5"}], "column x, row 0: a text, not a double"),
    "boolean for a number": ([ROW, {**ROW, "x": True}], "column x, row 1: true or false, not a double"),
    "number for a boolean": ([{**ROW, "yes": 2}], "column yes, row 0: 2, not a boolean"),
    "text for a boolean": ([{**ROW, "yes": "no"}], "column yes, row 0: a text, not a boolean"),
    "null for a boolean": ([{**ROW, "yes": None}], "column yes, row 0: null, and a boolean has none"),
    "number for a text": ([{**ROW, "name": 7}], "column name, row 0: a number, not a string"),
    "list for a number": ([{**ROW, "x": [1]}], "column x, row 0: a list, not a double"),
    "null for a whole number": ([{**ROW, "n": None}], "column n, row 0: null, and a long has none"),
    "part of a whole number": ([{**ROW, "n": 1.5}], "column n, row 0: 1.5, not a whole number"),
    "nan for a whole number": ([{**ROW, "n": math.nan}], "column n, row 0: nan, not a whole number"),
    "too large for a long": (
        [{**ROW, "n": 2**63}],
        "column n, row 0: 9223372036854775808 is too large for a long",
    ),
    "too large for an integer": (
        [{**ROW, "small": 2**31}],
        "column small, row 0: 2147483648 is too large for an integer",
    ),
    "beyond what a double tells apart": (
        [ROW, {**ROW, "x": 2**53 + 1}],
        "column x, row 1: 9007199254740993 is",
    ),
    "beyond what 3.0 tells apart": (
        [{**ROW, "n": 2.0**53 + 2}],
        "column n, row 0: 9007199254740994.0 is too",
    ),
    "a hundred digits": ([{**ROW, "n": int("9" * 100)}], "column n, row 0: 1e+100 is too large for a long"),
    "no rows": ([], "no rows"),
    "too many rows": ([ROW] * 101, "more than 100 rows"),
    "no list": (ROW, "send a list of records"),
    "no records": ([1, 2], "row 0: a number, not an object of columns"),
    "optional, in some": ([ROW, {**ROW, "count": 1}], "column count, row 0: null, and a long has none"),
}


@pytest.mark.parametrize("why", REFUSED)
def test_what_does_not_fit_is_refused_with_its_column(why: str) -> None:
    content, message = REFUSED[why]
    with pytest.raises(RequestRefused) as refused:
        parse_records(json.dumps(content).encode(), JSON, SHAPE)
    assert message in str(refused.value)
    assert refused.value.status == (413 if "many" in why else 400)


def test_a_number_that_a_float_would_make_infinite_is_refused() -> None:
    shape = Shape((InputColumn("x", Kind.FLOAT),))
    with pytest.raises(RequestRefused, match="column x, row 0: 1e\\+39 is too large for a float"):
        parse_records(b'[{"x": 1e39}]', JSON, shape)
    rows = parse_records(b'[{"x": 3e38}]', JSON, shape)
    assert rows.values["x"].to_numpy().tobytes() == np.float32(3e38).tobytes()


BODIES: dict[str, tuple[bytes, str]] = {
    "not utf-8": (b'[{"x": "\xff"}]', "not JSON"),
    "half a pair": (b'[{"name": "\\ud800"}]', "not JSON"),
    "half a pair beside nan": (b'[{"name": "\\ud800", "x": NaN}]', "not JSON"),
    "too large for a double": (b'[{"x": 1e400}]', "number is infinity"),
    "deep": (b"[" * 100_000, "depth limit"),
    "a thousand deep": (b"[" * 1000 + b"]" * 1000, "row 0: a list"),
    "deep beside nan": (b"[NaN," * 1010 + b"1" + b"]" * 1010, "not JSON"),
    "quotes without end beside nan": (b"NaN" + b'\\"' * 500_000, "not JSON"),
    "lists upon lists": (b"[" + b"[]," * 1_000_000 + b"[]]", "more than 1,000,000 lists and objects"),
    "empty": (b"", "not JSON"),
    "spaces": (b" " * 1000, "not JSON"),
    "nothing but a word": (b"NaN", "send a list of records"),
}


@pytest.mark.parametrize("what", BODIES)
def test_odd_bodies_are_refused(what: str) -> None:
    body, message = BODIES[what]
    with pytest.raises(RequestRefused, match=message) as refused:
        parse_records(body, JSON, SHAPE)
    assert len(str(refused.value)) < 500


def test_messages_stay_short_whatever_is_sent() -> None:
    many = [{f"column {place} {'x' * 100}": 1 for place in range(20_000)}]
    split = {"dataframe_split": {"columns": ["x" * 1000] * 20_000, "data": [[1] * 20_000]}}
    with pytest.raises(RequestRefused, match="missing columns x, n, small, yes, name; the model") as none:
        parse_records(json.dumps(many).encode(), JSON, SHAPE)
    with pytest.raises(RequestRefused, match=r"unknown columns .* and 19,995 more") as unknown:
        parse_records(json.dumps([{**ROW, **many[0]}]).encode(), JSON, SHAPE)
    with pytest.raises(RequestRefused, match="repeated column xxx") as repeated:
        parse_invocation(json.dumps(split).encode(), JSON, SHAPE)
    assert max(len(str(refused.value)) for refused in (none, unknown, repeated)) < 1000


@settings(max_examples=200)
@given(
    st.binary(max_size=60)
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "dataframe_split",
                        "dataframe_records",
                        "inputs",
                        "instances",
                        "columns",
                        "data",
                        "params",
                    ]
                    + [column.name for column in SHAPE.columns or ()]
                ),
                inner,
                max_size=4,
            )
        ),
    ).map(lambda content: json.dumps(content).encode()),
    st.sampled_from([JSON, CSV, "text/plain", "application/json; charset=latin-1", ""]),
    st.sampled_from([SHAPE, Shape((InputColumn("x", Kind.STRING),)), Shape(None)]),
)
def test_whatever_is_sent_there_are_rows_or_a_refusal(body: bytes, content_type: str, shape: Shape) -> None:
    for parse in (parse_invocation, parse_records):
        with suppress(RequestRefused):
            assert parse(body, content_type, shape).count > 0


def test_invocations_leave_out_what_the_version_does_not_take_and_records_only_former_columns() -> None:
    rows = invoked({"dataframe_records": [{**ROW, "y": 1, "old": 2}, ROW]}, SHAPE)
    assert rows.ignored == ("y", "old")
    rows = parse_records(json.dumps([{**ROW, "old": None}]).encode(), JSON, SHAPE)
    assert rows.ignored == ("old",)
    assert list(rows.values) == list(ROW)


def test_the_values_of_the_only_column_need_no_name() -> None:
    shape = Shape((InputColumn("text", Kind.STRING),))
    for name in ("inputs", "instances"):
        rows = invoked({name: ["good", "bad"]}, shape)
        assert rows.values["text"].tolist() == ["good", "bad"]
        rows = invoked({name: [{"text": "good"}]}, shape)
        assert rows.values["text"].tolist() == ["good"]


def test_columns_with_missing_or_infinite_values_are_named() -> None:
    shape = Shape(
        (InputColumn("a", Kind.DOUBLE), InputColumn("b", Kind.DOUBLE), InputColumn("c", Kind.DOUBLE))
    )
    body = b'[{"a": null, "b": 1, "c": 2}, {"a": 1, "b": 1, "c": -Infinity}]'
    assert parse_records(body, JSON, shape).missing_values() == ["a", "c"]
    array = parse_records(body, JSON, Shape(shape.columns, as_array=True))
    assert isinstance(array.values, np.ndarray)
    assert array.missing_values() == ["a", "c"]


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/json", 200),
        ("Application/JSON; charset=UTF-8", 200),
        ("application/json;", 200),
        ('application/json; charset="utf-8"', 200),
        ("application/json; charset=latin-1", 415),
        ("application/vnd.apache.parquet", 415),
        ("text/plain", 415),
        ("", 415),
        ("x" * 10_000, 415),
    ],
)
def test_content_types(content_type: str, status: int) -> None:
    body = json.dumps({"dataframe_records": [ROW]}).encode()
    if status == 200:
        assert parse_invocation(body, content_type, SHAPE).count == 1
    else:
        with pytest.raises(RequestRefused) as refused:
            parse_invocation(body, content_type, SHAPE)
        assert refused.value.status == status
        assert len(str(refused.value)) < 200


CSV_SHAPE = Shape(
    (InputColumn("x", Kind.DOUBLE), InputColumn("n", Kind.LONG), InputColumn("yes", Kind.BOOLEAN)), max_rows=3
)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "the CSV is empty"),
        (b"\n" * 1_000_000, "the CSV is empty"),
        (b"x,n,yes\n", "no rows"),
        (b"x,n,yes\n" + b"1,1,true\n" * 4, "more than 3 rows"),
        (b"x,n\n1,1\n", "missing column yes"),
        (b"x,n,yes\n1,1\n", "row 0: 2 values, not a list of 3 values"),
        (b"x,n,yes,x\n1,1,true,1\n", "repeated column x"),
        (b"x,n,yes\nabc,1,true\n", "column x, row 0: 'abc', not a double"),
        (b"x,n,yes\n1_000,1,true\n", "column x, row 0: '1_000', not a double"),
        ("x,n,yes\n٣,1,true\n".encode(), "column x, row 0: '٣', not a double"),
        (b"x,n,yes\n1,,true\n", "column n, row 0: '', not a long"),
        (b"x,n,yes\n1,1,ja\n", "column yes, row 0: 'ja', not a boolean"),
        (b"x,n,yes\n1,99999999999999999999,true\n", "column n, row 0: '99999999999999999999', not a long"),
        (b'x,n,yes\n"1"2,1,true\n', "not CSV"),
        (b'x,n,yes\n"1,1,true\n', "not CSV"),
        (b"x,n,yes\n\xff,1,true\n", "not UTF-8"),
    ],
)
def test_odd_csv_is_refused(body: bytes, message: str) -> None:
    with pytest.raises(RequestRefused, match=message):
        parse_invocation(body, CSV, CSV_SHAPE)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["a" * 100_000, *["b"] * 9_000], "9,001 values beside a text of 100,000 letters"),
        ([[1] * 10_001], "more than 10,000 columns"),
        ([{str(place): 1 for place in range(10_001)}], "more than 10,000 columns"),
        ([{"a": 1}, {"b": 1}], "row 1: its columns differ from those of row 0"),
        ([[1]] * 10_001, "more than 10,000 rows"),
    ],
    ids=["one long text", "wide rows", "wide records", "odd records", "many rows"],
)
def test_what_mlflow_reads_has_limits_too(rows: Any, message: str) -> None:
    for name in ("inputs", "instances"):
        with pytest.raises(RequestRefused, match=message):
            invoked({name: rows}, Shape(None))
    wide = ",".join(map(str, range(10_001)))
    with pytest.raises(RequestRefused, match="more than 10,000 columns"):
        parse_invocation(wide.encode(), CSV, Shape(None))


FLAG = Shape((InputColumn("x", Kind.DOUBLE), InputColumn("flag", Kind.BOOLEAN, required=False)))


def test_flags_with_gaps_are_not_joined_with_those_without() -> None:
    def asked(*flags: Any) -> Rows:
        return parse_records(json.dumps([{"x": 1, "flag": flag} for flag in flags]).encode(), JSON, FLAG)

    gap, whole = asked(True, None), asked(True, False)
    assert gap.values["flag"].tolist() == [True, None]
    assert whole.values["flag"].dtype == bool
    assert layout(gap) != layout(whole)
    assert layout(gap) == layout(asked(None))


NESTED_SHAPE = Shape(
    (
        InputColumn("n", Kind.LONG),
        InputColumn("vector", Kind.ARRAY, inside={"type": "array", "items": {"type": "double"}}),
        InputColumn(
            "person",
            Kind.OBJECT,
            inside={
                "type": "object",
                "properties": {
                    "age": {"type": "long", "required": True},
                    "tags": {"type": "array", "items": {"type": "string"}, "required": False},
                },
            },
        ),
        InputColumn("photo", Kind.BINARY),
    )
)
NESTED_ROW = {"n": 1, "vector": [1, 2.5], "person": {"age": 3, "tags": ["a"]}, "photo": "AQI="}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n": 2.7}, "column n, row 1: 2.7, not a whole number"),
        ({"n": True}, "column n, row 1: true or false, not a long"),
        ({"more": 1}, "unknown column more"),
        ({"vector": [1, "2"]}, r"column vector, row 1: \[1\]: a text, not a double"),
        ({"vector": 1}, "column vector, row 1: a number, not a list"),
        ({"vector": None}, "column vector, row 1: null, not a list"),
        ({"person": {}}, "column person, row 1: no age"),
        ({"person": {"age": 3, "agee": 3}}, "column person, row 1: agee is unknown; there are age, tags"),
        ({"person": {"age": "3"}}, "column person, row 1: .age: a text, not a long"),
        ({"person": {"age": 3, "tags": [1]}}, r"column person, row 1: .tags\[0\]: a number, not a string"),
        ({"photo": "no base64"}, "column photo, row 1: 'no base64', not a binary in base64"),
        ({"photo": 1}, "column photo, row 1: a number, not a binary"),
    ],
)
def test_a_list_or_an_object_loosens_no_other_column(change: dict[str, Any], message: str) -> None:
    rows = [NESTED_ROW, {**NESTED_ROW, **change}]
    with pytest.raises(RequestRefused, match=message):
        parse_records(json.dumps(rows).encode(), JSON, NESTED_SHAPE)


def test_lists_objects_and_bytes_are_read() -> None:
    found = parse_records(json.dumps([NESTED_ROW]).encode(), JSON, NESTED_SHAPE)
    assert found.values.iloc[0].tolist() == [1, [1.0, 2.5], {"age": 3, "tags": ["a"]}, b"\x01\x02"]
    assert found.missing_values() == []


def test_what_is_nested_deeply_is_no_error_of_the_server() -> None:
    shape = Shape((InputColumn("x", Kind.ANY, inside={"type": "any"}),))
    deep = "[" * 900 + "]" * 900
    assert parse_records(f'[{{"x": {deep}}}]'.encode(), JSON, shape).count == 1
