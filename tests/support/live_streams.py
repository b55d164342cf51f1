"""Made-up streams of labelled live rows, and how soon the live gate lets a candidate pass on them."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from podium.metrics.answers import Answers, Numbers
from podium.metrics.row_scores import highest_difference, row_scores
from podium.metrics.sequential import log_wealth
from podium.model_file.metric_names import KNOWN_METRICS, TaskKind

LABELS = ("away_win", "draw", "home_win")
# How much noise the logits of the champion have.
CHAMPION_NOISE = 0.15

Sides = tuple[Answers, Answers]


def matches(rows: int, noise: float, seed: int) -> Sides:
    """Return what a candidate of so much noise, and the champion, say of the same matches."""
    draws = np.random.default_rng(seed)
    logits = 0.8 * draws.normal(size=(rows, 3))
    truth = (draws.uniform(size=(rows, 1)) > _softmax(logits).cumsum(axis=1)).sum(axis=1).clip(0, 2)
    champion, candidate = (
        _softmax(logits + by * draws.normal(size=(rows, 3))) for by in (CHAMPION_NOISE, noise)
    )
    return tuple(Answers(TaskKind.CLASSIFICATION, LABELS, truth, said) for said in (candidate, champion))  # type: ignore[return-value]


def sales(rows: int, noise: float, seed: int) -> Sides:
    """Return what a candidate of so much noise, and the champion, say of the same sales."""
    draws = np.random.default_rng(seed)
    truth = draws.lognormal(1.0, 0.5, rows)
    shared = 0.2 * draws.normal(size=rows)
    champion, candidate = (truth * np.exp(shared + by * draws.normal(size=rows)) for by in (0.1, noise))
    return tuple(Answers(TaskKind.REGRESSION, (), truth, said) for said in (candidate, champion))  # type: ignore[return-value]


def rare_mistakes(rows: int, share: float, seed: int, also_right: float = 0.0) -> Sides:
    """Return two that are right alike, but on a share one alone is wrong, on another the other."""
    draws = np.random.default_rng(seed)
    luck = draws.uniform(size=rows)
    truth = draws.integers(0, 2, rows)

    def side(wrong: np.ndarray) -> Answers:
        said = np.where(wrong, 1 - truth, truth)
        return Answers(TaskKind.CLASSIFICATION, ("no", "yes"), truth, np.eye(2)[said] * 0.8 + 0.1)

    return side(luck < share), side(luck > 1 - also_right)


def worse_by(metric: str, sides: Sides) -> float:
    """Return by how much the candidate is worse on these rows."""
    candidate, champion = (float(np.mean(row_scores(metric, side).values)) for side in sides)
    return champion - candidate if KNOWN_METRICS[metric].greater_is_better else candidate - champion


def first_pass(metric: str, sides: Sides, margin: float, *, first: int, alpha: float = 0.025) -> float:
    """Return after how many labels a candidate passes the first time, with a look after each; inf: never.

    Args:
        metric: A mean over rows. That of all others is asked for by ``some_looks``.
        sides: The candidate and the champion.
        margin: How much worse it may be.
        first: Labels at the first look.
        alpha: The chance to be wrong on one side.
    """
    scores = [row_scores(metric, side) for side in sides]
    greater, less = scores[::-1] if KNOWN_METRICS[metric].greater_is_better else scores
    worse = greater.values - less.values
    seen = np.maximum.accumulate(np.maximum(*(_largest(metric, side) for side in sides)))
    start = first - 1
    while start < len(worse):
        end = int(np.searchsorted(seen, seen[start], side="right"))
        passed = log_wealth(worse[:end], margin, float(seen[start]))[start:] >= -math.log(alpha)
        if passed.any():
            return float(start + passed.argmax() + 1)
        start = end
    return math.inf


def _largest(metric: str, side: Answers) -> Numbers:
    """Return what each row tells of how large a loss may be, see ``row_scores``."""
    if metric == "log_loss":
        return np.asarray(-np.log(side.predictions.min(axis=1)))
    scores = row_scores(metric, side)
    return scores.values if side.task is TaskKind.REGRESSION else np.full(len(side), scores.highest)


def some_looks(
    metric: str,
    sides: Sides,
    margin: float,
    looks: Iterator[int] | range,
    *,
    paired: bool,
    alpha: float = 0.025,
) -> float:
    """Return at which of some looks a candidate passes the first time, in rows; inf: at none."""
    for rows in looks:
        few = np.arange(len(sides[0])) < rows
        scores = [row_scores(metric, side.subset(few)) for side in sides]
        greater, less = scores[::-1] if KNOWN_METRICS[metric].greater_is_better else scores
        if highest_difference(greater, less, alpha, paired=paired) <= margin:
            return float(rows)
    return math.inf


def fixed_interval_passes(metric: str, sides: Sides, margin: float, looks: Numbers) -> np.ndarray:
    """Return at which looks the upper end of a 95% interval for one look alone is within the margin."""
    scores = [row_scores(metric, side).values for side in sides]
    greater, less = scores[::-1] if KNOWN_METRICS[metric].greater_is_better else scores
    worse = greater - less
    at = looks.astype(int)
    mean, square = (np.cumsum(values)[at - 1] / at for values in (worse, worse**2))
    return np.asarray(mean + 1.6449 * np.sqrt(square - mean**2) / np.sqrt(at) <= margin)


def _softmax(logits: Numbers) -> Numbers:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))
