"""Windows of time, and which of a version's training rows are its reference."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from croniter import croniter

from podium.errors import DataError

Match = Literal["weekday", "month"]
MOST_WINDOWS = 10_000


@dataclass(frozen=True, order=True)
class Window:
    """A span of time; both ends with a time zone, so that no hour comes twice.

    Attributes:
        start: Its first moment.
        end: The first moment after it.
    """

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        """Refuse a window that is empty, or has no time zone."""
        if self.start.tzinfo is None or self.end.tzinfo is None:
            raise DataError(f"window {self.start} to {self.end}: a moment needs a time zone, such as +00:00")
        if self.start >= self.end:
            raise DataError(f"window {self.start} to {self.end}: it ends before it begins")

    def __str__(self) -> str:
        """Name it as messages do, in UTC."""
        ends = (self.start.astimezone(UTC), self.end.astimezone(UTC))
        days = all(moment.timetuple()[3:6] == (0, 0, 0) for moment in ends)
        return " to ".join(f"{moment:%Y-%m-%d}" if days else f"{moment:%Y-%m-%d %H:%M}" for moment in ends)


@dataclass(frozen=True)
class Backtest:
    """Training rows as the windows that would have been.

    Attributes:
        pool: (n,), which rows are the reference.
        windows: Those after the reference.
        place: (n,), the place of each row's window in ``windows``; -1 of the reference.
    """

    pool: npt.NDArray[np.bool_]
    windows: tuple[Window, ...]
    place: npt.NDArray[np.intp]


def season(window: Window, match: Match | None) -> int:
    """Return what a window has in common with those that it is compared to, by its start in UTC."""
    start = window.start.astimezone(UTC)
    return 0 if match is None else start.weekday() if match == "weekday" else start.month


def inside(times: pd.Series, window: Window) -> npt.NDArray[np.bool_]:
    """Return which moments are in a window; those without a zone are in UTC."""
    moments = pd.to_datetime(times, utc=True)
    return ((moments >= window.start) & (moments < window.end)).to_numpy(bool)


def windows_between(schedule: str, first: datetime, last: datetime) -> tuple[Window, ...]:
    """Return the windows of a schedule that hold two moments and all between them.

    Args:
        schedule: A cron expression, in UTC.
        first: The first moment.
        last: The last one.

    Raises:
        DataError: They are more than ``MOST_WINDOWS``.
    """
    ticks = croniter(schedule, first.astimezone(UTC))
    ends = [ticks.get_prev(datetime) if not croniter.match(schedule, first) else first.astimezone(UTC)]
    ticks = croniter(schedule, ends[0])
    while ends[-1] <= last:
        ends.append(ticks.get_next(datetime))
        if len(ends) > MOST_WINDOWS + 1:
            raise DataError(f"'{schedule}' makes more than {MOST_WINDOWS:,} windows of {first} to {last}")
    return tuple(Window(start, end) for start, end in itertools.pairwise(ends))


def newest_whole(schedule: str, moment: datetime) -> Window:
    """Return the newest window of a schedule that has ended at a moment.

    Args:
        schedule: A cron expression, in UTC.
        moment: With a zone.
    """
    end = windows_between(schedule, moment, moment)[0].start
    return Window(croniter(schedule, end).get_prev(datetime), end)


def backtest(times: pd.Series, schedule: str) -> Backtest:
    """Take the older half of the windows of some training rows as reference, the newer half as windows.

    A single window is the reference. A row of the reference is in none of the windows: they would be nearer
    to it than windows to come.

    Args:
        times: Shape (n,), n >= 1, the moment of each row; without a time zone they are in UTC.
        schedule: A cron expression, in UTC.

    Raises:
        DataError: They make too many windows.
    """
    moments = pd.to_datetime(times, utc=True)
    all_windows = windows_between(schedule, moments.min().to_pydatetime(), moments.max().to_pydatetime())
    older = max(1, len(all_windows) // 2)
    starts = pd.DatetimeIndex([window.start for window in all_windows])
    place = np.asarray(starts.searchsorted(pd.DatetimeIndex(moments), side="right") - 1 - older)
    return Backtest(place < 0, all_windows[older:], np.maximum(place, -1))
