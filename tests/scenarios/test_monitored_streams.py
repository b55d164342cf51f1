"""Monitoring on streams of windows: how rarely it is wrong, and how soon it is right."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from podium.monitoring.verdicts import Said
from support.monitored_streams import Stream, few_labels, football, watch, watch_answers, watch_bikes

SEEDS = 3


@pytest.mark.parametrize(
    "stream",
    [Stream(past=12), Stream(wobble=0.1), Stream(wobble=0.05, weekend=0.3), Stream(wobble=0.1, memory=0.5)],
    ids=["twelve past windows", "wobble", "season", "some memory"],
)
def test_stable_windows_raise_hardly_an_alarm_and_a_shift_is_seen_in_a_few(stream: Stream) -> None:
    found = [watch(stream, seed) for seed in range(SEEDS)]
    assert sum(one.alarms for one in found) <= 1
    assert sum(one.not_judged for one in found) == 0
    assert np.median([one.delay for one in found]) <= 5


def test_answers_are_held_against_those_to_other_rows_than_the_training_had() -> None:
    assert [watch_answers(seed, in_sample=False) for seed in range(2)] == [0, 0]
    assert min(watch_answers(seed, in_sample=True) for seed in range(2)) >= 1


def test_windows_that_depend_on_each_other_are_not_judged() -> None:
    found = [watch(Stream(wobble=0.1, memory=0.9), seed) for seed in range(SEEDS)]
    assert sum(one.alarms for one in found) == 0
    assert sum(one.not_judged for one in found) >= 0.95 * SEEDS * 200


def test_a_greater_risk_is_known_by_few_labels() -> None:
    assert np.median([few_labels(0.1, seed) for seed in range(100)]) <= 5
    stable = [few_labels(0.0, seed, risk=0.35) for seed in range(100)]
    assert np.isfinite(stable).mean() <= 0.08


def test_in_twelve_years_of_matches_there_is_one_alarm_at_most_and_no_training() -> None:
    _, judged = football()
    monthly = Counter(one.moved.said for one in judged)
    assert monthly[Said.MOVED] <= 1
    assert monthly[Said.MOVED] + monthly[Said.NOTHING_SEEN] == 67
    assert not any(one.retrain for one in judged)
    assert Counter(one.hurts.said for one in judged)[Said.NOTHING_SEEN] > 67


def test_growing_rentals_are_noticed_in_four_days() -> None:
    found = [watch_bikes(seed) for seed in range(SEEDS)]
    assert np.median(found) <= 4
    # The first day that differs is the first one: that is four days after it.
    assert max(found) <= 5
