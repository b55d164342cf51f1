"""A column on bins: what is counted, what adds up, and how far two are apart."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import wasserstein_distance

from podium.metrics.bins import Bins, count, distance, make_bins, other_rows, share_missing, shift

COLUMNS = st.lists(st.none() | st.floats(-5, 5), min_size=1, max_size=60).map(
    lambda values: pd.Series(values, dtype=float)
)


@given(COLUMNS, COLUMNS, COLUMNS)
def test_the_counts_of_two_parts_add_up_and_no_row_is_lost(
    reference: pd.Series, one: pd.Series, other: pd.Series
) -> None:
    bins = make_bins(reference)
    whole = pd.concat([one, other], ignore_index=True)
    assert (count(bins, one) + count(bins, other)).tolist() == count(bins, whole).tolist()
    assert count(bins, whole).sum() == len(whole)
    assert count(bins, whole)[-1] == whole.isna().sum()


def test_on_bins_the_distance_is_that_of_the_rows() -> None:
    draws = np.random.default_rng(0)
    reference, window = pd.Series(draws.normal(size=5000)), pd.Series(draws.normal(0.5, 1.5, size=500))
    bins = make_bins(reference)
    found = distance(bins, count(bins, reference), count(bins, window))
    inside = np.clip(window, reference.min(), reference.max())
    assert found == pytest.approx(wasserstein_distance(reference, inside) / reference.std(ddof=0), rel=0.03)
    mean = (inside.mean() - reference.mean()) / reference.std(ddof=0)
    assert shift(bins, count(bins, reference), count(bins, window)) == pytest.approx(mean, abs=0.05)


def test_of_few_values_the_distance_is_exact() -> None:
    reference, window = pd.Series([0, 0, 0, 1]), pd.Series([True, True, False, True])
    bins = make_bins(reference)
    found = distance(bins, count(bins, reference), count(bins, window))
    assert found == pytest.approx(0.5 / np.std([0, 0, 0, 1]))


@pytest.mark.parametrize("other", [1.0, 3.0])
def test_a_value_that_never_changed_is_far_from_any_other_on_either_side(other: float) -> None:
    reference = pd.Series([2.0, 2.0, np.nan])
    bins = make_bins(reference)
    counted = count(bins, reference)
    assert distance(bins, counted, counted) == 0
    assert distance(bins, counted, count(bins, pd.Series([other, other]))) == 1


def test_categories_are_counted_and_new_ones_together() -> None:
    reference = pd.Series(["a", "a", "b", None] * 5)
    bins = make_bins(reference)
    window = count(bins, pd.Series(["a", "c", "d", None]))
    assert other_rows(bins, window) == 2
    assert share_missing(window) == 0.25
    assert distance(bins, count(bins, reference), window) == pytest.approx(2 / 3)


def test_moments_are_numbers_whatever_their_unit() -> None:
    days = pd.Series(pd.date_range("2026-01-01", periods=10, tz="Europe/Berlin"))
    bins = make_bins(days)
    for unit in ("s", "ms", "ns"):
        assert count(bins, days.dt.as_unit(unit)).tolist() == count(bins, days).tolist()
    assert not make_bins(days.astype(str)).numeric


def test_where_there_is_no_value_there_is_no_distance() -> None:
    reference = pd.Series([1.0, 2.0])
    bins = make_bins(reference)
    nothing = count(bins, pd.Series([np.nan, np.nan]))
    assert np.isnan(distance(bins, count(bins, reference), nothing))
    assert np.isnan(distance(Bins(), count(Bins(), pd.Series([np.nan])), count(Bins(), reference)))


def test_no_text_that_few_rows_have_is_kept() -> None:
    names = pd.Series([f"somebody {place}" for place in range(100)] + ["often"] * 5 + ["four times"] * 4)
    assert make_bins(names).categories == ("often",)
    only_rare = make_bins(names[:100])
    assert only_rare.categories == ("",)
    assert not only_rare.numeric
    assert count(only_rare, pd.Series(["anybody", None, "somebody 1"])).tolist() == [0, 2, 1]
    assert make_bins(pd.Series([None, None], dtype=object)).categories == ()
