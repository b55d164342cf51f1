"""Can clients of one version use another? Signatures as MLflow infers and writes them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from mlflow.models import ModelSignature, infer_signature
from mlflow.types import ColSpec, DataType, Schema
from mlflow.types.schema import Array, TensorSpec

from podium.registry.signature import incompatibilities

PROBABILITIES = np.array([[0.5, 0.5]])
FRAME = pd.DataFrame({"x": [1.0], "n": [1], "name": ["a"]})


def inferred(inputs: Any, outputs: Any = PROBABILITIES) -> dict[str, Any]:
    return dict(infer_signature(inputs, outputs).to_dict())


def declared(*columns: ColSpec | TensorSpec, outputs: Schema | None = None) -> dict[str, Any]:
    return dict(ModelSignature(inputs=Schema(list(columns)), outputs=outputs).to_dict())


def tensors(*shape: int, dtype: str = "float64") -> dict[str, Any]:
    return declared(TensorSpec(np.dtype(dtype), shape))


def column(kind: Any = DataType.double, *, required: bool = True) -> dict[str, Any]:
    return declared(ColSpec(kind, "x", required=required))


def answers(*columns: ColSpec) -> dict[str, Any]:
    return declared(X, outputs=Schema(list(columns)))


# What plain MLflow infers of a model with an input example, and what Podium infers of its answers.
ONE_VALUE = [
    (DataType.double, "float64"),
    (DataType.float, "float32"),
    (DataType.long, "int64"),
    (DataType.boolean, "bool"),
    (DataType.string, "str"),
]
X, YES, NO = (ColSpec(DataType.double, name) for name in ("x", "yes", "no"))


@pytest.mark.parametrize(
    ("served", "offered"),
    [
        (inferred(FRAME), inferred(FRAME)),
        # MLflow drops what a signature does not name, and finds columns by name.
        (inferred(FRAME), inferred(FRAME[["x"]])),
        (inferred(FRAME), inferred(FRAME[["name", "n", "x"]])),
        (column(), column(required=False)),
        (column(required=False), column(required=False)),
        (column(), declared(X, ColSpec(DataType.string, "hint", required=False))),
        (tensors(-1, 3), tensors(-1, 3)),
        (column(Array(DataType.double)), column(Array(DataType.double))),
        (answers(YES, NO), answers(YES, NO)),
        (inferred(FRAME, np.zeros((5, 2))), inferred(FRAME, np.zeros((9, 2)))),
        *(
            pair
            for kind, dtype in ONE_VALUE
            for pair in (
                (answers(ColSpec(kind)), inferred(FRAME[["x"]], np.zeros(1, dtype))),
                (inferred(FRAME[["x"]], np.zeros(1, dtype)), answers(ColSpec(kind))),
            )
        ),
        ({}, {}),
    ],
)
def test_clients_can_use_the_other_version(served: dict[str, Any], offered: dict[str, Any]) -> None:
    assert incompatibilities(served, offered) == []


@pytest.mark.parametrize(
    ("served", "offered", "expected"),
    [
        (inferred(FRAME[["x"]]), inferred(FRAME[["x", "n"]]), ["it needs n, which clients do not send"]),
        (
            inferred(FRAME[["x"]]),
            inferred(FRAME),
            ["it needs n, which clients do not send", "it needs name, which clients do not send"],
        ),
        (column(required=False), column(), ["it needs x, which clients may leave out"]),
        (
            inferred(FRAME[["n"]].rename(columns={"n": "x"})),
            inferred(FRAME[["x"]]),
            ["it takes x as double, clients send long"],
        ),
        (
            column(DataType.string, required=False),
            column(required=False),
            ["it takes x as double, clients send string"],
        ),
        (column(), column(Array(DataType.double)), ["it takes x as array"]),
        (
            column(Array(DataType.double)),
            column(Array(DataType.string)),
            ['it takes x as array{"items": {"type": "string"}}'],
        ),
        (tensors(-1, 3), tensors(-1, 4), ["it takes 0 as float64[-1, 4], clients send float64[-1, 3]"]),
        (tensors(-1, 3), tensors(-1, 3, dtype="float32"), ["it takes 0 as float32"]),
        (
            inferred(FRAME, np.zeros((1, 2))),
            inferred(FRAME, np.zeros((1, 3))),
            ["it answers with ['float64[-1, 3]'], clients expect ['float64[-1, 2]']"],
        ),
        (
            inferred(FRAME, np.zeros((1, 2))),
            inferred(FRAME, ["yes"]),
            ["it answers with ['string'], clients expect ['float64[-1, 2]']"],
        ),
        (
            answers(YES, NO),
            answers(NO, YES),
            ["it answers with ['no: double', 'yes: double'], clients expect ['yes: double', 'no: double']"],
        ),
        (answers(YES, NO), answers(YES), ["it answers with ['yes: double'], clients expect"]),
        (answers(YES), declared(X), ["it answers with [], clients expect"]),
        (
            answers(ColSpec(DataType.double)),
            inferred(FRAME[["x"]], np.zeros(1, "int64")),
            ["it answers with ['long'], clients expect ['double']"],
        ),
        (
            answers(ColSpec(DataType.double)),
            inferred(FRAME[["x"]], np.zeros((1, 2))),
            ["it answers with ['float64[-1, 2]'], clients expect ['double']"],
        ),
        # A table with one column is no list of numbers.
        (
            answers(YES),
            inferred(FRAME[["x"]], np.zeros(1)),
            ["it answers with ['double'], clients expect ['yes: double']"],
        ),
    ],
)
def test_what_clients_would_trip_over_is_said(
    served: dict[str, Any], offered: dict[str, Any], expected: list[str]
) -> None:
    found = incompatibilities(served, offered)
    assert len(found) == len(expected)
    assert all(said.startswith(start) for said, start in zip(found, expected, strict=True)), found
