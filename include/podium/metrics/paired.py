"""Is a new version worse than the one beside it? Evidence that one may look at after every request.

Somebody who doubts that a new version is no worse bets on each pair of outcomes. If it is no worse, no bet
makes money on average: the chance that the wealth, which starts at 1, is ever 1 / alpha is at most alpha
(Ville 1939). Wealth is a function of counts and sums, so it depends neither on the order of the requests nor
on how often somebody looks, and counts of several servers add up. Functions take and return plain numbers.
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import numpy as np

from podium.metrics.answers import Numbers

# Of all wrong rollbacks of a promotion, each of the three questions may cause a third.
ALPHA = 0.01
QUESTIONS = 3
LOG_THRESHOLD = math.log(QUESTIONS / ALPHA)
# With fewer rows the mean of losses is not known to be near a normal number.
FEWEST_LABELLED = 30
# How finely bets are divided among the shares that somebody suspects.
_SHARES = 60
# The confidence sequence is sharpest at so many rows.
_SHARPEST_AT = 200


class Sums(NamedTuple):
    """What is kept of numbers that are added up: how many, their sum and that of their squares."""

    rows: int = 0
    total: float = 0.0
    squares: float = 0.0


def log_wealth_of_share(hits: int, misses: int, share: float = 0.5) -> float:
    """Return the log wealth of bets that hits are more than a share of all, in whatever order they came.

    A mixture over all shares above it, in equal parts. With a half it is the paired sign test: of the pairs
    in which one version failed, those where the new one did are the hits.

    Args:
        hits: How many.
        misses: How many others.
        share: The share of hits that is tolerated; above 0, below 1.
    """
    of_hit, of_miss = _gains(share)
    logs = hits * of_hit + misses * of_miss
    return float(np.logaddexp.reduce(logs) - math.log(len(logs)))


def lower_bound_of_mean(sums: Sums, alpha: float = ALPHA / QUESTIONS) -> float:
    """Return what a mean is above, with a chance of at most alpha to be wrong at any look.

    The normal-mixture confidence sequence of Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas (2021,
    Time-uniform central limit theory, arXiv 2103.06476), for many rows; -inf below 30 rows.

    Args:
        sums: Of the differences, the new version's loss less the old one's.
        alpha: The chance.
    """
    if sums.rows < FEWEST_LABELLED:
        return -math.inf
    mean, spread = _mean_and_spread(sums)
    return mean - spread * _width(sums.rows, alpha)


def log_wealth_of_mean(sums: Sums, margin: float) -> float:
    """Return the log wealth of bets that a mean is above a margin; 0 below 30 rows.

    It is that of ``lower_bound_of_mean`` turned around: at log(1 / alpha) that bound is the margin.

    Args:
        sums: Of the differences.
        margin: How much worse the new version may be.
    """
    rows = sums.rows
    if rows < FEWEST_LABELLED:
        return 0.0
    mean, spread = _mean_and_spread(sums)
    if mean <= margin:
        return 0.0
    # JSON has no infinite number, in which the evidence is kept.
    spread = max(spread, 1e-9 * abs(mean))
    scaled = _scale(ALPHA / QUESTIONS)
    away = ((mean - margin) / spread) ** 2 * rows**2 * scaled / (2 * (rows * scaled + 1))
    # From the width: ln(1 + sqrt(t rho2 + 1) / (2 alpha)) = away.
    return math.log(2) + _log_expm1(away) - 0.5 * math.log(rows * scaled + 1)


@functools.cache
def _gains(share: float) -> tuple[Numbers, Numbers]:
    """Return what each bet gains by a hit and by a miss, as logs."""
    suspected = np.linspace(share, 1, _SHARES)[1:-1]
    return np.log(suspected / share), np.log((1 - suspected) / (1 - share))


def _mean_and_spread(sums: Sums) -> tuple[float, float]:
    """Return the mean and the standard deviation of at least one number."""
    mean = sums.total / sums.rows
    return mean, math.sqrt(max(sums.squares / sums.rows - mean * mean, 0.0))


def _width(rows: int, alpha: float) -> float:
    """Return how many standard deviations the bound is below the mean."""
    scale = _scale(alpha)
    inside = math.log(1 + math.sqrt(rows * scale + 1) / (2 * alpha))
    return math.sqrt(2 * (rows * scale + 1) / (rows**2 * scale) * inside)


def _scale(alpha: float) -> float:
    """Return the variance of the mixture with which the bound is sharpest at ``_SHARPEST_AT`` rows."""
    return (-2 * math.log(2 * alpha) + math.log(-2 * math.log(2 * alpha) + 1)) / _SHARPEST_AT


def _log_expm1(value: float) -> float:
    """Return log(exp(value) - 1) without overflow."""
    return value + math.log(-math.expm1(-value)) if value > 0 else -math.inf
