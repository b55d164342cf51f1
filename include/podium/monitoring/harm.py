"""Does it hurt? The risk, by the labels that are here and a proxy for the others, against a tolerance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from podium.metrics.answers import Numbers
from podium.metrics.detectors import grown, log_bets_on_mean, mean_wealth, started
from podium.metrics.measures import MEANS
from podium.metrics.row_scores import loss_sign

LEAST_LABELS = 30
# Of a mean over few rows that happen to cost the same; else its standard error would be zero.
_LEAST_VARIANCE = 1e-6


@dataclass(frozen=True)
class Sums:
    """Sums over labelled rows, which add up over windows.

    Attributes:
        rows: How many rows.
        loss: Sum of their losses.
        proxy: Sum of their proxies, the losses that were expected without the label.
        loss_squared: Sum of squares.
        proxy_squared: The same of the proxies.
        product: Sum of loss times proxy.
    """

    rows: int = 0
    loss: float = 0.0
    proxy: float = 0.0
    loss_squared: float = 0.0
    proxy_squared: float = 0.0
    product: float = 0.0

    def __add__(self, other: Sums) -> Sums:
        """Add those of other rows."""
        return Sums(
            self.rows + other.rows,
            self.loss + other.loss,
            self.proxy + other.proxy,
            self.loss_squared + other.loss_squared,
            self.proxy_squared + other.proxy_squared,
            self.product + other.product,
        )


@dataclass(frozen=True)
class Losses:
    """What one window cost; holds no row.

    Attributes:
        labelled: Of the rows whose labels are here.
        rest: How many rows have none yet.
        rest_proxy: Sum of their proxies.
        rest_squared: Sum of the squares of these.
    """

    labelled: Sums
    rest: int = 0
    rest_proxy: float = 0.0
    rest_squared: float = 0.0

    def __add__(self, other: Losses) -> Losses:
        """Add those of other rows of the window."""
        return Losses(
            self.labelled + other.labelled,
            self.rest + other.rest,
            self.rest_proxy + other.rest_proxy,
            self.rest_squared + other.rest_squared,
        )


@dataclass(frozen=True)
class Harm:
    """What is known before a window.

    Attributes:
        earlier: Of all windows before it.
        log_wealth: (4,), of the detector.
    """

    earlier: Sums
    log_wealth: Numbers


@dataclass(frozen=True)
class HarmJudged:
    """What a window says.

    Attributes:
        risk: The estimated mean loss of all its rows; NaN: not judged.
        error: Its standard error.
        weight: How much the proxy counted.
        log_wealth: (4,), of the detector with this window, before it starts anew.
        alarmed: Whether it raises an alarm.
        not_judged: Why it is not judged; "" if it is.
    """

    risk: float
    error: float
    weight: float
    log_wealth: Numbers
    alarmed: bool
    not_judged: str


def first_harm() -> Harm:
    """Return what is known before the first window of all."""
    return Harm(Sums(), started())


def judge_harm(harm: Harm, window: Losses, tolerated: float, run_length: float) -> HarmJudged:
    """Judge one window.

    Args:
        harm: What is known before it.
        window: The window.
        tolerated: The mean loss that is tolerated, see ``tolerated_loss``.
        run_length: The least mean number of windows between two false alarms, for a risk that is tolerated.
    """
    labelled = window.labelled.rows
    if labelled < LEAST_LABELS:
        nan = float("nan")
        return HarmJudged(nan, nan, nan, harm.log_wealth, alarmed=False, not_judged=_too_few(window))
    weight = proxy_weight(harm.earlier, labelled, window.rest)
    risk, error = estimated_risk(window, weight)
    log_wealth = grown(harm.log_wealth, log_bets_on_mean((risk - tolerated) / error))
    raised = mean_wealth(log_wealth) >= np.log(run_length)
    return HarmJudged(risk, error, weight, log_wealth, bool(raised), "")


def after(harm: Harm, window: Losses, judged: HarmJudged) -> Harm:
    """Return what is known after a window; after an alarm the detector starts anew."""
    return Harm(harm.earlier + window.labelled, started() if judged.alarmed else judged.log_wealth)


def proxy_weight(earlier: Sums, labelled: int, rest: int) -> float:
    """Return how much a proxy counts, by the windows before alone, so that the estimate has no bias.

    It makes the variance of the estimate least (Angelopoulos, Duchi and Zrnic 2023, PPI++, arXiv 2311.01453).

    Args:
        earlier: Of the windows before; without any the weight is 1.
        labelled: Rows of this window with a label.
        rest: Those without.
    """
    if not rest:
        return 0.0
    if earlier.rows < 2:
        return 1.0
    spread = _covariance(earlier.rows, earlier.proxy, earlier.proxy, earlier.proxy_squared)
    together = _covariance(earlier.rows, earlier.loss, earlier.proxy, earlier.product)
    return together / spread / (1 + labelled / rest) if spread > 0 else 0.0


def estimated_risk(window: Losses, weight: float) -> tuple[float, float]:
    """Return the mean loss of all rows of a window, and its standard error.

    The mean over the labelled rows, mended by what the proxy says of the others (prediction-powered).
    """
    here = window.labelled
    loss = _covariance(here.rows, here.loss, here.loss, here.loss_squared)
    proxy = _covariance(here.rows, here.proxy, here.proxy, here.proxy_squared)
    together = _covariance(here.rows, here.loss, here.proxy, here.product)
    variance = max(loss - 2 * weight * together + weight**2 * proxy, _LEAST_VARIANCE) / here.rows
    risk = here.loss / here.rows
    if weight and window.rest > 1:
        rest = _covariance(window.rest, window.rest_proxy, window.rest_proxy, window.rest_squared)
        variance += weight**2 * max(rest, 0.0) / window.rest
        risk += weight * (window.rest_proxy / window.rest - here.proxy / here.rows)
    return risk, float(np.sqrt(variance))


def losses(values: Numbers, labelled_proxies: Numbers, rest_proxies: Numbers) -> Losses:
    """Return what is kept of a window.

    Args:
        values: Shape (n,), the losses of the labelled rows.
        labelled_proxies: Shape (n,), their proxies.
        rest_proxies: Shape (m,), the proxies of the others.
    """
    sums = Sums(
        len(values),
        float(values.sum()),
        float(labelled_proxies.sum()),
        float(values @ values),
        float(labelled_proxies @ labelled_proxies),
        float(values @ labelled_proxies),
    )
    return Losses(sums, len(rest_proxies), float(rest_proxies.sum()), float(rest_proxies @ rest_proxies))


def tolerated_loss(metric: str, at_promotion: float, tolerance: float) -> float:
    """Return the mean loss at which a metric is so much worse than at promotion.

    Args:
        metric: The metric.
        at_promotion: Its mean loss at promotion, as ``row_losses`` has it.
        tolerance: By how much the metric may be worse; zero or more.
    """
    sign = loss_sign(metric)
    return float(sign * MEANS[metric].undo(shown_risk(metric, at_promotion) + sign * tolerance))


def shown_risk(metric: str, loss: float) -> float:
    """Return the metric of a mean loss, as people know it."""
    return float(MEANS[metric].finish(loss_sign(metric) * loss))


def _covariance(rows: int, one: float, other: float, product: float) -> float:
    """Return the covariance by sums; of one row 0."""
    return (product - one * other / rows) / (rows - 1) if rows > 1 else 0.0


def _too_few(window: Losses) -> str:
    labelled, rows = window.labelled.rows, window.labelled.rows + window.rest
    if not rows:
        return "no rows"
    return f"labels of {labelled / rows:.0%} of its rows are here: {labelled} rows, {LEAST_LABELS} are needed"
