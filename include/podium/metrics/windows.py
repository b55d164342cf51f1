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
    # A schedule ticks at whole minutes, and croniter takes all seconds of one for its tick.
    minute = first.astimezone(UTC).replace(second=0, microsecond=0)
    is_tick = croniter.match(schedule, minute)
    ends = [minute if is_tick else croniter(schedule, minute).get_prev(datetime)]
    ticks = croniter(schedule, ends[0])
    while ends[-1] <= last:
        ends.append(ticks.get_next(datetime))
        if len(ends) > MOST_WINDOWS + 1:
            raise DataError(f"'{schedule}' makes more than {MOST_WINDOWS:,} windows of {first} to {last}")
    return tuple(Window(start, end) for start, end in itertools.pairwise(ends))


def is_one_of(schedule: str, window: Window) -> bool:
    """Whether a window is one of a schedule."""
    return windows_between(schedule, window.start, window.start)[0] == window


class Spread:
    """Which windows of a schedule moments are in; it knows those that have some, however far they are apart.

    Args:
        schedule: A cron expression, in UTC.
        since: Windows that begin before are left out.
        most: So many windows may have moments.

    Attributes:
        windows: By their numbers: those that had a moment.
    """

    def __init__(self, schedule: str, since: datetime, most: int = MOST_WINDOWS) -> None:
        (first,) = windows_between(schedule, since, since)
        self._schedule, self._most = schedule, most
        self._since = int((first.start if first.start == since else first.end).timestamp())
        self.windows: list[Window] = []
        # By time: where each window begins and ends, in seconds, and its number.
        self._starts, self._ends = np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
        self._numbers = np.empty(0, dtype=np.intp)

    def numbers(self, moments: pd.Series) -> npt.NDArray[np.intp]:
        """Return the number of each moment's window, -1 where it has none; as ``inside`` takes moments.

        Raises:
            DataError: They are in too many windows.
        """
        times = pd.to_datetime(moments, utc=True).to_numpy(dtype="datetime64[us]")
        # To the second below: windows begin at whole ones. No moment lies before all.
        seconds = times.view(np.int64) // 1_000_000
        asked = seconds >= self._since
        found = self._known(seconds)
        found[~asked] = -1
        if len(new := np.flatnonzero(asked & (found < 0))):
            self._meet(np.sort(seconds[new]))
            found[new] = self._known(seconds[new])
        return found

    def _known(self, seconds: npt.NDArray[np.int64]) -> npt.NDArray[np.intp]:
        if not self.windows:
            return np.full(len(seconds), -1, dtype=np.intp)
        at = np.maximum(np.searchsorted(self._starts, seconds, side="right") - 1, 0)
        inside_it = (seconds >= self._starts[at]) & (seconds < self._ends[at])
        return np.where(inside_it, self._numbers[at], -1)

    def _meet(self, seconds: npt.NDArray[np.int64]) -> None:
        """Look up the windows of moments, in ascending order, that are in none that is known."""
        while len(seconds):
            moment = datetime.fromtimestamp(int(seconds[0]), UTC)
            (window,) = windows_between(self._schedule, moment, moment)
            if len(self.windows) == self._most:
                raise DataError(f"its rows are in more than {self._most:,} windows of '{self._schedule}'")
            start, end = int(window.start.timestamp()), int(window.end.timestamp())
            place = int(np.searchsorted(self._starts, start))
            self._starts, self._ends = (
                np.insert(self._starts, place, start),
                np.insert(self._ends, place, end),
            )
            self._numbers = np.insert(self._numbers, place, len(self.windows))
            self.windows.append(window)
            seconds = seconds[np.searchsorted(seconds, end) :]


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
