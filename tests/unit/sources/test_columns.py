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
from mlflow.types.schema import Array

from podium.errors import PodiumError
from podium.sources.columns import InputColumn, Kind, columns_of

VALUES: dict[Kind, Any] = {
    Kind.DOUBLE: 1.5,
    Kind.FLOAT: 1.5,
    Kind.LONG: 2,
    Kind.INTEGER: 2,
    Kind.BOOLEAN: True,
    Kind.STRING: "a",
    Kind.DATETIME: pd.Timestamp("2026-01-01"),
}


def test_columns_are_those_of_the_signature_in_its_order() -> None:
    kinds = list(reversed(Kind))
    schema = Schema([ColSpec(kind.value, f"a {kind}", required=kind.nullable) for kind in kinds])
    assert columns_of(schema) == tuple(InputColumn(f"a {kind}", kind, kind.nullable) for kind in kinds)
    # As a signature is stored with a model.
    assert columns_of(Schema.from_json(schema.to_json())) == columns_of(schema)


@pytest.mark.parametrize("kind", Kind)
def test_a_kind_is_what_mlflow_takes_for_it(kind: Kind) -> None:
    schema = Schema([ColSpec(kind.value, "x")])
    whole = pd.DataFrame({"x": pd.Series([VALUES[kind]], dtype=kind.dtype)})
    taken = _enforce_schema(whole, schema)["x"]
    if kind is not Kind.STRING:
        assert taken.dtype == kind.dtype
        assert kind.dtype == DataType[kind].to_numpy()
    with_gap = pd.DataFrame({"x": pd.Series([VALUES[kind], None])})
    if kind.nullable:
        given = with_gap.astype({"x": kind.dtype})
        assert _enforce_schema(given, schema)["x"].isna().tolist() == [False, True]
    else:
        # MLflow refuses the gap, or hands on what is not of the type.
        with suppress(MlflowException):
            assert _enforce_schema(with_gap, schema)["x"].dtype != kind.dtype


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        (None, "no signature that names its input columns"),
        (Schema([TensorSpec(np.dtype("f8"), (-1, 3))]), "no signature that names its input columns"),
        (Schema([ColSpec("double")]), "no signature that names its input columns"),
        (
            Schema([ColSpec("binary", "b"), ColSpec("long", "n"), ColSpec(Array(DataType.double), "a")]),
            "the model takes b, a as what no column of a table holds",
        ),
    ],
    ids=["none", "tensor", "unnamed", "bytes and arrays"],
)
def test_rows_cannot_be_checked_against_any_other_signature(schema: Schema | None, message: str) -> None:
    with pytest.raises(PodiumError, match=message):
        columns_of(schema)
