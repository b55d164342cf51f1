"""Paired bootstrap: how sure is it that one model is no worse than another on rows like these?

The same resamples of the rows are drawn for both models, so what is hard about a row is hard for both
(Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 16).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import binom

from podium.errors import TrainerError
from podium.metrics.answers import Answers, Numbers
from podium.metrics.measures import MEANS, one_against_rest, own_values
from podium.model_file.metric_gate import NotWorse

# A verdict that is within the noise of its resamples draws up to so many.
MOST_RESAMPLES = 50_000
# How likely the noise alone may be to give a verdict that counts as settled.
_BY_NOISE = 1e-6


def metric_differences(  # noqa: PLR0913 - what is compared, and how often it is drawn
    metric: str,
    columns: Sequence[str],
    rule: NotWorse,
    candidate: Answers,
    reference: Answers,
    enough: Callable[[Numbers], bool] = lambda _: True,
) -> Numbers:
    """Return the candidate's metric less the reference's, once per resample; shape (resamples or more,).

    Args:
        metric: A mean over rows, ``roc_auc``, or an own function that returns one number per row.
        columns: Columns that an own function gets.
        rule: How many resamples at first, and the seed of their drawing.
        candidate: Its answers.
        reference: The other model's answers, on the same rows.
        enough: Whether these differences are enough; if not, as many again are drawn, up to
            ``MOST_RESAMPLES`` in all.

    Raises:
        TrainerError: The own function returns one number in all.
    """
    difference, rows = _difference(metric, columns, candidate, reference)
    most = max(rule.resamples, MOST_RESAMPLES)
    draws = map(difference, _resamples(rows, rule.model_copy(update={"resamples": most})))
    drawn = np.fromiter(islice(draws, rule.resamples), float)
    while len(drawn) < most and not enough(drawn):
        more = min(len(drawn), most - len(drawn))
        drawn = np.append(drawn, np.fromiter(islice(draws, more), float))
    return drawn


def is_settled(regressions: Numbers, rule: NotWorse) -> bool:
    """Whether no other seed would give another verdict.

    So it is where resamples whose chance to be within the margin is exactly the confidence would hardly ever
    be within it so often, or so rarely.

    Args:
        regressions: By how much the candidate is worse, shape (resamples,); NaN is not within the margin.
        rule: Its confidence and margin.
    """
    drawn, within = len(regressions), int((regressions <= rule.margin).sum())
    so_few = binom.cdf(within, drawn, rule.confidence)
    so_many = binom.sf(within - 1, drawn, rule.confidence)
    return bool(min(so_few, so_many) < _BY_NOISE)


_Difference = Callable[[Numbers], float]


def _difference(
    metric: str, columns: Sequence[str], candidate: Answers, reference: Answers
) -> tuple[_Difference, int]:
    """Return what makes the difference of how often each row was drawn, and the number of rows."""
    if metric == "roc_auc":
        return _auc_difference(candidate, reference), len(candidate)
    if ":" not in metric:
        mean = MEANS[metric]
        return _mean_difference(mean.values(candidate), mean.values(reference), mean.finish)
    values = [own_values(metric, answers, columns) for answers in (candidate, reference)]
    if len(values[0]) != len(candidate):
        raise TrainerError(f"{metric} returns one number; not_worse needs one per row")
    return _mean_difference(values[0], values[1])


def _mean_difference(
    candidate: Numbers, reference: Numbers, finish: Callable[[Any], Any] = lambda mean: mean
) -> tuple[_Difference, int]:
    rows = len(candidate)

    def difference(counts: Numbers) -> float:
        one, other = (finish(_dot(counts, values) / rows) for values in (candidate, reference))
        return float(one - other)

    return difference, rows


def _auc_difference(candidate: Answers, reference: Answers) -> _Difference:
    sides = [[_Sorted(*label) for label in one_against_rest(answers)] for answers in (candidate, reference)]

    def difference(counts: Numbers) -> float:
        one, other = (np.mean([label.area(counts) for label in labels]) for labels in sides)
        return float(one - other)

    return difference


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
