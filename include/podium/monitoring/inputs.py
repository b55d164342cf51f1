"""Did inputs or answers move? How far each window is from a reference, among the windows before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from podium.metrics.answers import Numbers
from podium.metrics.detectors import alarmed, dependence, grown, log_bets, rank_p, started
from podium.metrics.reference import MISSING

LEAST_WINDOWS = 12
# Windows are compared with those of a fifth to five times their rows.
ROWS_ALIKE = 5
# Below so many the dependence between windows is not known well enough to act on an alarm alone.
DEPENDENCE_KNOWN = 50
MOST_DEPENDENCE = 0.7
# Of more than this share of the streams being too dependent, the others are taken for dependent too.
MOST_DEPENDENT = 0.1
# A detector that holds more than this share of what makes an alarm is suspicious: windows since then say
# nothing of the dependence, or the change itself would be taken for it.
_SUSPICIOUS = 0.01
# Of a feature's share of the alarms: what the share of its missing values may raise.
MISSING_SHARE = 0.1
_LEAST_OF_EQUAL = 0.1


@dataclass(frozen=True)
class Distances:
    """One window.

    Attributes:
        values: (d,), how far each stream is from the reference; NaN: there is none.
        shifts: (d,), the same with a sign, where there is one.
        season: Windows with an equal one are compared.
        rows: Windows of about as many rows are compared: of few rows the distance is great by chance.
    """

    values: Numbers
    shifts: Numbers
    season: int = 0
    rows: int = 1


@dataclass(frozen=True)
class Inputs:
    """What is known before a window.

    Attributes:
        values: (n, d), the distances of the windows without alarm.
        shifts: (n, d), the same with a sign.
        seasons: (n,), of the windows.
        rows: (n,), of the windows.
        epochs: (n,), how many alarms were before a window, or before the change that it belongs to.
        calm: How many of the windows, from the first one, are under no suspicion.
        log_wealth: (d,), of the detectors.
    """

    values: Numbers
    shifts: Numbers
    seasons: npt.NDArray[np.intp]
    rows: npt.NDArray[np.intp]
    epochs: npt.NDArray[np.intp]
    calm: int
    log_wealth: Numbers


@dataclass(frozen=True)
class InputsJudged:
    """What a window says.

    Attributes:
        p: (d,), its p-values; NaN: no bet was made.
        log_wealth: (d,), of the detectors with this window, before they start anew.
        alarmed: (d,), which raise an alarm.
        dependence: (d,), the correlation of each stream with the window before.
        not_judged: Why it is not judged; "" if it is.
        dependence_known: There are windows enough to say.
    """

    p: Numbers
    log_wealth: Numbers
    alarmed: npt.NDArray[np.bool_]
    dependence: Numbers
    not_judged: str
    dependence_known: bool


def first_inputs(streams: int) -> Inputs:
    """Return what is known before the first window of all."""
    none = np.empty((0, streams))
    no_number = np.empty(0, dtype=np.intp)
    return Inputs(none, none, no_number, no_number, no_number, 0, started(streams))


def with_past(inputs: Inputs, window: Distances) -> Inputs:
    """Return what is known with one more window that raised no alarm."""
    return replace(
        inputs,
        values=np.vstack([inputs.values, window.values]),
        shifts=np.vstack([inputs.shifts, window.shifts]),
        seasons=np.append(inputs.seasons, window.season),
        rows=np.append(inputs.rows, window.rows),
        epochs=np.append(inputs.epochs, inputs.epochs[-1:] if len(inputs.epochs) else 0),
        calm=len(inputs.values) + 1,
    )


def judge_inputs(
    inputs: Inputs, window: Distances, coin: Numbers, weights: Numbers, run_length: float
) -> InputsJudged:
    """Judge one window.

    Args:
        inputs: What is known before it.
        window: The window.
        coin: Shape (d,), see ``rank_p``.
        weights: Shape (d,), which add up to 1.
        run_length: The least mean number of windows between two false alarms.
    """
    depends = stream_dependence(inputs) if len(inputs.values) > 1 else np.zeros(len(weights))
    dependent = depends > MOST_DEPENDENCE
    similar = (inputs.rows <= window.rows * ROWS_ALIKE) & (inputs.rows * ROWS_ALIKE >= window.rows)
    if similar.sum() < LEAST_WINDOWS:
        of = "" if similar.all() else f" of about {window.rows:,} rows"
        return _unjudged(inputs, depends, f"{similar.sum()} past windows{of}, {LEAST_WINDOWS} are needed")
    if dependent.mean() > MOST_DEPENDENT:
        reason = (
            f"windows too dependent: lag-1 correlation up to {depends.max():.2f}, above {MOST_DEPENDENCE}"
        )
        return _unjudged(inputs, depends, f"{reason} in {dependent.sum()} of {len(dependent)} streams")
    p = rank_p(inputs.values[similar & (inputs.seasons == window.season)], window.values, coin)
    young = (~np.isnan(inputs.values[similar])).sum(axis=0) < LEAST_WINDOWS
    p = np.where(dependent | young, np.nan, p)
    log_wealth = grown(inputs.log_wealth, log_bets(p))
    raised = alarmed(log_wealth, weights, run_length)
    return InputsJudged(p, log_wealth, raised, depends, "", inputs.calm >= DEPENDENCE_KNOWN)


def after(
    inputs: Inputs, window: Distances, judged: InputsJudged, weights: Numbers, run_length: float
) -> Inputs:
    """Return what is known after a window; after an alarm the detectors start anew, without the window."""
    if judged.alarmed.any():
        changed = np.arange(len(inputs.epochs)) >= inputs.calm
        return replace(
            inputs,
            epochs=inputs.epochs + changed,
            calm=len(inputs.epochs),
            log_wealth=started(len(weights)),
        )
    suspicious = alarmed(judged.log_wealth, weights, _SUSPICIOUS * run_length).any()
    known = with_past(inputs, window)
    return replace(known, log_wealth=judged.log_wealth, calm=inputs.calm if suspicious else known.calm)


def stream_dependence(inputs: Inputs) -> Numbers:
    """Return the lag-1 correlation of each stream, shape (d,), apart from what seasons and alarms explain."""
    shifts = inputs.shifts[: inputs.calm].copy()
    alike = np.stack([inputs.seasons, inputs.epochs])[:, : inputs.calm]
    for group in np.unique(alike, axis=1).T:
        same = (alike == group[:, None]).all(axis=0)
        known = ~np.isnan(shifts[same])
        sums = np.where(known, shifts[same], 0.0).sum(axis=0)
        shifts[same] -= sums / np.maximum(known.sum(axis=0), 1)
    return dependence(shifts)


def shares(importance: Mapping[str, float], others: Sequence[str]) -> dict[str, float]:
    """Return the share of the alarms of each feature by its importance, and of each other stream.

    A feature has a tenth of an equal share at least; answers and own detectors have an equal one each.

    Args:
        importance: Of each feature; below zero counts as zero.
        others: Names of the other streams.
    """
    features = len(importance)
    bounded = {name: max(value, 0.0) for name, value in importance.items()}
    total = sum(bounded.values())
    rest = (1 - _LEAST_OF_EQUAL) * features
    by_name = {
        name: _LEAST_OF_EQUAL + (rest * value / total if total else 1 - _LEAST_OF_EQUAL)
        for name, value in bounded.items()
    }
    by_name |= dict.fromkeys(others, 1.0)
    return {name: share / (features + len(others)) for name, share in by_name.items()}


def stream_shares(
    importance: Mapping[str, float], answers: Sequence[str], detectors: Sequence[str] = ()
) -> dict[str, float]:
    """Return the share of the alarms of each stream: of each column its values and its missing ones.

    Args:
        importance: Of each feature, see ``shares``.
        answers: Names of answers.
        detectors: Names of own detectors, each a single stream.
    """
    by_stream = {}
    for name, share in shares(importance, [*answers, *detectors]).items():
        own = name in detectors
        by_stream[name] = share * (1 if own else 1 - MISSING_SHARE)
        if not own:
            by_stream[MISSING + name] = share * MISSING_SHARE
    return by_stream


def _unjudged(inputs: Inputs, depends: Numbers, reason: str) -> InputsJudged:
    streams = len(inputs.log_wealth)
    return InputsJudged(
        np.full(streams, np.nan),
        inputs.log_wealth,
        np.zeros(streams, dtype=bool),
        depends,
        reason,
        inputs.calm >= DEPENDENCE_KNOWN,
    )
