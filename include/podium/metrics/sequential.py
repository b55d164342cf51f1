"""Bounds on a mean that hold after every value at once, so that one may look as often as one likes.

Somebody doubts that a mean is ``m`` or more, and bets on each value that it is below. If the mean is ``m``
or more, no bets make money on average: the chance that the wealth, which starts at 1, is ever 1 / alpha is at
most alpha (Ville 1939). The means that the wealth refutes lie above a bound that holds after each value, with
one alpha for all of them (Waudby-Smith and Ramdas 2024, Estimating means of bounded random variables by
betting, arXiv 2010.09686; of mixtures: Howard, Ramdas, McAuliffe and Sekhon 2021, arXiv 1810.08240).

The capital is divided among fixed bets before the first value, so the wealth does not depend on the order of
the values. All functions take and return plain arrays and floats.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq

Numbers = npt.NDArray[np.float64]

# Shares of the largest bet that no value can ruin; half the capital is on the first, a quarter on the next.
_BETS = 0.9 * 0.5 ** np.arange(8)
_CAPITAL = 0.5 ** np.minimum(np.arange(1, 9), 7)


def log_wealth(values: Numbers, mean: float, highest: float) -> Numbers:
    """Return the log wealth, after each value, of somebody who bets that the mean is below ``mean``.

    Where the mean of each value, given those before it, is ``mean`` or more, it ever reaches log(1 / alpha)
    with a chance of at most alpha.

    Args:
        values: Shape (n,), each at most ``highest``.
        mean: The mean that is doubted; below ``highest``.
        highest: What no value exceeds.

    Returns:
        Shape (n,).
    """
    return _of_all_bets(_gains(values, mean, highest).cumsum(axis=1))


def upper_bound(values: Numbers, highest: float, alpha: float) -> float:
    """Return a bound that the mean exceeds at some moment of the stream with a chance of at most alpha.

    It depends on what values there are, not on their order. It asks for no distribution, only that no value
    exceeds ``highest``, and that each value, given those before it, has the mean.

    Args:
        values: Shape (n,), n >= 1: the stream so far.
        highest: What no value exceeds.
        alpha: The chance to be wrong at any moment; above 0, below 1.
    """
    middle = float(np.mean(values))
    room = highest - middle
    end = highest - 1e-9 * room

    def refuted_by(mean: float) -> float:
        return float(_of_all_bets(_gains(values, mean, highest).sum(axis=1)[:, None])[0] + np.log(alpha))

    # So little room is rounding: all values are the highest.
    if room <= 1e-12 * max(abs(highest), abs(middle)) or refuted_by(end) < 0:
        return float(highest)
    return float(brentq(refuted_by, middle, end, xtol=1e-12 * room))


def lower_bound(values: Numbers, lowest: float, alpha: float) -> float:
    """Return the bound from below, see ``upper_bound``; no value is below ``lowest``."""
    return -upper_bound(-values, -lowest, alpha)


def _gains(values: Numbers, mean: float, highest: float) -> Numbers:
    """Return what each bet gains by each value, as logs; shape (bets, n)."""
    return np.log1p(np.outer(_BETS, (mean - values) / (highest - mean)))


def _of_all_bets(logs: Numbers) -> Numbers:
    """Return the log of the whole wealth of that of each bet; shapes (bets, n) and (n,)."""
    return np.asarray(np.logaddexp.reduce(logs + np.log(_CAPITAL)[:, None], axis=0))
