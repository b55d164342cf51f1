"""Metrics of predicted class probabilities: plain arrays in, one number out.

Shapes: ``truth`` is (n,) with the index of each row's true label; ``probabilities`` is (n, k) in the order
of the model file's ``labels``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from podium.errors import DataError
from podium.spec import Metric

Indices = npt.NDArray[np.intp]
Probabilities = npt.NDArray[np.float64]

GREATER_IS_BETTER = {Metric.ACCURACY}


def label_indices(label: pd.Series, labels: Sequence[str]) -> Indices:
    """Return the index of each row's label in ``labels``, shape (n,).

    Raises:
        DataError: A row has a label that the model file does not list.
    """
    indices = pd.Index(labels).get_indexer(pd.Index(label))
    if (indices < 0).any():
        row = int(np.argmax(indices < 0))
        raise DataError(f"label {label.iloc[row]!r} in row {label.index[row]}; allowed: {', '.join(labels)}")
    return indices


def log_loss_per_row(truth: Indices, probabilities: Probabilities) -> npt.NDArray[np.float64]:
    """Return the negative log of each true label's probability, natural log, clipped at 1e-15; shape (n,)."""
    return -np.log(np.clip(probabilities[np.arange(len(truth)), truth], 1e-15, 1.0))


def log_loss(truth: Indices, probabilities: Probabilities) -> float:
    """Multiclass log loss, the mean of ``log_loss_per_row``; as in scikit-learn."""
    return float(np.mean(log_loss_per_row(truth, probabilities)))


def accuracy(truth: Indices, probabilities: Probabilities) -> float:
    """Share of rows whose most probable label is the true one."""
    return float(np.mean(probabilities.argmax(axis=1) == truth))


def brier_score(truth: Indices, probabilities: Probabilities) -> float:
    """Multiclass Brier score: mean over rows of the summed squared differences, 0 to 2 (Brier 1950)."""
    return float(np.mean(np.sum((probabilities - _one_hot(truth, probabilities)) ** 2, axis=1)))


def ranked_probability_score(truth: Indices, probabilities: Probabilities) -> float:
    """Mean ranked probability score over ordered labels, 0 to 1 (Epstein 1969, normalised by k - 1)."""
    difference = np.cumsum(probabilities - _one_hot(truth, probabilities), axis=1)[:, :-1]
    return float(np.mean(np.sum(difference**2, axis=1) / (probabilities.shape[1] - 1)))


_FUNCTIONS: Mapping[Metric, Callable[[Indices, Probabilities], float]] = {
    Metric.LOG_LOSS: log_loss,
    Metric.ACCURACY: accuracy,
    Metric.BRIER_SCORE: brier_score,
    Metric.RANKED_PROBABILITY_SCORE: ranked_probability_score,
}


def all_metrics(truth: Indices, probabilities: Probabilities) -> dict[Metric, float]:
    """Return every metric; NaN where a probability is NaN, so that a gate on it fails."""
    if not np.isfinite(probabilities).all():
        return dict.fromkeys(_FUNCTIONS, float("nan"))
    return {metric: function(truth, probabilities) for metric, function in _FUNCTIONS.items()}


def _one_hot(truth: Indices, probabilities: Probabilities) -> Probabilities:
    return np.eye(probabilities.shape[1])[truth]
