"""Evidence that a new version is worse: of any order, of any number of looks, as the simulations had it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from podium.metrics.paired import (
    ALPHA,
    FEWEST_LABELLED,
    LOG_THRESHOLD,
    QUESTIONS,
    Sums,
    log_wealth_of_mean,
    log_wealth_of_share,
    lower_bound_of_mean,
)

COUNTS = st.integers(0, 3000)
SHARES = st.sampled_from([0.1, 0.5])


def sums_of(values: np.ndarray) -> Sums:
    return Sums(len(values), float(values.sum()), float((values**2).sum()))


@given(COUNTS, COUNTS)
def test_the_sign_test_is_that_of_the_simulations(wins: int, losses: int) -> None:
    """The mixture over a grid of shares, added up as it stands there, where no float is too big."""
    wins, losses = wins % 300, losses % 300
    grid = np.linspace(0.5, 1, 60)[1:-1]
    plain = np.mean([np.exp(wins * np.log(2 * p) + losses * np.log(2 * (1 - p))) for p in grid])
    assert log_wealth_of_share(wins, losses) == pytest.approx(math.log(plain), abs=1e-9)


@given(COUNTS, COUNTS, SHARES)
def test_on_average_no_bet_makes_money_as_long_as_hits_are_no_more_than_tolerated(
    hits: int, misses: int, share: float
) -> None:
    now = log_wealth_of_share(hits, misses, share)
    hit, miss = log_wealth_of_share(hits + 1, misses, share), log_wealth_of_share(hits, misses + 1, share)
    assert share * math.exp(hit - now) + (1 - share) * math.exp(miss - now) == pytest.approx(1)
    assert miss < now < hit


@given(st.lists(st.floats(-3, 3, width=32), min_size=30, max_size=80), st.randoms())
def test_the_bound_depends_on_what_values_there_are_not_on_their_order_or_on_looks(
    values: list[float], chance: object
) -> None:
    forth = sums_of(np.asarray(values))
    chance.shuffle(values)  # type: ignore[attr-defined]
    back = sums_of(np.asarray(values))
    for _ in range(3):
        assert lower_bound_of_mean(forth) == pytest.approx(lower_bound_of_mean(back), abs=1e-9)
    assert lower_bound_of_mean(forth) <= forth.total / forth.rows


@pytest.mark.parametrize("rows", [30, 200, 6000])
def test_the_bound_is_that_of_the_simulations(rows: int) -> None:
    d = np.random.default_rng(4).standard_t(5, rows) * 0.2 + 0.05
    t, m, a = rows, d.mean(), 0.01
    v = (d * d).mean() - m * m
    rho2 = (-2 * np.log(2 * a) + np.log(-2 * np.log(2 * a) + 1)) / 200
    low = m - np.sqrt(v) * np.sqrt(
        2 * (t * rho2 + 1) / (t**2 * rho2) * np.log(1 + np.sqrt(t * rho2 + 1) / (2 * a))
    )
    assert lower_bound_of_mean(sums_of(d), alpha=0.01) == pytest.approx(low, rel=1e-9)


@given(
    st.integers(FEWEST_LABELLED, 5000),
    st.floats(-1, 1),
    st.floats(0.01, 1),
    st.sampled_from([0.0, 0.01, 0.2]),
)
def test_the_wealth_is_at_its_threshold_where_the_bound_is_at_the_margin(
    rows: int, mean: float, spread: float, margin: float
) -> None:
    sums = Sums(rows, mean * rows, (spread**2 + mean**2) * rows)
    low, wealth = lower_bound_of_mean(sums), log_wealth_of_mean(sums, margin)
    if abs(low - margin) > 1e-6:
        assert (low > margin) is (wealth > LOG_THRESHOLD)


def test_few_rows_say_nothing_and_a_difference_that_is_always_the_same_says_all() -> None:
    few = Sums(FEWEST_LABELLED - 1, 29.0, 29.0)
    assert lower_bound_of_mean(few) == -math.inf
    assert log_wealth_of_mean(few, 0.0) == 0.0
    assert log_wealth_of_mean(Sums(64, 64.0, 64.0), 0.5) > 10 * LOG_THRESHOLD
    assert math.isfinite(log_wealth_of_mean(Sums(64, 64.0, 64.0), 0.5))
    assert log_wealth_of_mean(Sums(64, 0.0, 0.0), 0.0) == 0.0


def test_each_of_three_questions_has_a_third_of_one_percent() -> None:
    assert (ALPHA, QUESTIONS) == (0.01, 3)
    assert math.exp(LOG_THRESHOLD) == pytest.approx(300)
