"""Metrics as means of one score per row."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from podium.metrics.answers import Answers
from podium.metrics.measures import measure
from podium.metrics.row_scores import highest_difference, row_scores
from podium.metrics.sequential import lower_bound, upper_bound
from podium.model_file.gates import _LIVE_METRICS
from podium.model_file.metric_names import KNOWN_METRICS, TaskKind
from support.evidence import classification, ranking, regression


def drawn(task: TaskKind, seed: int, rows: int = 300) -> Answers:
    draws = np.random.default_rng(seed)
    if task is TaskKind.CLASSIFICATION:
        return classification(draws.integers(0, 3, rows), draws.dirichlet(np.ones(3), rows))
    if task is TaskKind.REGRESSION:
        truth = draws.integers(0, 9, rows).astype(float)
        return regression(truth, truth + draws.normal(size=rows))
    return ranking(draws.integers(0, 4, rows), draws.normal(size=rows), draws.integers(0, 40, rows))


@pytest.mark.parametrize("metric", _LIVE_METRICS)
@given(seed=st.integers(0, 2**32 - 1))
def test_the_mean_of_the_rows_is_the_metric_and_all_lie_within_their_limits(metric: str, seed: int) -> None:
    answers = drawn(KNOWN_METRICS[metric].task, seed)
    scores = row_scores(metric, answers)
    assert float(np.mean(scores.values)) == pytest.approx(measure(metric, answers), rel=1e-9)
    assert scores.lowest - 1e-9 <= scores.values.min()
    assert scores.values.max() <= scores.highest + 1e-9


@pytest.mark.parametrize("metric", ["root_mean_squared_error", "rmspe", "roc_auc"])
def test_the_spread_of_the_rows_is_the_error_of_the_metric(metric: str) -> None:
    task = KNOWN_METRICS[metric].task
    answered = [drawn(task, seed) for seed in range(400)]
    errors = np.std([measure(metric, answers) for answers in answered])
    spreads = np.mean([row_scores(metric, answers).values.std() / np.sqrt(300) for answers in answered])
    assert spreads == pytest.approx(errors, rel=0.15)


def test_limits_that_are_known_do_not_wait_until_they_are_seen() -> None:
    right = classification(np.arange(3), np.eye(3))
    assert row_scores("accuracy", right)[1:] == (0.0, 1.0)
    assert row_scores("brier_score", right)[1:] == (0.0, 2.0)
    # The least probable label has 0.1: that it did not come true yet is no limit.
    sure = classification([1, 1], [[0.1, 0.9], [0.2, 0.8]])
    assert row_scores("log_loss", sure)[1:] == (0.0, pytest.approx(-np.log(0.1)))


def test_numbers_that_are_no_probabilities_are_within_the_limits_too() -> None:
    strange = classification(np.arange(3), 5 * np.eye(3))
    scores = row_scores("brier_score", strange)
    assert scores.highest == scores.values.max() == 16.0


def test_without_any_error_the_root_has_no_slope_and_is_zero() -> None:
    truth = np.arange(1.0, 40.0)
    scores = row_scores("root_mean_squared_error", regression(truth, truth))
    assert (scores.values == 0).all()
    assert highest_difference(scores, scores, 0.05, paired=True) == 0.0


def test_pairs_say_more_than_two_samples() -> None:
    truth = np.zeros(500)
    wide = np.random.default_rng(0).uniform(0, 10, 500)
    worse, better = (row_scores("mean_absolute_error", regression(truth, wide + by)) for by in (0.1, 0.0))
    pairs = highest_difference(worse, better, 0.05, paired=True)
    samples = highest_difference(worse, better, 0.05, paired=False)
    assert 0.1 < pairs < 0.25
    assert samples > 4 * pairs
    # Each of two bounds that must hold together has half of the chance.
    assert samples == upper_bound(worse.values, worse.highest, 0.025) - lower_bound(better.values, 0, 0.025)
