"""The version of data: equal values have one, in any order and of any type; any other value has another."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from podium.training.data_version import content_digest


def version(values: Any) -> str:
    return content_digest({"": pd.DataFrame({"x": values})})


NUMBERS = pd.Series([1, 2, 3])
TEXTS = pd.Series(["a", "b", None])
MOMENTS = pd.Series(pd.to_datetime(["2025-01-01 10:00", "2025-06-01 00:00", None]))


@pytest.mark.parametrize(
    ("one", "same"),
    [
        (NUMBERS, NUMBERS.astype("float64")),
        (NUMBERS, NUMBERS.astype("int8")),
        (NUMBERS, NUMBERS.astype("uint64")),
        (NUMBERS, NUMBERS.astype("Int32")),
        (NUMBERS, NUMBERS.astype("float32")),
        (NUMBERS, NUMBERS.astype("category")),
        (NUMBERS, NUMBERS.astype(pd.ArrowDtype(pa.int16()))),
        (NUMBERS, pd.Series([Decimal("1.0"), Decimal("2.00"), Decimal(3)])),
        (NUMBERS, pd.Series([1, 2.0, Decimal(3)], dtype=object)),
        (pd.Series([1.0, np.nan]), pd.Series([1, None], dtype="Int64")),
        (pd.Series([0.0, 1.5]), pd.Series([-0.0, Decimal("1.5")], dtype=object)),
        (TEXTS, TEXTS.astype("category")),
        (TEXTS, TEXTS.astype("str")),
        (TEXTS, TEXTS.astype(object)),
        (TEXTS, TEXTS.astype(pd.ArrowDtype(pa.large_string()))),
        (MOMENTS, MOMENTS.astype("datetime64[s]")),
        (MOMENTS, MOMENTS.dt.tz_localize("UTC").dt.tz_convert("Europe/Berlin")),
        (pd.Series([True, False]), pd.Series([True, False], dtype="boolean")),
        (pd.Series([True, None]), pd.Series([True, None], dtype="boolean")),
        (pd.Series([[1, 2.0], None]), pd.Series([np.array([1, 2]), None])),
        (pd.Series([{"b": 1, "a": None}]), pd.Series([{"a": np.nan, "b": 1.0}])),
        (pd.Series([None, None]), pd.Series([np.nan, np.nan])),
        (pd.Series([None, None]), pd.Series([pd.NaT, pd.NaT])),
    ],
    ids=str,
)
def test_equal_values_of_other_types_are_the_same_version(one: pd.Series, same: pd.Series) -> None:
    assert version(one) == version(same)


DIFFERENT: list[Any] = [
    [1, 2],
    [1, 3],
    [2, 2],
    [1, 2, 2],
    [1.5, 2],
    [True, False],
    ["1", "2"],
    ["1", ""],
    ["1", None],
    [1, None],
    [2**53, 2],
    [2**53 + 1, 2],
    [2**63, 2],
    [-1, 2],
    [np.inf, 2],
    [-np.inf, 2],
    [np.nextafter(1.5, 2), 2],
    [datetime(2025, 1, 1), None],
    [datetime(2025, 1, 1, microsecond=1), None],
    [[1, 2], None],
    [[2, 1], None],
    [["1", "2"], None],
    [{"a": 1}, None],
    [b"1", None],
    [datetime(2025, 1, 1, tzinfo=UTC).date(), None],
]


def test_other_values_are_other_versions() -> None:
    assert len({version(values) for values in DIFFERENT}) == len(DIFFERENT)


ROWS = st.lists(
    st.tuples(st.integers(-3, 3) | st.none(), st.text("ab", max_size=1), st.floats(-1, 1)),
    min_size=2,
    max_size=8,
)


@given(rows=ROWS, order=st.randoms())
def test_order_of_rows_and_columns_does_not_count(rows: list[tuple[Any, ...]], order: Any) -> None:
    table = pd.DataFrame(rows, columns=["n", "t", "x"])
    shuffled = rows[:]
    order.shuffle(shuffled)
    other = pd.DataFrame(shuffled, columns=["n", "t", "x"])[["x", "n", "t"]]
    assert content_digest({"": table}) == content_digest({"": other})


@given(rows=ROWS)
def test_values_that_change_rows_or_columns_are_another_version(rows: list[tuple[Any, ...]]) -> None:
    table = pd.DataFrame(rows, columns=["n", "t", "x"])
    moved = table.assign(x=np.roll(table["x"], 1))
    before, after = (
        Counter((str(n), t, x + 0.0) for n, t, x in one.itertuples(index=False)) for one in (table, moved)
    )
    assert (content_digest({"": table}) == content_digest({"": moved})) == (before == after)


def test_columns_that_change_names_are_another_version() -> None:
    table = pd.DataFrame({"x": [1, 2], "y": [3, 4]})
    renamed = table.rename(columns={"x": "y", "y": "x"})
    assert content_digest({"": table}) != content_digest({"": renamed})


def test_tables_are_told_apart() -> None:
    one, other = pd.DataFrame({"x": [1]}), pd.DataFrame({"x": [2]})
    assert content_digest({"a": one, "b": other}) == content_digest({"b": other, "a": one})
    assert content_digest({"a": one, "b": other}) != content_digest({"a": other, "b": one})
