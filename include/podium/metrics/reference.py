"""What windows are held against: older training rows on bins, the newer ones as windows of the past."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import pandas as pd

from podium.metrics.bins import Bins, Counts, count, distance, make_bins, share_missing, shift
from podium.metrics.windows import Backtest, Window, backtest

MISSING = "missing "

# Says by a number how far a window's rows are from those of the reference.
Detector = Callable[[pd.DataFrame, pd.DataFrame], float]


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
class Measured:
    """How far one window is from the reference; holds no row.

    Attributes:
        window: When.
        rows: How many rows it had.
        distances: By stream; a stream that has none is left out.
        shifts: The same with a sign.
    """

    window: Window
    rows: int
    distances: Mapping[str, float] = field(default_factory=dict)
    shifts: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Reference:
    """What the windows of one version are held against.

    Attributes:
        columns: Features and answers, by name.
        past: Windows of the training data that are not in the reference.
        at_promotion: The mean loss on the version's holdout; None: there is no metric to say it by.
        unknown: Why there is no reference; "" if there is one.
        windows: The schedule of the windows.
        answers: Which of the columns are answers of the version.
        detectors: Own detectors, whose numbers the past windows have.
        metric: The metric that ``at_promotion`` is of.
        importance: By feature, by how much the loss rises where its values are shuffled; none: not known.
    """

    columns: Mapping[str, Column]
    past: Sequence[Measured]
    at_promotion: float | None = None
    unknown: str = ""
    windows: str = ""
    answers: Sequence[str] = ()
    detectors: Sequence[str] = ()
    metric: str = ""
    importance: Mapping[str, float] = field(default_factory=dict)

    @property
    def bins(self) -> dict[str, Bins]:
        """What each column is counted on."""
        return {name: column.bins for name, column in self.columns.items()}


def make_reference(
    frame: pd.DataFrame,
    times: pd.Series,
    schedule: str,
    detectors: Mapping[str, Detector] | None = None,
) -> Reference:
    """Make bins of the older half of the windows of some rows, and measure the newer half.

    Args:
        frame: Features or answers, (n, any), n >= 1.
        times: Shape (n,), their moments.
        schedule: A cron expression, in UTC.
        detectors: Own detectors by name.

    Raises:
        DataError: They make too many windows.
    """
    tested = backtest(times, schedule)
    pool = frame[tested.pool]
    columns = {}
    for name in frame:
        bins = make_bins(pool[name])
        columns[str(name)] = Column(bins, count(bins, pool[name]))
    own = dict(detectors or {})
    past = tuple(
        _measured_past(columns, tested, place, frame, pool, own) for place in range(len(tested.windows))
    )
    return Reference(columns, past, windows=schedule, detectors=tuple(own))


def with_answers(features: Reference, answers: Reference) -> Reference:
    """Add the answers of a version to its reference.

    They are of rows that the version was not trained on, so of fewer windows: what it answers to training
    rows is surer than what it answers later, and each later window would be taken for a change.

    Args:
        features: The reference of the features.
        answers: That of the answers, on the same schedule.
    """
    known = {seen.window: seen for seen in answers.past}
    past = tuple(
        replace(
            seen,
            distances={**seen.distances, **known[seen.window].distances},
            shifts={**seen.shifts, **known[seen.window].shifts},
        )
        if seen.window in known
        else seen
        for seen in features.past
    )
    columns = {**features.columns, **answers.columns}
    return replace(features, columns=columns, past=past, answers=tuple(answers.columns))


def count_rows(columns: Mapping[str, Column], frame: pd.DataFrame) -> dict[str, Counts]:
    """Count the rows of a window, or of a part of one, by column; columns that are not there are left out."""
    return {name: count(column.bins, frame[name]) for name, column in columns.items() if name in frame}


def add_counts(one: Mapping[str, Counts], other: Mapping[str, Counts]) -> dict[str, Counts]:
    """Return the counts of two parts of a window together, in the order of the first."""
    return {name: counted + other[name] for name, counted in one.items() if name in other}


def measure(columns: Mapping[str, Column], window: Window, counts: Mapping[str, Counts]) -> Measured:
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
    return Measured(window, rows, distances, shifts)


def _measured_past(  # noqa: PLR0913 - one window of a backtest
    columns: Mapping[str, Column],
    tested: Backtest,
    place: int,
    frame: pd.DataFrame,
    pool: pd.DataFrame,
    detectors: Mapping[str, Detector],
) -> Measured:
    rows = frame[tested.place == place]
    seen = measure(columns, tested.windows[place], count_rows(columns, rows))
    own = {name: detect(pool, rows) for name, detect in detectors.items()} if len(rows) else {}
    return replace(seen, distances={**seen.distances, **own}, shifts={**seen.shifts, **own})
