"""Detectors of a change that one may ask after every window, and that say how rarely they are wrong.

A detector gets an e-value per window: a number whose mean, given all windows before, is at most 1 as long as
nothing changed. It grows as ``R <- (R + 1) * e`` (Shiryaev-Roberts) and raises an alarm at the run length.
Until nothing has changed, the mean number of windows to its first alarm is at least that (Shin, Ramdas and
Rinaldo 2022, E-detectors, arXiv 2203.03532). Wealth is kept as its log, for it may exceed all floats.
"""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt

from podium.metrics.answers import Numbers

# Effects, in standard errors, that a bet on a mean is divided among; a guess of the size of a change.
_SIZES = np.asarray([0.5, 1.0, 2.0, 4.0])
START = -np.inf
_SMALLEST_P = 1e-12
# At 1 the formula is 0 by 0; its value there is 1/2.
_LARGEST_P = 1 - 1e-9


def coins(*names: str, size: int) -> Numbers:
    """Return numbers between 0 and 1 that break ties: as if by chance, and the same each time.

    Args:
        *names: What they are for.
        size: How many.
    """
    seed = int.from_bytes(hashlib.sha256("\0".join(names).encode()).digest()[:16], "big")
    return np.random.default_rng(seed).uniform(size=size)


def rank_p(earlier: Numbers, values: Numbers, coin: Numbers) -> Numbers:
    """Return the conformal p-value of each statistic: its rank among those of the windows before.

    Of windows that could have come in any order, p-values are uniform and independent (Vovk, Gammerman and
    Shafer 2005).

    Args:
        earlier: Shape (n, d).
        values: Shape (d,).
        coin: Shape (d,), between 0 and 1: the place among equal ones.

    Returns:
        Shape (d,). NaN where there is nothing to rank: no value, or no earlier one, or all are equal.
    """
    known = ~np.isnan(earlier)
    above = ((earlier > values) & known).sum(axis=0)
    equal = ((earlier == values) & known).sum(axis=0)
    ranked = known.sum(axis=0)
    p = (above + coin * (equal + 1)) / (ranked + 1)
    return np.where(np.isnan(values) | (equal == ranked), np.nan, p)


def log_bets(p: Numbers) -> Numbers:
    """Return the logs of the e-values of p-values: bets that they are small, of every strength at once.

    The mean over eps in (0, 1) of ``eps * p**(eps - 1)``; where p is NaN no bet is made.
    """
    bounded = np.clip(p, _SMALLEST_P, _LARGEST_P)
    log = np.log(bounded)
    return np.where(np.isnan(p), 0.0, np.log((1 - bounded + bounded * log) / (bounded * log**2)))


def log_bets_on_mean(surplus: float) -> Numbers:
    """Return the logs of the e-values of a mean that is so many standard errors above what is tolerated.

    Returns:
        Shape (4,): a detector for each size of a change; their mean is one detector.
    """
    return np.asarray(_SIZES * surplus - _SIZES**2 / 2)


def started(detectors: int | None = None) -> Numbers:
    """Return the log wealth of new detectors; of one on a mean without a number."""
    return np.full(len(_SIZES) if detectors is None else detectors, START)


def grown(log_wealth: Numbers, log_bets: Numbers) -> Numbers:
    """Return the log wealth after one more window."""
    return np.asarray(np.logaddexp(log_wealth, 0.0) + log_bets)


def mean_wealth(log_wealth: Numbers) -> float:
    """Return the log of the mean wealth of several detectors: that of one."""
    return float(np.logaddexp.reduce(log_wealth) - np.log(len(log_wealth)))


def alarmed(log_wealth: Numbers, weights: Numbers, run_length: float) -> npt.NDArray[np.bool_]:
    """Return which of several detectors raise an alarm, where all together may do so once in ``run_length``.

    Args:
        log_wealth: Shape (d,).
        weights: Shape (d,), which add up to 1: the share of the alarms that each may raise.
        run_length: The least mean number of windows between two false alarms of all.
    """
    return np.asarray(log_wealth >= alarm_at(weights, run_length))


def alarm_at(weights: Numbers, run_length: float) -> Numbers:
    """Return the log wealth at which each of several detectors raises an alarm, see ``alarmed``."""
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(run_length) - np.log(weights))


def dependence(series: Numbers) -> Numbers:
    """Return the correlation of each window with the next, without the bias of few windows.

    Args:
        series: Shape (n, d), by time.

    Returns:
        Shape (d,): r + (1 + 3 r) / n (Kendall 1954); 0 of what never changes.
    """
    there = ~np.isnan(series)
    known = np.maximum(there.sum(axis=0), 1)
    centred = np.where(there, series - np.where(there, series, 0.0).sum(axis=0) / known, 0.0)
    spread = (centred**2).sum(axis=0)
    together = (centred[1:] * centred[:-1]).sum(axis=0)
    r = np.divide(together, spread, out=np.zeros_like(spread), where=spread > 0)
    return np.where(spread > 0, r + (1 + 3 * r) / known, 0.0)
