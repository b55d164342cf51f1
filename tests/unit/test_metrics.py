from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as reference

from podium.errors import DataError
from podium.metrics import all_metrics, brier_score, label_indices, log_loss, ranked_probability_score
from podium.spec import Metric


@given(seed=st.integers(0, 2**32 - 1), rows=st.integers(1, 50), labels=st.integers(2, 5))
def test_metrics_agree_with_scikit_learn(seed: int, rows: int, labels: int) -> None:
    draws = np.random.default_rng(seed)
    truth = draws.integers(labels, size=rows)
    probabilities = draws.dirichlet(np.ones(labels), size=rows)
    found = all_metrics(truth, probabilities)
    expected = reference.log_loss(truth, probabilities, labels=list(range(labels)))
    assert found[Metric.LOG_LOSS] == pytest.approx(expected, rel=1e-6)
    assert found[Metric.ACCURACY] == reference.accuracy_score(truth, probabilities.argmax(axis=1))
    assert 0 <= found[Metric.BRIER_SCORE] <= 2
    assert 0 <= found[Metric.RANKED_PROBABILITY_SCORE] <= 1


def test_known_values() -> None:
    truth = np.array([0, 2])
    probabilities = np.array([[0.5, 0.3, 0.2], [0.1, 0.2, 0.7]])
    assert log_loss(truth, probabilities) == pytest.approx(-(np.log(0.5) + np.log(0.7)) / 2)
    assert brier_score(truth, probabilities) == pytest.approx((0.38 + 0.14) / 2)
    # Cumulated: 0.5, 0.8 against 1, 1; and 0.1, 0.3 against 0, 0; halved for two steps.
    assert ranked_probability_score(truth, probabilities) == pytest.approx((0.145 + 0.05) / 2)


def test_ranked_probability_score_minds_the_order_of_labels() -> None:
    near = np.array([[0.0, 1.0, 0.0]])
    far = np.array([[0.0, 0.0, 1.0]])
    truth = np.array([0])
    assert ranked_probability_score(truth, near) < ranked_probability_score(truth, far)
    assert brier_score(truth, near) == brier_score(truth, far)


def test_a_certain_mistake_costs_much_but_is_finite() -> None:
    assert log_loss(np.array([0]), np.array([[0.0, 1.0]])) == pytest.approx(-np.log(1e-15))


def test_nan_probabilities_make_every_metric_nan() -> None:
    found = all_metrics(np.array([0]), np.array([[np.nan, 0.5]]))
    assert all(np.isnan(value) for value in found.values())


def test_an_unlisted_label_is_named() -> None:
    with pytest.raises(DataError, match="label 'maybe' in row 1; allowed: no, yes"):
        label_indices(pd.Series(["no", "maybe"]), ["no", "yes"])
