"""May a verdict start a training by itself? No more often than the model file says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

WEEK = timedelta(days=7)


@dataclass(frozen=True)
class Limits:
    """How often a model may be trained by itself.

    Attributes:
        most_a_week: Trainings in any seven days.
        cool_down: Time from one to the next, and from what the champion was trained on to the first.
    """

    most_a_week: int
    cool_down: timedelta


def why_not(limits: Limits, now: datetime, started: Sequence[datetime], trained: datetime | None) -> str:
    """Say why no training starts by itself now; "" if one may.

    Args:
        limits: What the model file says.
        now: The end of the window that asks for it.
        started: When those before were asked for.
        trained: As of when the champion was trained.
    """
    last = max([*started, *([] if trained is None else [trained])], default=None)
    if last is not None and now - last < limits.cool_down:
        return f"cool-down of {_days(limits.cool_down)} until {last + limits.cool_down:%Y-%m-%d %H:%M}"
    of_week = [moment for moment in started if now - moment < WEEK]
    if len(of_week) >= limits.most_a_week:
        return f"{len(of_week)} trainings in seven days already, {limits.most_a_week} at most"
    return ""


def _days(span: timedelta) -> str:
    return f"{span.days} days" if span >= timedelta(days=2) else f"{span.total_seconds() / 3600:g} hours"
