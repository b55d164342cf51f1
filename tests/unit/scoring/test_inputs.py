"""Columns of a table or a csv become the types that the model takes, or each row says why not."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from podium.scoring.inputs import InputColumns
from podium.sources.columns import InputColumn, Kind

MOMENT = pd.Timestamp("2026-01-01 12:30")
GOOD: dict[Kind, tuple[Any, str]] = {
    Kind.DOUBLE: (1.5, "1.5"),
    Kind.FLOAT: (1.5, "1.5"),
    Kind.LONG: (2, "2"),
    Kind.INTEGER: (2, "2"),
    Kind.BOOLEAN: (True, "true"),
    Kind.STRING: ("a", "a"),
    Kind.DATETIME: (MOMENT, "2026-01-01 12:30:00"),
}
WRONG: dict[Kind, tuple[bytes, str]] = {
    Kind.DOUBLE: (b"oops", "c is no number"),
    Kind.FLOAT: (b"oops", "c is no number"),
    Kind.LONG: (b"1.5", "c is no whole number"),
    Kind.INTEGER: (b"3000000000", "c is no whole number"),
    Kind.BOOLEAN: (b"maybe", "c is neither true nor false"),
    Kind.STRING: (b"\xff", "c is no text in UTF-8"),
    Kind.DATETIME: (b"soon", "c is no moment"),
}


def columns(kind: Kind) -> InputColumns:
    return InputColumns((InputColumn("c", kind),))


@pytest.mark.parametrize("kind", Kind)
def test_each_kind_becomes_the_models_type_from_a_table_and_from_a_csv(kind: Kind) -> None:
    value, text = GOOD[kind]
    for array in (pa.array([value]), pa.array([text.encode()])):
        inputs, reasons = columns(kind).convert(pa.table({"c": array}))
        assert reasons == {}
        assert inputs["c"].tolist() == [value]
        assert kind is Kind.STRING or inputs["c"].dtype == kind.dtype


@pytest.mark.parametrize("kind", Kind)
def test_what_is_wrong_or_missing_is_said_of_its_row(kind: Kind) -> None:
    wrong, reason = WRONG[kind]
    good = GOOD[kind][1].encode()
    inputs, reasons = columns(kind).convert(pa.table({"c": pa.array([good, wrong, b"", good])}))
    assert reasons == ({1: reason} if kind.nullable else {1: reason, 2: "c is missing"})
    assert inputs["c"].isna().tolist() == ([False, True, False] if kind.nullable else [False, False])


def test_empty_text_is_missing_in_a_csv_and_only_there() -> None:
    columns = InputColumns((InputColumn("t", Kind.STRING),))
    texts = ["", "NA", "a"]
    assert columns.convert(pa.table({"t": texts}))[0]["t"].tolist() == texts
    inputs, reasons = columns.convert(pa.table({"t": pa.array(texts).cast(pa.binary())}))
    assert inputs["t"].isna().tolist() == [True, True, False]
    assert reasons == {}
