"""Detectors of a change: against formulas, and what they promise."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad

from podium.metrics.detectors import (
    alarmed,
    coins,
    dependence,
    grown,
    log_bets,
    log_bets_on_mean,
    mean_wealth,
    rank_p,
    started,
)


def bet(p: float) -> float:
    return float(np.exp(log_bets(np.asarray([p])))[0])


@given(st.floats(1e-6, 0.9999))
def test_a_bet_is_the_mixture_of_all_strengths(p: float) -> None:
    mixture, _ = quad(lambda strength: strength * p ** (strength - 1), 0, 1)
    assert bet(p) == pytest.approx(mixture, rel=1e-3)


def test_a_bet_makes_no_money_on_average() -> None:
    mean, _ = quad(lambda log: bet(math.exp(log)) * math.exp(log), math.log(1e-11), 0, limit=500)
    assert 0.9 < mean < 1
    assert all(0.49 < bet(1 - distance) < 0.51 for distance in np.logspace(-15, -4, 300))
    assert bet(1.0) < 0.51


def test_bets_on_a_mean_make_no_money_where_it_is_just_tolerated() -> None:
    for place in range(len(started())):
        mean, _ = quad(
            lambda z, place=place: math.exp(log_bets_on_mean(z)[place] - z**2 / 2) / math.sqrt(2 * math.pi),
            -12,
            12,
        )
        assert mean == pytest.approx(1, rel=1e-6)


def test_a_p_value_is_the_rank_among_the_windows_before() -> None:
    earlier = np.asarray([[1.0, 5.0, 2.0], [2.0, np.nan, 2.0], [3.0, 1.0, 2.0]])
    found = rank_p(earlier, np.asarray([2.0, 7.0, 2.0]), np.full(3, 0.5))
    # One above, one equal of three; none above of two; nothing to rank.
    assert found[:2] == pytest.approx([(1 + 0.5 * 2) / 4, 0.5 / 3])
    assert np.isnan(found[2])
    assert np.isnan(rank_p(earlier, np.full(3, np.nan), np.full(3, 0.5))).all()
    assert np.isnan(rank_p(earlier[:0], np.full(3, 1.0), np.full(3, 0.5))).all()


def test_a_stream_without_a_p_value_neither_wins_nor_loses() -> None:
    assert log_bets(np.asarray([np.nan])).tolist() == [0.0]


def test_wealth_grows_as_shiryaev_and_roberts_say_beyond_all_floats() -> None:
    wealth, by_hand = started(1), 0.0
    for e in (2.0, 0.5, 3.0):
        wealth, by_hand = grown(wealth, np.log([e])), (by_hand + 1) * e
    assert math.exp(wealth[0]) == pytest.approx(by_hand)
    far = grown(wealth, np.asarray([5000.0]))
    assert math.isfinite(far[0])
    assert mean_wealth(np.log(np.asarray([1.0, 3.0]))) == pytest.approx(math.log(2))


def test_a_detector_with_half_the_share_needs_twice_the_wealth() -> None:
    wealth = np.log(np.asarray([1999.0, 2000.0, 1000.0]))
    assert alarmed(wealth, np.asarray([0.5, 0.5, 0.0]), 1000).tolist() == [False, True, False]


def test_until_nothing_changed_the_first_alarm_comes_after_the_run_length_on_average() -> None:
    draws = np.random.default_rng(5)
    ends = []
    for _ in range(100):
        wealth, windows = started(4), 0
        while not alarmed(wealth, np.full(4, 0.25), 40).any():
            wealth, windows = grown(wealth, log_bets(draws.uniform(size=4))), windows + 1
        ends.append(windows)
    assert np.mean(ends) - 2 * np.std(ends) / 10 >= 40


def test_coins_are_the_same_each_time_and_others_for_another_window() -> None:
    assert coins("m/1", "2026", size=3).tolist() == coins("m/1", "2026", size=3).tolist()
    assert coins("m/1", "2026", size=3).tolist() != coins("m/1", "2027", size=3).tolist()
    many = np.concatenate([coins("m/1", str(place), size=5) for place in range(400)])
    assert 0.47 < many.mean() < 0.53
    assert coins("a", "b", size=1).tolist() != coins("ab", "", size=1).tolist()


@pytest.mark.parametrize("memory", [0.0, 0.5, 0.9])
def test_dependence_is_found_without_the_bias_of_few_windows(memory: float) -> None:
    draws = np.random.default_rng(1)
    series = np.zeros((150, 2000))
    for place in range(1, 150):
        series[place] = memory * series[place - 1] + draws.normal(size=2000)
    assert dependence(series[100:]).mean() == pytest.approx(memory, abs=0.04)


def test_what_never_changes_does_not_depend() -> None:
    assert dependence(np.ones((5, 1))).tolist() == [0.0]
