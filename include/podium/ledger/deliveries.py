"""Which channel was told of what, and what went wrong: the table ``notices`` of the ledger's database."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import distinct_on

from podium.ledger.store import Ledger, outages

_LONGEST_ERROR = 1_000
_NOTICES = sa.table("notices", *(sa.column(name) for name in ("number", "notice", "channel", "error", "at")))


class Failure(NamedTuple):
    """What went wrong with a channel at last."""

    channel: str
    at: datetime
    error: str


class Deliveries:
    """What channels were told.

    Args:
        ledger: The ledger, in whose database the table is.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._engine = ledger.engine

    def told(self, notices: Collection[str]) -> set[tuple[str, str]]:
        """Return which of these notices were told to which channel, as pairs.

        Raises:
            Outage: The ledger's database did not answer.
        """
        query = sa.select(_NOTICES.c.notice, _NOTICES.c.channel).where(
            _NOTICES.c.notice.in_(list(notices)), _NOTICES.c.error == ""
        )
        with outages(), self._engine.connect() as connection:
            return {(notice, channel) for notice, channel in connection.execute(query)}

    def note(self, notice: str, channel: str, error: str = "") -> None:
        """Record that a channel was told, or why not; the same failure again adds no row.

        Raises:
            Outage: The ledger's database did not answer.
        """
        error = error.replace("\0", "")[:_LONGEST_ERROR]
        with outages(), self._engine.begin() as connection:
            newest: str | None = connection.scalar(
                sa.select(_NOTICES.c.error)
                .where(_NOTICES.c.channel == channel)
                .order_by(_NOTICES.c.number.desc())
                .limit(1)
            )
            if error and newest == error:
                return
            row = {"notice": notice, "channel": channel, "error": error}
            connection.execute(sa.insert(_NOTICES), row)

    def failures(self, channels: Collection[str]) -> list[Failure]:
        """Return of which channels the newest try failed, and how.

        Raises:
            Outage: The ledger's database did not answer.
        """
        newest = (
            sa.select(_NOTICES.c.channel, _NOTICES.c.at, _NOTICES.c.error)
            .ext(distinct_on(_NOTICES.c.channel))
            .where(_NOTICES.c.channel.in_(list(channels)))
            .order_by(_NOTICES.c.channel, _NOTICES.c.number.desc())
        )
        with outages(), self._engine.connect() as connection:
            rows = connection.execute(newest).all()
        return [Failure(*row) for row in rows if row.error]
