"""Tensors and columns without names are as strict as columns with names; what fits is what predict takes."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from mlflow.models.utils import _enforce_schema
from mlflow.types import ColSpec, Schema, TensorSpec

from podium.errors import RequestRefused
from podium.serving.requests import CSV, JSON, Body, Dialect, Rows, Shape, read
from podium.serving.tensors import tensors_of
from podium.sources.columns import columns_by_place

FLOATS = {"allow_nan": False}
ELEMENTS: dict[str, Any] = {
    **dict.fromkeys(("f8", "f4", "f2"), FLOATS),
    "u8": {"max_value": 2**63 - 1},
    "U": st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=3),
}
DTYPES = ["f8", "f4", "f2", "i8", "i4", "i1", "u1", "u8", "?", "U"]


def shape_of(schema: Schema) -> Shape:
    if schema.is_tensor_spec():
        return Shape(None, tensors=tensors_of(schema), max_rows=100)
    return Shape(columns_by_place(schema), by_place=True, max_rows=100)


def sent(content: Any, schema: Schema, dialect: Dialect = Dialect.INVOCATIONS) -> Rows:
    return read(Body(json.dumps(content).encode(), JSON, dialect), shape_of(schema))


def sent_csv(text: str, schema: Schema) -> Rows:
    return read(Body(text.encode(), CSV, Dialect.INVOCATIONS), shape_of(schema))


@given(st.data(), st.sampled_from(DTYPES), st.sampled_from([(), (1,), (3,), (2, 2)]))
def test_a_tensor_is_what_predict_takes_to_the_last_bit(
    data: st.DataObject, code: str, row: tuple[int, ...]
) -> None:
    array = data.draw(arrays.arrays(object if code == "U" else code, (2, *row), elements=ELEMENTS.get(code)))
    array = array.astype(str) if code == "U" else array
    schema = Schema([TensorSpec(np.dtype(code), (-1, *row))])
    named = Schema([TensorSpec(np.dtype(code), (-1, *row), "t")])
    for name in ("inputs", "instances"):
        found = sent({name: array.tolist()}, schema).values
        assert (found.shape, found.tolist()) == (array.shape, array.tolist())
        assert code == "U" or found.tobytes() == array.tobytes()
        assert _enforce_schema(found, schema) is found
    plain = sent(array.tolist(), schema, Dialect.PREDICT).values
    assert plain.tolist() == array.tolist()
    for content in ({"inputs": {"t": array.tolist()}}, {"instances": [{"t": one} for one in array.tolist()]}):
        found = sent(content, named).values
        assert found["t"].tolist() == array.tolist()
        assert _enforce_schema(found, named)["t"].tolist() == array.tolist()


REFUSED: dict[str, tuple[str, list[Any], str]] = {
    "a text for a number": ("f8", [[1, 2], [1, "2"]], "row 1, value 1: a text, not a double"),
    "a flag for a number": ("f8", [[1, True]], "row 0, value 1: true or false, not a double"),
    "a text for a flag": ("?", [[True, "no"]], "row 0, value 1: a text, not a boolean"),
    "two for a flag": ("?", [[True, False], [2, 0]], "row 1, value 0: 2, not a boolean"),
    "null for a flag": ("?", [[True, None]], "row 0, value 1: null, and a boolean has none"),
    "a part of a whole number": ("i8", [[1, 2.7]], "row 0, value 1: 2.7, not a whole number"),
    "too large": ("i1", [[1, 2], [300, 1]], "row 1, value 0: 300 is too large for a long"),
    "below zero": ("u1", [[-1, 2]], "row 0, value 0: -1 is too large for a long"),
    "too large for a small float": ("f2", [[1, 70000]], "row 0, value 1: 70000.0 is too large for a float"),
    "not exact": ("f8", [[2**53 + 1, 0]], "row 0, value 0: 9007199254740993 is too large for a double"),
    "null for a text": ("U", [["a", None]], "row 0, value 1: null, not a text"),
    "a short row": ("f8", [[1, 2], [1]], "row 1: 1 values, not a list of 2 values"),
    "no list": ("f8", [[1, 2], 1], "row 1: a number, not a list of 2 values"),
    "deeper": ("f8", [[1, [2]]], "row 0, value 1: a list, not a double"),
    "no rows": ("f8", [], "no rows"),
    "too many": ("f8", [[1, 2]] * 101, "more than 100 rows"),
}


@pytest.mark.parametrize("why", REFUSED)
def test_what_does_not_fit_a_tensor_is_refused_with_its_row(why: str) -> None:
    code, rows, message = REFUSED[why]
    schema = Schema([TensorSpec(np.dtype(code), (-1, 2))])
    for content, dialect in ((rows, Dialect.PREDICT), ({"inputs": rows}, Dialect.INVOCATIONS)):
        with pytest.raises(RequestRefused) as refused:
            sent(content, schema, dialect)
        assert message in str(refused.value)


def test_named_tensors_name_what_is_missing_or_wrong() -> None:
    schema = Schema([TensorSpec(np.dtype("f8"), (-1, 2), "a"), TensorSpec(np.dtype("i8"), (-1,), "b")])
    for content, message in (
        ({"inputs": {"a": [[1, 2]]}}, "missing column b"),
        ({"inputs": {"a": [[1, 2]], "b": ["1"]}}, "column b, row 0, value 0: a text, not a long"),
        ({"inputs": {"a": [[1, 2]], "b": [1, 2]}}, "different numbers of values"),
        ({"instances": [{"a": [1, 2], "b": 1}, {"a": [1], "b": 1}]}, "column a, row 1: 1 values"),
        ({"instances": [{"a": [1, 2], "b": 1}, {"a": [1, 2]}]}, "row 1: missing column b"),
        ({"inputs": [[1, 2]]}, "row 0: a list, not an object of columns"),
    ):
        with pytest.raises(RequestRefused, match=message):
            sent(content, schema)


def test_a_tensor_of_fixed_length_takes_no_other() -> None:
    schema = Schema([TensorSpec(np.dtype("f8"), (2, 1))])
    assert sent({"inputs": [1, 2]}, schema).values.tolist() == [[1.0], [2.0]]
    with pytest.raises(RequestRefused, match="1 rows, and the model takes 2"):
        sent({"inputs": [[1]]}, schema)


def test_a_csv_of_a_tensor_is_as_strict() -> None:
    schema = Schema([TensorSpec(np.dtype("i8"), (-1, 2))])
    assert sent_csv("a,b\n1,2\n3.0,4\n", schema).values.tolist() == [[1, 2], [3, 4]]
    for text, message in (
        ("a,b\n1,2.7\n", "row 0, value 1: '2.7', not a long"),
        ("a\n1\n", "row 0: 1 values"),
    ):
        with pytest.raises(RequestRefused, match=message):
            sent_csv(text, schema)


UNNAMED = Schema([ColSpec("double"), ColSpec("boolean"), ColSpec("datetime")])


@pytest.mark.parametrize(
    "content",
    [
        {"inputs": [[1, True, "2025-03-01"]]},
        {"instances": [[1, 1, "2025-03-01T00:00Z"]]},
        {"dataframe_split": {"columns": ["x", "y", "z"], "data": [[1, True, "2025-03-01"]]}},
        {"dataframe_records": [{"x": 1, "y": True, "z": "2025-03-01"}]},
        {"inputs": {"x": [1], "y": [True], "z": ["2025-03-01"]}},
    ],
)
def test_columns_without_names_are_taken_by_their_places(content: Any) -> None:
    found = sent(content, UNNAMED).values
    assert found.to_numpy(object).tolist() == [[1.0, True, pd.Timestamp("2025-03-01")]]
    assert _enforce_schema(found, UNNAMED).to_numpy(object).tolist() == found.to_numpy(object).tolist()


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ([1, "no", "2025-03-01"], "column 1, row 1: a text, not a boolean"),
        ([1, None, "2025-03-01"], "column 1, row 1: null, and a boolean has none"),
        ([1, True, 20250301], "column 2, row 1: a number, not a datetime"),
        ([True, True, "2025-03-01"], "column 0, row 1: true or false, not a double"),
        ([1, True], "row 1: 2 values, not a list of 3 values"),
        ([1, True, "2025-03-01", 4], "row 1: 4 values, not a list of 3 values"),
    ],
)
def test_what_does_not_fit_its_place_is_refused_with_it(row: list[Any], message: str) -> None:
    good = [1, True, "2025-03-01"]
    for content, dialect in (([good, row], Dialect.PREDICT), ({"inputs": [good, row]}, Dialect.INVOCATIONS)):
        with pytest.raises(RequestRefused, match=message):
            sent(content, UNNAMED, dialect)
    with pytest.raises(RequestRefused, match="2 columns; the model takes 0"):
        sent_csv("x,y\n1,true\n", UNNAMED)
