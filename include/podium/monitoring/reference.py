"""What windows are held against: the older training rows on bins, the newer ones as windows of the past."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from podium.metrics.bins import Bins, Counts, count, distance, make_bins, share_missing, shift
from podium.monitoring.inputs import MISSING_SHARE, shares
from podium.monitoring.journal import Observation
from podium.monitoring.windows import Window, backtest

MISSING = "missing "


@dataclass(frozen=True)
class Column:
    """One column of the reference.

    Attributes:
        bins: What it is counted on.
        counts: Of the reference.
    """

    bins: Bins
    counts: Counts


@dataclass(frozen=True)
class Reference:
    """What the windows of one version are held against.

    Attributes:
        columns: Features and answers, by name.
        past: Windows of the training data that are not in the reference.
        at_promotion: The mean loss on the version's holdout; None: nobody asks whether it hurts.
        unknown: Why there is no reference; "" if there is one.
    """

    columns: Mapping[str, Column]
    past: Sequence[Observation]
    at_promotion: float | None = None
    unknown: str = ""


def make_reference(frame: pd.DataFrame, times: pd.Series, schedule: str) -> Reference:
    """Make bins of the older half of the windows of some training rows, and observe the newer half.

    Args:
        frame: Features and answers of the training rows, (n, any), n >= 1.
        times: Shape (n,), their moments.
        schedule: A cron expression, in UTC.

    Raises:
        DataError: They make too many windows.
    """
    tested = backtest(times, schedule)
    pool = frame[tested.pool]
    columns = {}
    for name in frame:
        bins = make_bins(pool[name])
        columns[str(name)] = Column(bins, count(bins, pool[name]))
    past = tuple(
        observe(columns, window, count_rows(columns, frame[tested.place == place]))
        for place, window in enumerate(tested.windows)
    )
    return Reference(columns, past)


def count_rows(columns: Mapping[str, Column], frame: pd.DataFrame) -> dict[str, Counts]:
    """Count the rows of a window, or of a part of one, by column; columns that are not there are left out."""
    return {name: count(column.bins, frame[name]) for name, column in columns.items() if name in frame}


def add_counts(one: Mapping[str, Counts], other: Mapping[str, Counts]) -> dict[str, Counts]:
    """Return the counts of two parts of a window together."""
    return {name: one[name] + other[name] for name in one.keys() & other.keys()}


def observe(columns: Mapping[str, Column], window: Window, counts: Mapping[str, Counts]) -> Observation:
    """Return how far a window is from the reference.

    Args:
        columns: The reference.
        window: When.
        counts: Of each column that is there.
    """
    distances: dict[str, float] = {}
    shifts: dict[str, float] = {}
    for name, counted in counts.items():
        bins, reference = columns[name].bins, columns[name].counts
        distances[name] = distance(bins, reference, counted)
        shifts[name] = shift(bins, reference, counted)
        shifts[MISSING + name] = share_missing(counted) - share_missing(reference)
        distances[MISSING + name] = abs(shifts[MISSING + name])
    rows = int(next(iter(counts.values())).sum()) if counts else 0
    return Observation(window, rows, distances, shifts)


def stream_shares(importance: Mapping[str, float], others: Sequence[str]) -> dict[str, float]:
    """Return the share of the alarms of each stream: of each column its values and its missing ones.

    Args:
        importance: Of each feature, see ``shares``.
        others: The names of answers and own detectors.
    """
    by_stream = {}
    for name, share in shares(importance, others).items():
        by_stream[name] = share * (1 - MISSING_SHARE)
        by_stream[MISSING + name] = share * MISSING_SHARE
    return by_stream
