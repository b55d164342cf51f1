"""What a trainer gets of each kind of column, and what is said of it."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from podium.errors import DataError
from podium.training.input_types import as_clients_send, for_the_trainer

DAY = pd.Timestamp("2025-01-02")


def given(column: Any) -> tuple[pd.Series, list[str]]:
    inputs, said = for_the_trainer(pd.DataFrame({"x": column}), "rows.parquet")
    return inputs["x"], said


@pytest.mark.parametrize(
    ("column", "kind", "values", "said"),
    [
        ([date(2025, 1, 2), None], "datetime64[ns]", [DAY, None], "days, taken as moments at midnight"),
        ([datetime(2025, 1, 2, tzinfo=UTC), None], "datetime64[ns]", [DAY, None], ""),
        ([True, None], "object", [True, None], "true and false with gaps; clients send null for them"),
        ([False, np.nan], "object", [False, None], "true and false with gaps"),
        (pd.array([True, None], "boolean"), "object", [True, None], "true and false with gaps"),
        ([Decimal("1.5"), None], "float64", [1.5, None], "decimals, taken as numbers"),
        ([None, None], "float64", [None, None], "no value at all"),
        (pd.Categorical([True, None]), "object", [True, None], "true and false with gaps"),
        (pd.Categorical([1, None]), "category", [1, None], "categories; clients send what they hold"),
        (
            pd.Series(pd.to_datetime(["2025-01-02T01:00+01:00", None])),
            "datetime64[ns]",
            [DAY, None],
            "moments, taken in UTC",
        ),
        (pd.Series([DAY, None]).astype("datetime64[us]"), "datetime64[ns]", [DAY, None], ""),
        (np.array([True, False], object), "bool", [True, False], ""),
        (pd.array([1, None], "Int64"), "float64", [1.0, None], ""),
        (pd.array([1, 2], "Int64"), "int64", [1, 2], ""),
        (np.array([1, 2], "uint8"), "int32", [1, 2], ""),
        (np.array([1, 2], "uint64"), "int64", [1, 2], ""),
        (np.array([1, 2.5], object), "float64", [1.0, 2.5], ""),
        (pd.array(["a", None], "string"), "str", ["a", None], ""),
        (
            pd.array([date(2025, 1, 2), None], pd.ArrowDtype(pa.date32())),
            "datetime64[ns]",
            [DAY, None],
            "days",
        ),
        ([[1], [2, 3]], "object", [[1], [2, 3]], ""),
    ],
)
def test_each_kind_of_column_is_what_a_clients_row_becomes(
    column: Any, kind: str, values: list[Any], said: str
) -> None:
    got, told = given(column)
    assert str(got.dtype) == kind
    assert [None if value is None or value is pd.NaT or value != value else value for value in got] == values
    assert bool(told) >= bool(said)
    assert said in "".join(told)
    if said:
        assert told[0].startswith("input x: ")


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ([time(1), None], "times of day, which no client can send"),
        ([timedelta(1), None], "durations, which no client can send"),
        (["a", 1.5], "float beside str, which no client can send; make it text or numbers in data.examples"),
        (["a", True], "bool beside str, which no client can send"),
        ([UUID(int=1)], "UUID, which no client can send"),
        ([date(9999, 12, 31)], "Out of bounds .*9999-12-31.*the years 1678 to 2261. Make it missing in"),
        (np.array([2**63], "uint64"), "9223372036854775808 is larger than a whole number of 64 bits"),
    ],
)
def test_what_no_client_can_send_is_refused_and_its_column_named(column: Any, message: str) -> None:
    with pytest.raises(DataError, match=f"rows.parquet: input x: {message}"):
        given(column)


def test_of_a_category_clients_send_what_it_holds() -> None:
    inputs = pd.DataFrame(
        {
            "text": pd.Categorical(["a", None]),
            "number": pd.Categorical([1, None]),
            "day": pd.Categorical([DAY, None]),
            "self": [1, 2],
        }
    )
    sent = as_clients_send(inputs)
    assert {name: str(kind) for name, kind in sent.dtypes.items()} == {
        "text": "str",
        "number": "float64",
        "day": "datetime64[ns]",
        "self": "int64",
    }
    assert sent["text"].tolist()[0] == "a"
    assert sent.isna().sum().tolist() == [1, 1, 1, 0]
