"""Windows of time, and which training rows are the reference."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from podium.errors import DataError
from podium.metrics.windows import (
    Spread,
    Window,
    backtest,
    inside,
    is_one_of,
    newest_whole,
    season,
    windows_between,
)

DAILY = "0 0 * * *"


def day(number: int) -> datetime:
    return datetime(2026, 1, number, tzinfo=UTC)


def test_the_windows_of_a_schedule_hold_both_moments() -> None:
    found = windows_between(DAILY, day(1) + timedelta(hours=5), day(3))
    assert found == tuple(Window(day(number), day(number + 1)) for number in (1, 2, 3))
    assert windows_between(DAILY, day(1), day(1)) == (Window(day(1), day(2)),)


def test_the_hour_that_comes_twice_is_two_windows() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    first, second = (datetime(2026, 10, 25, 2, 30, tzinfo=berlin, fold=fold) for fold in (0, 1))
    found = windows_between("0 * * * *", first, second)
    assert [window.start.hour for window in found] == [0, 1]


@pytest.mark.parametrize(
    ("start", "end"), [(day(2), day(2)), (day(2), day(1)), (datetime(2026, 1, 1), day(2))]
)
def test_a_window_without_an_hour_or_a_time_zone_is_refused(start: datetime, end: datetime) -> None:
    with pytest.raises((DataError, TypeError), match="window|naive"):
        Window(start, end)


def test_windows_without_end_are_refused() -> None:
    with pytest.raises(DataError, match="more than 10,000 windows"):
        windows_between("* * * * *", day(1), day(20))


def test_the_older_half_is_the_reference_and_in_no_window() -> None:
    times = pd.Series([day(4), day(1), day(2), day(3) + timedelta(hours=23)])
    found = backtest(times, DAILY)
    assert found.pool.tolist() == [False, True, True, False]
    assert found.windows == (Window(day(3), day(4)), Window(day(4), day(5)))
    assert found.place.tolist() == [1, -1, -1, 0]


def test_windows_of_a_season_are_alike_in_utc() -> None:
    monday = Window(datetime(2026, 1, 5, tzinfo=UTC), datetime(2026, 1, 6, tzinfo=UTC))
    assert (season(monday, None), season(monday, "weekday"), season(monday, "month")) == (0, 0, 1)
    assert str(monday) == "2026-01-05 to 2026-01-06"


def test_the_newest_window_that_has_ended_is_the_one_before_the_moment() -> None:
    monday = datetime(2026, 11, 30, tzinfo=UTC)
    weekly = [newest_whole("0 0 * * 1", moment) for moment in (monday, monday + timedelta(hours=5))]
    assert [str(window) for window in weekly] == ["2026-11-23 to 2026-11-30"] * 2
    assert str(newest_whole("0 0 1 * *", monday)) == "2026-10-01 to 2026-11-01"


def test_a_window_begins_at_the_tick_and_not_at_a_moment_of_its_minute() -> None:
    moment = day(2) + timedelta(seconds=7)
    assert windows_between(DAILY, moment, moment) == (Window(day(2), day(3)),)
    assert newest_whole(DAILY, moment) == Window(day(1), day(2))
    assert is_one_of(DAILY, Window(day(1), day(2)))
    assert not is_one_of(DAILY, Window(day(1), day(3)))
    assert not is_one_of(DAILY, Window(moment, day(3)))


@given(
    st.lists(
        st.lists(st.none() | st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1)), min_size=1), max_size=3
    )
)
@pytest.mark.parametrize("schedule", [DAILY, "0 0 1 * *", "7,31 3-5 * * 1"])
def test_moments_are_in_the_windows_that_hold_them(
    schedule: str, chunks: list[list[datetime | None]]
) -> None:
    spread = Spread(schedule, day(1) + timedelta(hours=1))
    for chunk in chunks:
        moments = pd.Series(chunk, dtype="datetime64[us]")
        numbers = spread.numbers(moments)
        for moment, number in zip(moments, numbers, strict=True):
            if number >= 0:
                assert inside(pd.Series([moment]), spread.windows[number]).all()
                assert spread.windows[number].start >= day(1) + timedelta(hours=1)
                assert is_one_of(schedule, spread.windows[number])
            elif not pd.isna(moment):
                at = moment.to_pydatetime().replace(tzinfo=UTC)
                assert windows_between(schedule, at, at)[0].start < day(1) + timedelta(hours=1)
    assert len(set(spread.windows)) == len(spread.windows)


def test_moments_in_more_windows_than_may_be_are_refused() -> None:
    spread = Spread(DAILY, day(1), most=3)
    assert spread.numbers(pd.Series([day(3), day(1), day(20), day(3)])).tolist() == [1, 0, 2, 1]
    with pytest.raises(DataError, match=r"more than 3 windows of '0 0 \* \* \*'"):
        spread.numbers(pd.Series([day(4)]))
