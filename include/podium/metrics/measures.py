"""Metrics of what a model answered on labelled rows: plain arrays in, one number out.

Shapes, by task: of a classification ``truth`` is (n,), the index of each row's true label, ``predictions``
(n, k) probabilities in the order of the model file's ``labels``; of a regression and a ranking both are (n,)
numbers; of a generation ``truth`` is (n,) the right texts, ``predictions`` (n, 3), see ``GENERATED``.
The direction of each metric is in ``podium.model_file.metric_names``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from podium.errors import MetricUndefined, TrainerError
from podium.metrics.answers import Answers, Numbers
from podium.metrics.sklearn_scorers import _sklearn_metric
from podium.model_file.metric_names import GENERATED, REPORTED, TaskKind, answer_columns
from podium.model_file.user_code import import_object, trainer_errors

CALIBRATION_BINS = 10


class Mean(NamedTuple):
    """A metric that is a function of a mean over rows (of a ranking: over lists).

    Attributes:
        values: (n,) what is averaged, or (n, k) of a function of several means.
        finish: Makes the metric of the mean; works on arrays of means too, the last axis of which is k.
        slope: Of one mean: the derivative of ``finish``.
        undo: Of one mean: makes the mean of the metric.
        most: What no value exceeds, whatever is true, and none is below zero; zero: no limit is known.
    """

    values: Callable[[Answers], Numbers]
    finish: Callable[[Any], Any] = lambda mean: mean
    slope: Callable[[float], float] = lambda _: 1.0
    most: Callable[[Answers], float] = lambda _: 0.0
    undo: Callable[[float], float] = lambda metric: metric


def _log_loss(answers: Answers) -> Numbers:
    """Negative log of each true label's probability, natural log, clipped at 1e-15."""
    return np.asarray(
        -np.log(np.clip(answers.predictions[np.arange(len(answers)), answers.truth], 1e-15, 1.0))
    )


def _largest_log_loss(answers: Answers) -> float:
    """What the least probable label of all rows would have cost."""
    return float(-np.log(np.clip(answers.predictions.min(), 1e-15, 1.0)))


def _hits(answers: Answers) -> Numbers:
    """1 where the most probable label is the true one."""
    return np.asarray(answers.predictions.argmax(axis=1) == answers.truth, dtype=np.float64)


def _brier_score(answers: Answers) -> Numbers:
    """Summed squared differences, 0 to 2 (Brier 1950)."""
    return np.asarray(np.sum((answers.predictions - _one_hot(answers)) ** 2, axis=1))


def _ranked_probability_score(answers: Answers) -> Numbers:
    """Of ordered labels, 0 to 1 (Epstein 1969, normalised by k - 1)."""
    difference = np.cumsum(answers.predictions - _one_hot(answers), axis=1)[:, :-1]
    return np.asarray(np.sum(difference**2, axis=1) / (answers.predictions.shape[1] - 1))


def _absolute_error(answers: Answers) -> Numbers:
    return np.asarray(np.abs(answers.predictions - answers.truth))


def _squared_error(answers: Answers) -> Numbers:
    return np.asarray((answers.predictions - answers.truth) ** 2)


def _percentage_error(answers: Answers) -> Numbers:
    """Error over truth; rows whose truth is zero have none and are left out (shape (m,), m <= n)."""
    there = answers.truth != 0
    return np.asarray((answers.predictions[there] - answers.truth[there]) / answers.truth[there])


def _ndcg(answers: Answers) -> Numbers:
    """Normalised discounted cumulative gain of each list, linear gains (Järvelin and Kekäläinen 2002).

    Rows of equal scores share their gains, so that the order of the rows says nothing.
    """
    if (answers.truth < 0).any():
        raise MetricUndefined("a relevance is below zero")

    # scikit-learn's ndcg_score gives the same number and takes eight times as long a list (of 10 rows).
    def score(relevance: Numbers, scores: Numbers) -> float:
        _, place, rows = np.unique(-scores, return_inverse=True, return_counts=True)
        gains = np.repeat(np.bincount(place, weights=relevance) / rows, rows)
        return _discounted(gains) / _discounted(-np.sort(-relevance))

    return _per_list(answers, score)


def _reciprocal_rank(answers: Answers) -> Numbers:
    """One over the place of the first row of relevance above zero, in each list; last of equal scores."""

    def score(relevance: Numbers, scores: Numbers) -> float:
        relevant = relevance > 0
        ahead = scores[~relevant] >= scores[relevant].max()
        return 1.0 / (1.0 + float(ahead.sum()))

    return _per_list(answers, score)


def _per_list(answers: Answers, score: Callable[[Numbers, Numbers], float]) -> Numbers:
    """Score the relevances and predictions of each list that has a relevant row."""
    groups = np.zeros(len(answers)) if answers.groups is None else answers.groups
    numbers, _ = pd.factorize(groups, use_na_sentinel=False)
    order = np.argsort(numbers, kind="stable")
    lists = np.split(order, np.flatnonzero(np.diff(numbers[order])) + 1)
    return np.asarray(
        [
            score(answers.truth[rows], answers.predictions[rows])
            for rows in lists
            if (answers.truth[rows] > 0).any()
        ]
    )


def _discounted(gains: Numbers) -> float:
    return float(np.sum(gains / np.log2(np.arange(len(gains)) + 2.0)))


def _of_generation(name: str, answers: Answers) -> Numbers:
    return answers.predictions[:, GENERATED.index(name)]


def _likelihood_per_token(answers: Answers) -> Numbers:
    """Summed over rows and divided: a long text counts more than a short one, as is usual."""
    return np.stack(
        [_of_generation("negative_log_likelihood", answers), _of_generation("tokens", answers)], 1
    )


def _bits_and_bytes(answers: Answers) -> Numbers:
    """Bits that the right texts take, and their bytes in UTF-8: comparable whatever the tokens are."""
    lengths = [len(str(text).encode()) for text in answers.truth]
    return np.stack([_of_generation("negative_log_likelihood", answers) / np.log(2), lengths], 1)


def _ratio(means: Any) -> Any:
    return means[..., 0] / means[..., 1]


def _slope_of_root(mean: float) -> float:
    return float(0.5 / np.sqrt(mean))


MEANS: Mapping[str, Mean] = {
    "log_loss": Mean(_log_loss, most=_largest_log_loss),
    "accuracy": Mean(_hits, most=lambda _: 1.0),
    "brier_score": Mean(_brier_score, most=lambda _: 2.0),
    "ranked_probability_score": Mean(_ranked_probability_score, most=lambda _: 1.0),
    "mean_absolute_error": Mean(_absolute_error),
    "mean_squared_error": Mean(_squared_error),
    "root_mean_squared_error": Mean(_squared_error, np.sqrt, _slope_of_root, undo=np.square),
    "mean_absolute_percentage_error": Mean(lambda answers: np.abs(_percentage_error(answers))),
    "rmspe": Mean(lambda answers: _percentage_error(answers) ** 2, np.sqrt, _slope_of_root, undo=np.square),
    "ndcg": Mean(_ndcg, most=lambda _: 1.0),
    "mean_reciprocal_rank": Mean(_reciprocal_rank, most=lambda _: 1.0),
    "perplexity": Mean(_likelihood_per_token, lambda means: np.exp(_ratio(means))),
    "bits_per_byte": Mean(_bits_and_bytes, _ratio),
    "pass_rate": Mean(lambda answers: _of_generation("passed", answers)),
}


def roc_auc(answers: Answers) -> float:
    """Area under the ROC curve: of two labels that of the second, of more the mean of one against the rest.

    Ties count half, as in the Mann-Whitney statistic. NaN if a label is not there or is on all rows.
    """
    return float(np.mean([auc(positive, scores) for positive, scores in one_against_rest(answers)]))


def one_against_rest(answers: Answers) -> list[tuple[npt.NDArray[np.bool_], Numbers]]:
    """Return for each label, of two for the second only, which rows have it and their scores."""
    columns = range(1, 2) if len(answers.labels) == 2 else range(len(answers.labels))
    return [(answers.truth == column, answers.predictions[:, column]) for column in columns]


def auc(positive: npt.NDArray[np.bool_], scores: Numbers) -> float:
    """Area under the ROC curve of one label; shapes (n,)."""
    positives, negatives = int(positive.sum()), int((~positive).sum())
    if not positives or not negatives:
        return float("nan")
    # scikit-learn's roc_auc_score gives the same number and takes thirty times as long (on 1,000 rows).
    ranks = pd.Series(scores).rank().to_numpy()
    return float((ranks[positive].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def expected_calibration_error(answers: Answers) -> float:
    """Mean distance of accuracy from confidence over ten equal bins of confidence (Naeini et al. 2015)."""
    confidence = answers.predictions.max(axis=1)
    bins = np.minimum((confidence * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    surplus = np.bincount(bins, weights=confidence - _hits(answers), minlength=CALIBRATION_BINS)
    return float(np.abs(surplus).sum() / len(answers))


_WHOLE: Mapping[str, Callable[[Answers], float]] = {
    "roc_auc": roc_auc,
    "expected_calibration_error": expected_calibration_error,
}


def measure(metric: str, answers: Answers, columns: Sequence[str] = ()) -> float:
    """Return a metric.

    Args:
        metric: Its name in ``podium.model_file.metric_names``, or an own function as ``module:function``.
        answers: The rows.
        columns: Columns of the examples that an own function gets.

    Raises:
        MetricUndefined: There are no rows, a prediction is not a finite number, or the rows do not allow it.
        TrainerError: The own function is not there, or broke.
    """
    if not len(answers):
        raise MetricUndefined("no rows")
    if not np.isfinite(answers.predictions).all():
        raise MetricUndefined("a prediction is not a finite number")
    if ":" in metric:
        value = float(np.mean(own_values(metric, answers, columns)))
    elif metric in MEANS:
        values = MEANS[metric].values(answers)
        if not len(values):
            raise MetricUndefined("it can be computed on none of these rows")
        value = float(MEANS[metric].finish(np.mean(values, axis=0)))
    elif metric in _WHOLE:
        value = _WHOLE[metric](answers)
    else:
        value = _sklearn_metric(metric, answers)
    if not np.isfinite(value):
        raise MetricUndefined("it cannot be computed on these rows")
    return value


def own_values(path: str, answers: Answers, columns: Sequence[str]) -> Numbers:
    """Call an own function ``f(truth, predictions, columns)``.

    It gets the truth as a Series (labels as text), the predictions as a Series or as a DataFrame with a
    column per label (of a generation: those of ``GENERATED``), and a DataFrame of the columns that its gate
    names. It returns one number, or one per row, whose mean is the metric.

    Returns:
        Shape (1,) or (n,).

    Raises:
        MetricUndefined: The examples have no such column.
        TrainerError: It is not there, or broke, or returned something else.
    """
    if missing := [column for column in columns if column not in answers.columns]:
        raise MetricUndefined(f"the examples have no column {', '.join(missing)}")
    classifies = answers.task is TaskKind.CLASSIFICATION
    truth = pd.Series(np.asarray(answers.labels)[answers.truth] if classifies else answers.truth)
    named = answer_columns(answers.task, answers.labels)
    predictions = (
        pd.DataFrame(answers.predictions, columns=list(named)) if named else pd.Series(answers.predictions)
    )
    with trainer_errors(path):
        returned = import_object(path)(
            truth, predictions, answers.columns[list(columns)].reset_index(drop=True)
        )
        values = np.atleast_1d(np.asarray(returned, dtype=np.float64))
    if values.shape not in ((1,), (len(answers),)):
        raise TrainerError(f"{path} must return one number or one per row, not an array of {values.shape}")
    return values


def reported_metrics(answers: Answers) -> dict[str, float]:
    """Return the metrics that every report of this task shows; NaN where one has no value."""
    return {metric: measured(metric, answers)[0] for metric in REPORTED[answers.task]}


def measured(metric: str, answers: Answers, columns: Sequence[str] = ()) -> tuple[float, str]:
    """Return a metric and "", or NaN and why it has no value."""
    try:
        return measure(metric, answers, columns), ""
    except MetricUndefined as reason:
        return float("nan"), f"{metric} has no value: {reason}"


def _one_hot(answers: Answers) -> Numbers:
    return np.asarray(np.eye(answers.predictions.shape[1])[answers.truth])
