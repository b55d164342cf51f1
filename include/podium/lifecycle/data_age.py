"""As of when the data of a version is: nobody shall take older data for newer without being told."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from podium.ledger import history
from podium.ledger.events import Event
from podium.names import Tag, version_name


def as_of(events: Sequence[Event], version: int | None) -> datetime | None:
    """Return the moment as of which a version was trained; None if its registration does not say."""
    registered = None if version is None else history.registration(events, version)
    try:
        moment = datetime.fromisoformat(str(registered and registered.details[Tag.AS_OF]))
    except (KeyError, ValueError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def describe_as_of(events: Sequence[Event], version: int | None) -> str:
    """Return ``, as of 2025-07-01`` for a version; "" if its registration does not say."""
    moment = as_of(events, version)
    return "" if moment is None else f", as of {moment:%Y-%m-%d}"


def is_older(events: Sequence[Event], version: int, other: int | None) -> bool:
    """Tell whether a version was trained on data as of an earlier moment than another; False if unknown."""
    mine, theirs = as_of(events, version), as_of(events, other)
    return mine is not None and theirs is not None and mine < theirs


def older_than_champion(events: Sequence[Event], version: int, champion: int | None) -> str:
    """Say that a version was trained on older data than the champion; "" if it was not."""
    if not is_older(events, version, champion):
        return ""
    return f"on older data than champion {version_name(champion)}{describe_as_of(events, champion)}"
