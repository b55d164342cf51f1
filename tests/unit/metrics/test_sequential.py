"""Bounds that hold at every moment: against formulas, against enumeration, and their properties."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from podium.metrics.sequential import log_wealth, lower_bound, upper_bound

VALUES = st.lists(st.floats(-1, 1), min_size=1, max_size=60).map(np.asarray)
CHANCES = st.floats(0.001, 0.5)
# By hand: the largest bet is 0.9 of what a value at the top would take, each further one half of that before.
BETS = [(1 / 2, 0.9), (1 / 4, 0.45), (1 / 8, 0.225), (1 / 16, 0.1125), (1 / 32, 0.05625)]
BETS += [(1 / 64, 0.028125), (1 / 128, 0.0140625), (1 / 128, 0.00703125)]


@given(VALUES, st.floats(-0.9, 0.9))
def test_the_wealth_is_that_of_a_gambler_who_plays_all_bets(values: np.ndarray, mean: float) -> None:
    found = log_wealth(values, mean, 1.0)
    purses = [share for share, _ in BETS]
    for value, log in zip(values, found, strict=True):
        purses = [
            purse * (1 + bet * (mean - value) / (1 - mean))
            for purse, (_, bet) in zip(purses, BETS, strict=True)
        ]
        assert log == pytest.approx(math.log(sum(purses)), abs=1e-9)


@given(st.floats(-1, 0.9), st.floats(0.05, 0.95), st.integers(1, 8))
def test_nobody_makes_money_on_average_where_the_mean_is_as_doubted(
    low: float, chance: float, values: int
) -> None:
    mean = chance * 1.0 + (1 - chance) * low
    expected = 0.0
    for drawn in itertools.product((True, False), repeat=values):
        stream = np.where(drawn, 1.0, low)
        likely = chance ** sum(drawn) * (1 - chance) ** (values - sum(drawn))
        expected += likely * math.exp(log_wealth(stream, mean, 1.0)[-1])
    assert expected == pytest.approx(1.0, rel=1e-6)


def test_by_enumeration_the_wealth_is_ever_so_great_no_more_often_than_it_may() -> None:
    # One value in ten is the highest; each stream of twelve with its chance.
    streams = np.asarray(list(itertools.product((0.0, 1.0), repeat=12)))
    chances = 0.1 ** streams.sum(axis=1) * 0.9 ** (12 - streams.sum(axis=1))
    best = np.asarray([log_wealth(stream, 0.1, 1.0).max() for stream in streams])
    for alpha in (0.8, 0.6, 0.5):
        assert 0 < chances[best >= -math.log(alpha)].sum() <= alpha


@given(VALUES, CHANCES)
def test_a_bound_is_the_mean_at_which_the_wealth_is_so_great(values: np.ndarray, alpha: float) -> None:
    found = upper_bound(values, 1.0, alpha)
    assert np.mean(values) <= found <= 1.0
    assume(found < 1 - 1e-6)
    assert log_wealth(values, found, 1.0)[-1] == pytest.approx(-math.log(alpha), abs=1e-6)


@given(VALUES, CHANCES, CHANCES)
def test_who_must_be_surer_gets_wider_bounds(values: np.ndarray, one: float, other: float) -> None:
    small, great = sorted((one, other))
    assert upper_bound(values, 1.0, small) >= upper_bound(values, 1.0, great) - 1e-9
    assert lower_bound(values, -1.0, small) <= lower_bound(values, -1.0, great) + 1e-9


@given(VALUES, CHANCES, st.randoms(use_true_random=False))
def test_the_order_of_the_values_says_nothing(
    values: np.ndarray, alpha: float, random: np.random.Generator
) -> None:
    other = values.copy()
    random.shuffle(other)
    assert upper_bound(other, 1.0, alpha) == pytest.approx(upper_bound(values, 1.0, alpha), abs=1e-9)


@given(VALUES, CHANCES, st.floats(0.1, 100), st.floats(-10, 10))
def test_other_units_give_the_same_bound_in_those_units(
    values: np.ndarray, alpha: float, scale: float, shift: float
) -> None:
    found = upper_bound(scale * values + shift, scale + shift, alpha)
    assert found == pytest.approx(scale * upper_bound(values, 1.0, alpha) + shift, abs=1e-6 * scale)


@given(VALUES, CHANCES)
def test_from_below_it_is_the_same_in_a_mirror(values: np.ndarray, alpha: float) -> None:
    assert lower_bound(values, -1.0, alpha) == -upper_bound(-values, 1.0, alpha)


def test_where_nothing_bad_was_seen_yet_the_bound_is_about_a_rule_of_three() -> None:
    for values in (100, 1000, 10_000):
        # log(1 / 0.05), and log(2) for half the capital, on bets of 0.9.
        assert upper_bound(np.zeros(values), 1.0, 0.05) == pytest.approx(3.69 / 0.9 / values, rel=0.05)


def test_values_that_are_all_the_highest_leave_no_room() -> None:
    assert upper_bound(np.ones(50), 1.0, 0.05) == 1.0
    assert upper_bound(np.zeros(50), 0.0, 0.05) == 0.0
    assert upper_bound(np.array([0.3]), 1.0, 0.05) == pytest.approx(1.0, abs=0.05)


def test_bounds_are_twice_as_wide_as_those_of_the_normal_distribution_for_one_look() -> None:
    values = np.random.default_rng(1).uniform(-1, 1, 10_000)
    half = 1.96 * values.std() / 100
    assert upper_bound(values, 1.0, 0.025) - values.mean() == pytest.approx(1.9 * half, rel=0.05)


def test_all_bounds_of_a_stream_hold_together_in_as_many_streams_as_they_should() -> None:
    draws = np.random.default_rng(3)
    missed = 0
    for _ in range(500):
        values = (draws.uniform(size=400) < 0.1).astype(float)
        too_low = log_wealth(values, 0.1, 1.0).max() >= math.log(20)
        too_high = log_wealth(-values, -0.1, 0.0).max() >= math.log(20)
        missed += too_low or too_high
    assert 0 < missed <= 0.1 * 500
