"""Paired bootstrap: how sure is it that one model is no worse than another on rows like these?

The same resamples of the rows are drawn for both models, so what is hard about a row is hard for both
(Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 16).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from podium.errors import TrainerError
from podium.metrics.answers import Answers, Numbers
from podium.metrics.measures import MEANS, one_against_rest, own_values
from podium.model_file.metric_gate import NotWorse


def metric_differences(
    metric: str, columns: Sequence[str], rule: NotWorse, candidate: Answers, reference: Answers
) -> Numbers:
    """Return the candidate's metric less the reference's, once per resample; shape (resamples,).

    Args:
        metric: A mean over rows, ``roc_auc``, or an own function that returns one number per row.
        columns: Columns that an own function gets.
        rule: How many resamples, and the seed of their drawing.
        candidate: Its answers.
        reference: The other model's answers, on the same rows.

    Raises:
        TrainerError: The own function returns one number in all.
    """
    if metric == "roc_auc":
        return _auc_differences(rule, candidate, reference)
    if ":" not in metric:
        mean = MEANS[metric]
        return _mean_differences(rule, mean.values(candidate), mean.values(reference), mean.finish)
    values = [own_values(metric, answers, columns) for answers in (candidate, reference)]
    if len(values[0]) != len(candidate):
        raise TrainerError(f"{metric} returns one number; not_worse needs one per row")
    return _mean_differences(rule, values[0], values[1])


def metric_resamples(metric: str, rule: NotWorse, answers: Answers) -> Numbers:
    """Return the metric of one model, once per resample of its rows; shape (resamples,).

    Args:
        metric: A mean over rows, or ``roc_auc``.
        rule: How many resamples, and the seed of their drawing.
        answers: The model's answers.
    """
    if metric == "roc_auc":
        labels = [_Sorted(*label) for label in one_against_rest(answers)]
        draws = _resamples(len(answers), rule)
        return np.asarray([np.mean([label.area(counts) for label in labels]) for counts in draws])
    mean = MEANS[metric]
    values = mean.values(answers)
    sums = np.asarray([_dot(counts, values) for counts in _resamples(len(values), rule)])
    return np.asarray(mean.finish(sums / len(values)))


def _mean_differences(
    rule: NotWorse,
    candidate: Numbers,
    reference: Numbers,
    finish: Callable[[Numbers], Numbers] = lambda mean: mean,
) -> Numbers:
    rows = len(candidate)
    sums = np.asarray(
        [(_dot(counts, candidate), _dot(counts, reference)) for counts in _resamples(rows, rule)]
    )  # (resamples, 2), or (resamples, 2, k) of a function of several means
    means = finish(sums / rows)
    return np.asarray(means[:, 0] - means[:, 1])


def _auc_differences(rule: NotWorse, candidate: Answers, reference: Answers) -> Numbers:
    sides = [[_Sorted(*label) for label in one_against_rest(answers)] for answers in (candidate, reference)]
    areas = np.asarray(
        [
            [np.mean([label.area(counts) for label in labels]) for labels in sides]
            for counts in _resamples(len(candidate), rule)
        ]
    )
    return np.asarray(areas[:, 0] - areas[:, 1])


class _Sorted:
    """The rows of one label in the order of their scores; equal scores count half against each other."""

    def __init__(self, positive: npt.NDArray[np.bool_], scores: Numbers) -> None:
        order = np.argsort(scores, kind="stable")
        self._positives, self._negatives = order[positive[order]], order[~positive[order]]
        others, ours = scores[self._negatives], scores[self._positives]
        self._below = np.searchsorted(others, ours, side="left")
        self._up_to = np.searchsorted(others, ours, side="right")

    def area(self, counts: Numbers) -> float:
        """Return the area under the ROC curve of rows that count so often; NaN without one of both labels."""
        positives = counts.take(self._positives)
        negatives = np.zeros(len(self._negatives) + 1)
        np.cumsum(counts.take(self._negatives), out=negatives[1:])
        pairs = positives.sum() * negatives[-1]
        won = _dot(positives, negatives.take(self._below) + negatives.take(self._up_to)) / 2
        return float(won / pairs) if pairs else float("nan")


def _dot(one: Numbers, other: Numbers) -> Any:
    """Not by BLAS, whose threads may take longer to start than so short a product takes."""
    return np.einsum("i,i...", one, other)


def _resamples(rows: int, rule: NotWorse) -> Iterator[Numbers]:
    """Yield how often each resample drew each row, one resample at a time to bound memory; shape (rows,)."""
    generator = np.random.default_rng(rule.seed)
    for _ in range(rule.resamples):
        drawn = generator.integers(0, rows, size=rows, dtype=np.int32)
        yield np.bincount(drawn, minlength=rows).astype(np.float64)
