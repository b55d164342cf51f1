"""Is ``as_of`` far beyond the newest row? Then the newest days that are held out hold few rows, or none."""

from __future__ import annotations

import logging

import pandas as pd

from podium.errors import DataError
from podium.model_file.gates import RowsGate
from podium.model_file.metric_gate import Level
from podium.model_file.spec import ModelSpec
from podium.training.examples import DataWindow

log = logging.getLogger(__name__)

# Who trains each week has rows that are up to a week old.
_USUAL_DELAY = 7
# Of the holdout's days, or of all days of the rows.
_SMALL_SHARE = 0.1


def say_how_fresh(spec: ModelSpec, window: DataWindow) -> None:
    """Say in the log how old the newest row is; a warning where that leaves much of the holdout empty."""
    times = _times(window)
    if times.empty:
        return
    delay, days = _delay(window, times), spec.holdout.days
    usual = max(_USUAL_DELAY, _SMALL_SHARE * (days or (times.max() - times.min()).days))
    if delay <= usual:
        log.info("%s: the newest row is of %s.", spec.name, times.max().date())
        return
    log.warning("%s: %s. %s", spec.name, _stale(spec, window, times), _way_out(spec, times))


def refuse_a_stale_holdout(spec: ModelSpec, window: DataWindow) -> None:
    """Refuse to train what the gates would refuse for certain, because the rows end long before ``as_of``.

    Args:
        spec: The model file.
        window: What would be trained on and judged by.

    Raises:
        DataError: The holdout has fewer rows than a gate asks for, where it would have enough as of the day
            after the newest row; names that day.
    """
    asked = [gate for gate in spec.gates if isinstance(gate, RowsGate) and gate.level is Level.REQUIRED]
    needed = max((gate.min_holdout_rows for gate in asked), default=0)
    times = _times(window)
    if len(window.holdout) >= needed or times.empty or _delay(window, times) <= _USUAL_DELAY:
        return
    if spec.holdout.days is not None and _held_out(spec, times) >= needed:
        raise DataError(
            f"{spec.name}: {_stale(spec, window, times)}, and min_holdout_rows is {needed:,}. The gates "
            f"would refuse the version, so nothing was trained. {_way_out(spec, times)}"
        )


def stale_problem(spec: ModelSpec, window: DataWindow) -> str:
    """Say why the holdout has no row, and as of when it has some; "" where nobody knows."""
    times = _times(window)
    if times.empty or spec.holdout.days is None or len(window.holdout):
        return ""
    return f"{_stale(spec, window, times)}. {_way_out(spec, times)}"


def _times(window: DataWindow) -> pd.Series:
    times: pd.Series = pd.concat([window.train.time, window.holdout.time])
    return times.dropna()


def _delay(window: DataWindow, times: pd.Series) -> int:
    """Return the whole days between the newest row and ``as_of``."""
    return int((pd.Timestamp(window.as_of) - times.max()).days)


def _next_day(times: pd.Series) -> pd.Timestamp:
    return pd.Timestamp(times.max()).normalize() + pd.Timedelta(days=1)


def _held_out(spec: ModelSpec, times: pd.Series) -> int:
    """Return how many rows the holdout would have as of the day after the newest row."""
    return int((times >= _next_day(times) - pd.Timedelta(days=spec.holdout.days or 0)).sum())


def _stale(spec: ModelSpec, window: DataWindow, times: pd.Series) -> str:
    said = (
        f"as_of {window.as_of.date()} is {_delay(window, times):,} days after the newest labelled row of "
        f"{spec.data.source} ({times.max().date()})"
    )
    if spec.holdout.days is None:
        return said
    return f"{said}, so the {spec.holdout.describe()} before it hold {len(window.holdout):,} rows"


def _way_out(spec: ModelSpec, times: pd.Series) -> str:
    said = f"Bring newer rows, or run as of {_next_day(times).date()}"
    return said if spec.holdout.days is None else f"{said}, which holds out {_held_out(spec, times):,}"
