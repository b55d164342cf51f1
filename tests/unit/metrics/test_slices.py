from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from podium.errors import NoSlices
from podium.metrics.slices import cut
from podium.model_file.metric_gate import Slices


def cut_by(cells: Any, **said: Any) -> dict[str, list[int]]:
    """Return the rows of each slice of a column ``c``."""
    found = cut(Slices(column="c", **said), pd.DataFrame({"c": cells}))
    assert len({part.name for part in found}) == len(found)
    return {part.name: np.flatnonzero(part.rows).tolist() for part in found}


def test_each_value_is_a_slice_and_empty_cells_are_one_of_their_own() -> None:
    assert cut_by(["b", "a", None, "b"]) == {"c = a": [1], "c = b": [0, 3], "c is empty": [2]}
    assert cut_by([True, False]) == {"c = False": [1], "c = True": [0]}


def test_listed_values_are_slices_also_where_they_are_not() -> None:
    assert cut_by(["b", "a", None, "c"], values=["c", "z"]) == {"c = c": [3], "c = z": []}
    # The text of an empty cell is no value.
    assert cut_by(["nan", None], values=["nan", "None"]) == {"c = nan": [0], "c = None": []}


def test_bins_by_edges_hold_their_lower_edge() -> None:
    assert cut_by([0, 1, 2, 5, 9], bins=[1, 5]) == {"c < 1": [0], "1 <= c < 5": [1, 2], "c >= 5": [3, 4]}
    # Asked for, so that it is seen to be empty.
    assert cut_by([1, 2], bins=[5]) == {"c < 5": [0, 1], "c >= 5": []}


def test_so_many_bins_hold_about_as_many_rows_each() -> None:
    sizes = [len(rows) for rows in cut_by(np.random.default_rng(0).normal(size=1000), bins=4).values()]
    assert sizes == [250, 250, 250, 250]


def test_bins_of_a_value_that_most_rows_have_are_fewer_and_never_empty() -> None:
    assert cut_by([0, 0, 0, 0, 3], bins=4) == {"c >= 0": [0, 1, 2, 3, 4]}
    assert cut_by([0, 0, 7], bins=3) == {"0 <= c < 2.33333": [0, 1], "c >= 2.33333": [2]}
    assert cut_by([1, np.inf, np.inf], bins=2) == {"c >= 1": [0, 1, 2]}
    assert cut_by([None, None], bins=3) == {"c is empty": [0, 1]}


def test_rows_that_cannot_be_cut_say_why() -> None:
    with pytest.raises(NoSlices, match="the examples have no column 'c'"):
        cut(Slices(column="c"), pd.DataFrame({"d": [1]}))
    with pytest.raises(NoSlices, match="column 'c' holds values that are not numbers"):
        cut_by(["1", "two"], bins=2)
    with pytest.raises(NoSlices, match="column 'c' has 101 values; list some of them, or give bins"):
        cut_by(list(range(101)))
    assert len(cut_by(list(range(101)), bins=10)) == 10


any_number = st.none() | st.floats() | st.sampled_from([0.0, 1.0, -0.0])
any_text = st.none() | st.text(max_size=2)
edges = st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=4, unique=True).map(
    sorted
)


@given(values=st.lists(any_number, max_size=20), bins=st.none() | st.integers(2, 6) | edges)
def test_every_row_of_numbers_is_in_exactly_one_slice(values: list[Any], bins: Any) -> None:
    given_bins = {} if bins is None else {"bins": bins}
    found = cut(Slices(column="c", **given_bins), pd.DataFrame({"c": pd.array(values, dtype=float)}))
    assert (np.sum([part.rows for part in found] or [[]], axis=0) == 1).all()


@given(values=st.lists(any_text, max_size=20))
@example(values=["a", "a\x00", None])
def test_every_row_of_texts_is_in_exactly_one_slice(values: list[Any]) -> None:
    found = cut(Slices(column="c"), pd.DataFrame({"c": pd.Series(values, dtype=object)}))
    assert (np.sum([part.rows for part in found] or [[]], axis=0) == 1).all()


@pytest.mark.parametrize("dtype", ["Int64", "float64", "object"])
def test_the_kind_of_numbers_does_not_matter_to_bins(dtype: str) -> None:
    assert cut_by(pd.Series([1, None, 3], dtype=dtype), bins=[2]) == {
        "c < 2": [0],
        "c >= 2": [2],
        "c is empty": [1],
    }
