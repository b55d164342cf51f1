"""A metric as the mean of one score per row, so that one may ask at any moment how sure a difference is."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from podium.metrics.answers import Answers, Numbers
from podium.metrics.measures import MEANS, one_against_rest
from podium.metrics.sequential import lower_bound, upper_bound
from podium.model_file.metric_names import KNOWN_METRICS


class RowScores(NamedTuple):
    """Scores of rows (of a ranking: of lists) whose mean is a metric of one model.

    Attributes:
        values: Shape (n,).
        lowest: What no row is below.
        highest: What no row exceeds; where there is no limit, the largest of these rows.
    """

    values: Numbers
    lowest: float
    highest: float


def row_scores(metric: str, answers: Answers) -> RowScores:
    """Return a metric row by row.

    A metric that is a mean is the mean of its rows. Of the root of a mean, and of ``roc_auc``, each row has
    what it adds to the metric to first order (its influence; of the area under the curve as in DeLong, DeLong
    and Clarke-Pearson 1988). So their mean is the metric itself, and what is said of it holds for many rows.

    Args:
        metric: A mean over rows, its root, or ``roc_auc``; it has a value on these rows.
        answers: The rows.
    """
    if metric == "roc_auc":
        return _area_scores(answers)
    mean = MEANS[metric]
    values = mean.values(answers)
    middle = float(np.mean(values))
    # Numbers that are no probabilities may exceed the limit.
    most = max(float(np.max(values)), mean.most(answers))
    # Without any loss there is no slope, and nothing to scale either.
    slope = mean.slope(middle) if middle else 1.0
    start = float(mean.finish(middle)) - slope * middle
    return RowScores(start + slope * values, start, start + slope * most)


def row_losses(metric: str, answers: Answers) -> Numbers:
    """Return the loss of each row: what the metric is a mean of, with a sign so that more is worse.

    Args:
        metric: A mean over rows.
        answers: The rows, (n,).

    Returns:
        Shape (n,); NaN of a row that the metric leaves out.
    """
    values = loss_sign(metric) * MEANS[metric].values(answers)
    if len(values) == len(answers):
        return np.asarray(values)
    whole = np.full(len(answers), np.nan)
    whole[answers.truth != 0] = values
    return whole


def loss_sign(metric: str) -> int:
    """Return 1 of a metric of which less is better, else -1."""
    return -1 if KNOWN_METRICS[metric].greater_is_better else 1


def highest_difference(one: RowScores, other: RowScores, alpha: float, *, paired: bool) -> float:
    """Return how much greater the mean of one model may be than that of another, however often one asks.

    Args:
        one: Its scores.
        other: Those of the other one.
        alpha: The chance that the difference is greater at any moment.
        paired: Both scored the same rows, in the same order.
    """
    lowest, highest = min(one.lowest, other.lowest), max(one.highest, other.highest)
    if paired:
        return upper_bound(one.values - other.values, highest - lowest, alpha)
    return upper_bound(one.values, highest, alpha / 2) - lower_bound(other.values, lowest, alpha / 2)


def _area_scores(answers: Answers) -> RowScores:
    labels = [_label_scores(positive, scores) for positive, scores in one_against_rest(answers)]
    return RowScores(
        np.mean([label.values for label in labels], axis=0),
        float(np.mean([label.lowest for label in labels])),
        float(np.mean([label.highest for label in labels])),
    )


def _label_scores(positive: npt.NDArray[np.bool_], scores: Numbers) -> RowScores:
    """Return what each row adds to the area under the ROC curve of one label."""
    above = _share_below(scores[~positive], scores[positive])
    area = float(above.mean())
    values = np.full(len(scores), area)
    values[positive] += (above - area) * len(scores) / positive.sum()
    below = 1 - _share_below(scores[positive], scores[~positive])
    values[~positive] += (below - area) * len(scores) / (~positive).sum()
    most = len(scores) / min(positive.sum(), (~positive).sum())
    return RowScores(values, area - area * most, area + (1 - area) * most)


def _share_below(scores: Numbers, bars: Numbers) -> Numbers:
    """Return for each bar the share of the scores below it, equal ones counting half; shape of the bars."""
    ordered = np.sort(scores)
    twice = np.searchsorted(ordered, bars, side="left") + np.searchsorted(ordered, bars, side="right")
    return np.asarray(twice / (2 * len(scores)))
