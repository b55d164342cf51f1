"""What a row is expected to cost before its label is here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.tree import DecisionTreeRegressor

from podium.metrics.answers import Answers, Numbers
from podium.metrics.row_scores import row_losses
from podium.model_file.metric_names import TaskKind

# Says of predictions, shape (n, k) or (n,), what each row is expected to cost, shape (n,).
Proxy = Callable[[Numbers], Numbers]

_LEAF_ROWS = 50
_SMALLEST = 1e-6


def fit_proxy(metric: str, holdout: Answers) -> Proxy:
    """Return a proxy that is fitted on what a version answered on its holdout.

    Of a classification the loss that its recalibrated probabilities expect; of numbers the mean loss of
    holdout rows with a prediction like it. With a bad proxy the estimate is no worse than the labelled rows
    alone: its weight is near zero then.

    Args:
        metric: A mean over rows.
        holdout: Labelled rows that the version was not trained on.
    """
    if holdout.task is TaskKind.CLASSIFICATION:
        return _of_probabilities(metric, holdout)
    losses = row_losses(metric, holdout)
    there = ~np.isnan(losses)
    tree = DecisionTreeRegressor(min_samples_leaf=_LEAF_ROWS, random_state=0)
    tree.fit(holdout.predictions[there].reshape(-1, 1), losses[there])
    return lambda predictions: np.asarray(tree.predict(predictions.reshape(-1, 1)))


def recalibrate(holdout: Answers) -> Proxy:
    """Return a map from probabilities to recalibrated ones, shapes (n, k).

    A logistic regression on their logs; a label that the holdout does not have keeps probability zero.
    """
    present = np.unique(holdout.truth)
    if len(present) < 2:
        return lambda predictions: predictions
    model = LogisticRegression(C=1.0, max_iter=1000).fit(_logs(holdout.predictions), holdout.truth)

    def recalibrated(predictions: Numbers) -> Numbers:
        whole = np.zeros_like(predictions)
        whole[:, model.classes_] = model.predict_proba(_logs(predictions))
        return whole

    return recalibrated


def _of_probabilities(metric: str, holdout: Answers) -> Proxy:
    recalibrated = recalibrate(holdout)

    def expected(predictions: Numbers) -> Numbers:
        return np.asarray(
            (recalibrated(predictions) * _losses_by_label(metric, holdout, predictions)).sum(axis=1)
        )

    return expected


def _losses_by_label(metric: str, like: Answers, predictions: Numbers) -> Numbers:
    """Return what each row costs if a label is true, shape (n, k)."""
    rows, labels = predictions.shape
    columns = [
        row_losses(metric, replace(like, truth=np.full(rows, label), predictions=predictions, groups=None))
        for label in range(labels)
    ]
    return np.stack(columns, axis=1)


def _logs(predictions: Numbers) -> Numbers:
    return np.asarray(np.log(np.clip(predictions, _SMALLEST, 1.0)))
