"""What a model takes is read off its signature once, for batches and for requests."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy as np
import pandas as pd
import pytest
from mlflow.exceptions import MlflowException
from mlflow.models.utils import _enforce_schema
from mlflow.types import ColSpec, DataType, Schema, TensorSpec
from mlflow.types.schema import AnyType, Array, Map, Object, Property, SparkMLVector

from podium.errors import PodiumError
from podium.sources.columns import InputColumn, Kind, columns_of, items_of, kind_of

VALUES: dict[Kind, Any] = {
    Kind.DOUBLE: 1.5,
    Kind.FLOAT: 1.5,
    Kind.LONG: 2,
    Kind.INTEGER: 2,
    Kind.BOOLEAN: True,
    Kind.STRING: "a",
    Kind.DATETIME: pd.Timestamp("2026-01-01"),
    Kind.BINARY: b"a",
}
NESTED: dict[Kind, Any] = {
    Kind.ARRAY: Array(Array(DataType.long)),
    Kind.OBJECT: Object([Property("p", DataType.double, required=False)]),
    Kind.MAP: Map(DataType.string),
    Kind.ANY: AnyType(),
}


def test_columns_are_those_of_the_signature_in_its_order() -> None:
    kinds = list(reversed(VALUES))
    schema = Schema([ColSpec(kind.value, f"a {kind}", required=kind.nullable) for kind in kinds])
    assert columns_of(schema) == tuple(InputColumn(f"a {kind}", kind, kind.nullable) for kind in kinds)
    # As a signature is stored with a model.
    assert columns_of(Schema.from_json(schema.to_json())) == columns_of(schema)


@pytest.mark.parametrize("kind", VALUES)
def test_a_kind_is_what_mlflow_takes_for_it(kind: Kind) -> None:
    schema = Schema([ColSpec(kind.value, "x")])
    whole = pd.DataFrame({"x": pd.Series([VALUES[kind]], dtype=kind.dtype)})
    taken = _enforce_schema(whole, schema)["x"]
    if kind.dtype != object:
        assert taken.dtype == kind.dtype
        assert kind.dtype == DataType[kind].to_numpy()
    with_gap = pd.DataFrame({"x": pd.Series([VALUES[kind], None])})
    if kind.nullable:
        given = with_gap.astype({"x": kind.dtype})
        assert _enforce_schema(given, schema)["x"].isna().tolist() == [False, True]
    elif kind is not Kind.BINARY:
        # MLflow refuses the gap, or hands on what is not of the type.
        with suppress(MlflowException):
            assert _enforce_schema(with_gap, schema)["x"].dtype != kind.dtype


@pytest.mark.parametrize("kind", NESTED)
def test_nested_columns_say_what_is_inside_them(kind: Kind) -> None:
    schema = Schema([ColSpec(NESTED[kind], "x", required=False), ColSpec("long", "n")])
    assert [column.kind for column in columns_of(schema)] == [kind, Kind.LONG]
    assert dict(columns_of(schema)[0].inside).items() >= NESTED[kind].to_dict().items()
    assert columns_of(Schema.from_json(schema.to_json())) == columns_of(schema)


def test_a_vector_of_spark_is_a_list_of_doubles() -> None:
    column = columns_of(Schema([ColSpec(SparkMLVector(), "v")]))[0]
    assert (column.kind, kind_of(items_of(column.inside))) == (Kind.ARRAY, Kind.DOUBLE)


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        (None, "no signature that names its input columns"),
        (Schema([TensorSpec(np.dtype("f8"), (-1, 3))]), "no signature that names its input columns"),
        (Schema([ColSpec("double")]), "no signature that names its input columns"),
    ],
    ids=["none", "tensor", "unnamed"],
)
def test_rows_cannot_be_checked_against_any_other_signature(schema: Schema | None, message: str) -> None:
    with pytest.raises(PodiumError, match=message):
        columns_of(schema)
