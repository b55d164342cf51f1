"""The server's document says of each column what a request may hold there."""

from __future__ import annotations

from typing import Any

import pytest
from mlflow.types import ColSpec, DataType, Schema
from mlflow.types.schema import AnyType, Array, Map, Object, Property

from podium.serving.openapi import _record
from podium.serving.requests import Shape
from podium.sources.columns import InputColumn, Kind, columns_of

DESCRIBED: dict[Kind, dict[str, Any]] = {
    Kind.DOUBLE: {"type": ["number", "null"]},
    Kind.FLOAT: {"type": ["number", "null"]},
    Kind.LONG: {"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1},
    Kind.INTEGER: {"type": "integer", "minimum": -(2**31), "maximum": 2**31 - 1},
    Kind.BOOLEAN: {"type": "boolean"},
    Kind.STRING: {"type": ["string", "null"]},
    Kind.DATETIME: {
        "type": ["string", "null"],
        "description": "A moment in ISO 8601; one with a time zone is converted to UTC.",
    },
    Kind.BINARY: {"type": "string", "contentEncoding": "base64"},
}


@pytest.mark.parametrize("kind", DESCRIBED)
def test_a_column_is_described_by_its_kind(kind: Kind) -> None:
    described = _record(Shape((InputColumn("c", kind),)), strict=True)
    assert described["properties"] == {"c": DESCRIBED[kind]}
    assert described["required"] == ["c"]


def test_a_nested_column_is_described_by_what_is_inside() -> None:
    schema = Schema(
        [
            ColSpec(
                Object([Property("p", DataType.double), Property("q", Array(DataType.long), required=False)]),
                "o",
            ),
            ColSpec(Map(DataType.boolean), "m", required=False),
            ColSpec(AnyType(), "a", required=False),
            ColSpec(Array(Array(DataType.double)), "x", required=False),
        ]
    )
    described = _record(Shape(columns_of(schema)), strict=True)
    whole = {"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1}
    assert described["properties"] == {
        "o": {
            "type": "object",
            "properties": {
                "p": {"type": "number"},
                "q": {"anyOf": [{"type": "array", "items": whole}, {"type": "null"}]},
            },
            "required": ["p"],
            "additionalProperties": False,
        },
        "m": {
            "anyOf": [
                {"type": "object", "additionalProperties": {"type": ["boolean", "null"]}},
                {"type": "null"},
            ]
        },
        "a": {},
        "x": {
            "anyOf": [
                {
                    "type": "array",
                    "items": {
                        "anyOf": [
                            {"type": "array", "items": {"type": ["number", "null"]}},
                            {"type": "null"},
                        ]
                    },
                },
                {"type": "null"},
            ]
        },
    }
    assert described["required"] == ["o"]
