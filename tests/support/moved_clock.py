"""A clock that a test moves, for a model server in its own process: no minute has to be waited for."""

from __future__ import annotations

from datetime import datetime, tzinfo
from pathlib import Path


def follow(clock: Path) -> None:
    """Let the counting of this process take the moment in a file for now.

    Args:
        clock: A moment with a zone, in ISO 8601; the test replaces it.
    """
    from podium.serving import counting, served_model

    class Moved(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return datetime.fromisoformat(clock.read_text()).astimezone(tz)

    for module in (counting, served_model):
        module.datetime = Moved  # type: ignore[attr-defined]
