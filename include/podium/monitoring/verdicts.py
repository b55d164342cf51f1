"""What is said of a window: light to import, for whoever only reads what is on record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Said(StrEnum):
    """What a verdict says. There is none that says that nothing changed: that can not be known."""

    NOTHING_SEEN = "nothing seen"
    MOVED = "moved"
    RETRAIN = "retrain"
    BROKEN = "broken data"
    NOT_JUDGED = "not judged"


# The most urgent first. Where one of two questions has an answer, it counts.
_URGENCY = (Said.BROKEN, Said.RETRAIN, Said.MOVED, Said.NOTHING_SEEN, Said.NOT_JUDGED)


@dataclass(frozen=True)
class Verdict:
    """The answer to one question about one window.

    Attributes:
        said: The answer.
        reason: Why, in a sentence that may follow a colon; "" where nothing was seen.
    """

    said: Said
    reason: str = ""

    @property
    def urgency(self) -> int:
        """0 of what asks for most."""
        return _URGENCY.index(self.said)


def worst_of(whole: Verdict, moved: Verdict, hurts: Verdict) -> Verdict:
    """Return the verdict that asks for most. That whole data was seen says nothing of the other questions."""
    asked = (moved, hurts) if whole.said is Said.NOTHING_SEEN else (whole,)
    return min(asked, key=lambda verdict: verdict.urgency)


# What somebody should look at.
ALARMS = (Said.RETRAIN, Said.MOVED, Said.BROKEN)


def alarms_in(details: Mapping[str, Any]) -> list[str]:
    """Return what the details of an event ``windows_judged`` say that somebody should look at."""
    return [str(window["said"]) for window in details.get("windows", ()) if window["said"] in ALARMS]
