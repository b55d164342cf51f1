"""Whether a training may start by itself."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from podium.monitoring.retraining import Limits, why_not

NOW = datetime(2026, 5, 12, tzinfo=UTC)
DAY = timedelta(days=1)
LIMITS = Limits(most_a_week=2, cool_down=2 * DAY)


def test_one_may_start_where_none_was_before() -> None:
    assert why_not(LIMITS, NOW, [], None) == ""
    assert why_not(LIMITS, NOW, [NOW - 8 * DAY, NOW - 3 * DAY], NOW - 30 * DAY) == ""


def test_none_starts_in_the_cool_down_after_a_training_or_a_promotion() -> None:
    assert why_not(LIMITS, NOW, [NOW - DAY], None) == "cool-down of 2 days until 2026-05-13 00:00"
    assert "cool-down" in why_not(LIMITS, NOW, [], NOW - DAY)
    assert why_not(LIMITS, NOW, [NOW - 2 * DAY], None) == ""


def test_no_more_start_in_a_week_than_the_file_says() -> None:
    started = [NOW - 6 * DAY, NOW - 3 * DAY]
    assert why_not(LIMITS, NOW, started, None) == "2 trainings in seven days already, 2 at most"
    assert why_not(LIMITS, NOW + DAY, started, None) == ""
