"""The server's document says of each column what a request may hold there."""

from __future__ import annotations

from typing import Any

import pytest

from podium.serving.openapi import _record
from podium.serving.requests import Shape
from podium.sources.columns import InputColumn, Kind

DESCRIBED: dict[Kind, dict[str, Any]] = {
    Kind.DOUBLE: {"type": ["number", "null"]},
    Kind.FLOAT: {"type": ["number", "null"]},
    Kind.LONG: {"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1},
    Kind.INTEGER: {"type": "integer", "minimum": -(2**31), "maximum": 2**31 - 1},
    Kind.BOOLEAN: {"type": "boolean"},
    Kind.STRING: {"type": ["string", "null"]},
}


@pytest.mark.parametrize("kind", DESCRIBED)
def test_a_column_is_described_by_its_kind(kind: Kind) -> None:
    described = _record(Shape((InputColumn("c", kind),)), strict=True)
    assert described["properties"] == {"c": DESCRIBED[kind]}
    assert described["required"] == ["c"]
