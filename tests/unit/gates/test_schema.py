from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from podium.gates.schema import SchemaFindings
from podium.model_file.gates import SchemaGate

ROWS = pd.DataFrame(
    {
        "text": ["abc", "abc\n", None],
        "number": [1.5, np.nan, -2.0],
        "integer": [1, 2, 2],
        "whole": [1.0, np.nan, 3.0],
        "boolean": [True, False, True],
        "day": pd.to_datetime(["2025-01-01", "2025-01-02", "2025-01-02"]),
        "nothing": [None, None, None],
    }
)


def problems(rules: dict[str, Any], *batches: pd.DataFrame) -> list[str]:
    findings = SchemaFindings(SchemaGate.model_validate({"schema": rules}))
    for batch in batches:
        findings.add(batch)
    return findings.problems()


@pytest.mark.parametrize(
    ("column", "rule", "expected"),
    [
        ("number", {"type": "number", "max_null_share": 0.5}, []),
        ("integer", {"type": "number"}, []),
        ("text", {"type": "number", "max_null_share": 0.5}, ["text is not of type number"]),
        ("boolean", {"type": "number"}, ["boolean is not of type number"]),
        ("integer", {"type": "integer"}, []),
        ("whole", {"type": "integer", "max_null_share": 0.5}, []),
        ("number", {"type": "integer", "max_null_share": 0.5}, ["number is not of type integer"]),
        ("text", {"type": "text", "max_null_share": 0.5}, []),
        ("integer", {"type": "text"}, ["integer is not of type text"]),
        ("boolean", {"type": "boolean"}, []),
        ("integer", {"type": "boolean"}, ["integer is not of type boolean"]),
        ("day", {"type": "datetime"}, []),
        ("integer", {"type": "datetime"}, ["integer is not of type datetime"]),
        ("nothing", {"type": "number", "max_null_share": 1}, []),
        ("integer", {"min": 1, "max": 2}, []),
        ("integer", {"min": 2}, ["integer is not at least 2 in 1 of 3 rows"]),
        ("integer", {"max": 1}, ["integer is not at most 1 in 2 of 3 rows"]),
        ("day", {"min": 1}, ["day is not at least 1 in 3 of 3 rows"]),
        ("text", {"max": 1, "max_null_share": 0.5}, ["text is not at most 1 in 2 of 3 rows"]),
        ("integer", {"allowed": [1, 2]}, []),
        ("integer", {"allowed": [1]}, ["integer is not one of 1 in 2 of 3 rows"]),
        ("integer", {"allowed": ["1", "2"]}, ["integer is not one of 1, 2 in 3 of 3 rows"]),
        ("text", {"pattern": "(?s)[abc]+.?", "max_null_share": 0.5}, []),
        ("text", {"pattern": "abc", "max_null_share": 0.5}, ["text is not like abc in 1 of 3 rows"]),
        ("text", {"pattern": "b|abc\n", "max_null_share": 0.5}, ["text is not like b|abc\n in 1 of 3 rows"]),
        ("integer", {"pattern": "."}, ["integer is not like . in 3 of 3 rows"]),
        ("integer", {}, []),
        ("text", {}, ["text is empty in 1 of 3 rows"]),
        ("nothing", {"max_null_share": 0.99}, ["nothing is empty in 3 of 3 rows"]),
        ("integer", {"unique": True}, ["integer repeats a value in 1 rows"]),
        ("day", {"unique": True}, ["day repeats a value in 1 rows"]),
        ("text", {"unique": True, "max_null_share": 0.5}, []),
        ("elsewhere", {}, ["there is no column elsewhere"]),
    ],
)
def test_each_rule(column: str, rule: dict[str, Any], expected: list[str]) -> None:
    assert problems({column: rule}, ROWS) == expected


def test_all_that_is_wrong_is_said_at_once() -> None:
    said = problems(
        {"elsewhere": {}, "integer": {"min": 2, "unique": True}, "text": {"type": "number"}}, ROWS
    )
    assert said == [
        "there is no column elsewhere",
        "text is empty in 1 of 3 rows",
        "integer is not at least 2 in 1 of 3 rows",
        "text is not of type number",
        "integer repeats a value in 1 rows",
    ]


def test_no_rows_hold_nothing() -> None:
    assert "there are no rows" in problems({"integer": {}}, ROWS.head(0))
    assert "there are no rows" in problems({"integer": {}})


def test_a_column_that_one_batch_lacks_is_missing() -> None:
    assert problems({"integer": {}}, ROWS, ROWS.drop(columns="integer")) == ["there is no column integer"]


RULES = {
    "n": {
        "type": "integer",
        "min": 0,
        "max": 5,
        "allowed": [0, 1, 2, 9],
        "unique": True,
        "max_null_share": 0.2,
    },
    "t": {"type": "text", "pattern": "[ab]*", "unique": True, "max_null_share": 0.2},
    "m": {"pattern": "1"},
}
cells = st.tuples(
    st.none() | st.sampled_from([0.0, 1.0, 2.5, 9.0, -1.0]),
    st.none() | st.text("abc", max_size=2),
    st.integers(0, 3),
)


@given(rows=st.lists(cells, min_size=1, max_size=15), cuts=st.sets(st.integers(0, 15)))
@settings(max_examples=15)
def test_batches_are_found_to_hold_what_the_whole_holds(rows: list[Any], cuts: set[int]) -> None:
    whole = pd.DataFrame(rows, columns=["n", "t", "m"]).astype({"n": float, "t": "str"})
    ends = [0, *sorted(cuts), len(whole)]
    batches = [whole.iloc[start:end] for start, end in pairwise(ends) if start < end]
    assert sorted(problems(RULES, *batches)) == sorted(problems(RULES, whole))
