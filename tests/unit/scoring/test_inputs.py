"""Columns of a table or a csv become the types that the model takes, or each row says why not."""

from __future__ import annotations

from datetime import datetime
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
    Kind.DOUBLE: (b"oops", "c is not a number"),
    Kind.FLOAT: (b"oops", "c is not a number"),
    Kind.LONG: (b"1.5", "c is not a whole number"),
    Kind.INTEGER: (b"3000000000", "c is not a whole number"),
    Kind.BOOLEAN: (b"maybe", "c is neither true nor false"),
    Kind.STRING: (b"\xff", "c is not a text in UTF-8"),
    Kind.DATETIME: (b"soon", "c is not a moment in ISO 8601"),
}


def columns(kind: Kind) -> InputColumns:
    return InputColumns((InputColumn("c", kind),))


@pytest.mark.parametrize("kind", GOOD)
def test_each_kind_becomes_the_models_type_from_a_table_and_from_a_csv(kind: Kind) -> None:
    value, text = GOOD[kind]
    for array in (pa.array([value]), pa.array([text.encode()])):
        inputs, reasons = columns(kind).convert(pa.table({"c": array}))
        assert reasons == {}
        assert inputs["c"].tolist() == [value]
        assert kind is Kind.STRING or inputs["c"].dtype == kind.dtype


@pytest.mark.parametrize("kind", GOOD)
def test_what_is_wrong_or_missing_is_said_of_its_row(kind: Kind) -> None:
    wrong, reason = WRONG[kind]
    good = GOOD[kind][1].encode()
    inputs, reasons = columns(kind).convert(pa.table({"c": pa.array([good, wrong, b"", good])}))
    assert reasons == ({1: reason} if kind.nullable else {1: reason, 2: "c is missing"})
    assert inputs["c"].isna().tolist() == ([False, True, False] if kind.nullable else [False, False])


def test_empty_text_is_missing_in_a_csv_and_only_there() -> None:
    texts = ["", "NA", "a"]
    inputs, reasons = columns(Kind.STRING).convert(pa.table({"c": texts}))
    assert (inputs["c"].tolist(), reasons) == (texts, {})
    inputs, reasons = columns(Kind.STRING).convert(pa.table({"c": pa.array(texts).cast(pa.binary())}))
    assert inputs["c"].isna().tolist() == [True, False, False]
    assert (inputs["c"][1], reasons) == ("NA", {})


def test_a_csvs_na_is_refused_where_the_model_learned_from_gaps_and_texts() -> None:
    gaps = InputColumns((InputColumn("c", Kind.STRING, required=False),))
    inputs, reasons = gaps.convert(pa.table({"c": pa.array([b"NA", b"", b"a"])}))
    assert list(reasons) == [0]
    assert reasons[0].startswith("c is NA or another word for missing values")
    assert inputs["c"].isna().tolist() == [True, False]


@pytest.mark.parametrize(
    "moments",
    [
        pa.array([1740787200000]),
        pa.array([1740787200], pa.int32()),
        pa.array([20250301]),
        pa.array([45717.0]),
        pa.array([1740787200000000000], pa.uint64()),
    ],
    ids=["milliseconds", "seconds", "year, month and day", "spreadsheet days", "nanoseconds"],
)
def test_no_number_is_a_moment(moments: pa.Array) -> None:
    _, reasons = columns(Kind.DATETIME).convert(pa.table({"c": moments}))
    assert reasons == {0: "c is a number, and no number is a moment"}
    _, reasons = columns(Kind.DATETIME).convert(pa.table({"c": pa.array([str(moments[0]).encode()])}))
    assert reasons == {0: "c is not a moment in ISO 8601"}


@pytest.mark.parametrize(
    "array",
    [
        pa.array([datetime(2025, 3, 1, 12)], pa.timestamp("s")),
        pa.array([datetime(2025, 3, 1, 12)], pa.timestamp("ms", "Europe/Berlin")),
        pa.array(["2025-03-01T12:00Z"]),
        pa.array(["2025-03-01 14:00:00.000+02:00"]),
        pa.array([b" 2025-03-01T12:00:00 "]),
    ],
    ids=["seconds", "a zone", "text in UTC", "text with a zone", "padded text"],
)
def test_a_moment_is_brought_to_utc(array: pa.Array) -> None:
    inputs, reasons = columns(Kind.DATETIME).convert(pa.table({"c": array}))
    assert reasons == {}
    assert inputs["c"].tolist() == [pd.Timestamp("2025-03-01 12:00")]
    assert inputs["c"].dtype == Kind.DATETIME.dtype


def test_0_and_1_are_flags_and_no_other_number_is() -> None:
    narrow = pa.array([0, 1, 0.5], pa.float16())
    for ones in (pa.array([0, 1, 2]), pa.array([0.0, 1.0, 0.5]), narrow, pa.array([b"0", b"1.0", b"2"])):
        inputs, reasons = columns(Kind.BOOLEAN).convert(pa.table({"c": ones}))
        assert inputs["c"].tolist() == [False, True]
        assert reasons == {2: "c is neither true nor false"}


def test_a_flag_may_be_missing_where_the_signature_says_optional() -> None:
    optional = InputColumns((InputColumn("c", Kind.BOOLEAN, required=False),))
    for flags in (pa.array([True, None]), pa.array([1.0, float("nan")]), pa.array([b"true", b""])):
        inputs, reasons = optional.convert(pa.table({"c": flags}))
        assert (inputs["c"].tolist(), reasons) == ([True, None], {})


def test_a_column_that_holds_nothing_at_all_is_missing_where_the_model_requires_it() -> None:
    nothing = pa.table({"c": pa.nulls(1)})
    assert columns(Kind.STRING).convert(nothing)[1] == {0: "c is missing"}
    inputs, reasons = InputColumns((InputColumn("c", Kind.STRING, required=False),)).convert(nothing)
    assert (inputs["c"].isna().tolist(), reasons) == ([True], {})


def test_numbers_stay_what_they_are_or_are_refused() -> None:
    for kind, value in (
        (Kind.DOUBLE, 2**53 + 1),
        (Kind.FLOAT, 2**24 + 1),
        (Kind.FLOAT, 1e39),
        (Kind.LONG, 2.0**53 + 2),
    ):
        for array in (pa.array([value, 1]), pa.array([str(value).encode(), b"1"])):
            inputs, reasons = columns(kind).convert(pa.table({"c": array}))
            assert list(reasons) == [0]
            assert inputs["c"].tolist() == [1]
    for text in (b"0x10", b"1_000", b"1,000", b"1e400"):
        assert columns(Kind.DOUBLE).convert(pa.table({"c": pa.array([text])}))[1].keys() == {0}
        assert columns(Kind.LONG).convert(pa.table({"c": pa.array([text])}))[1].keys() == {0}
    digits = pa.table({"c": pa.array([b"9007199254740993"])})
    assert columns(Kind.LONG).convert(digits)[0]["c"].tolist() == [2**53 + 1]


def test_lists_and_objects_are_judged_row_by_row_beside_other_columns() -> None:
    both = InputColumns(
        (
            InputColumn("l", Kind.ARRAY, inside={"type": "array", "items": {"type": "double"}}),
            InputColumn("n", Kind.LONG),
        )
    )
    rows = pa.table({"n": [1, 2, 3, 4], "l": pa.array([[1, 2], None, [], [2**53 + 1]])})
    inputs, reasons = both.convert(rows)
    assert list(inputs) == ["l", "n"]
    assert inputs.to_numpy().tolist() == [[[1.0, 2.0], 1], [[], 3]]
    assert reasons[1] == "l is null, not a list"
    assert reasons[3].startswith("l is [0]: 9007199254740993 is too large for a double")
    _, reasons = both.convert(pa.table({"n": [1], "l": pa.array([b"[1, 2]"])}))
    assert reasons == {0: "l is text, and a csv holds no list or object"}
