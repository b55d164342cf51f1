"""What monitoring counted and judged: the table ``monitoring_evidence`` of the ledger's database.

Each row is named by its digest, and events of the ledger name the rows that count: a row that no event names
was left by a run that was killed. It holds counts and numbers, never a row of data.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from podium.errors import PodiumError
from podium.ledger.events import canonical_json
from podium.ledger.store import Ledger, outages

_AT_ONCE = 500
_TABLE = sa.table(
    "monitoring_evidence",
    *(sa.column(name) for name in ("digest", "model", "version", "starts", "ends", "content")),
)


@dataclass(frozen=True)
class Evidence:
    """One piece of evidence.

    Attributes:
        model: The registered model.
        version: The version that it is about.
        content: Canonical JSON.
        span: Of a window: its first moment, and the first one after it.
    """

    model: str
    version: int
    content: str
    span: tuple[datetime, datetime] | None = None

    @classmethod
    def of(
        cls,
        model: str,
        version: int,
        content: Mapping[str, Any],
        span: tuple[datetime, datetime] | None = None,
    ) -> Self:
        """Return a content as evidence."""
        return cls(model, version, canonical_json(content), span)

    @property
    def digest(self) -> str:
        """The sha256 of its content, by which it is found."""
        return hashlib.sha256(self.content.encode()).hexdigest()

    def read(self) -> dict[str, Any]:
        """Return its content."""
        found: dict[str, Any] = json.loads(self.content)
        return found


class EvidenceStore:
    """The evidence of all models.

    Args:
        ledger: In whose database it is.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._engine = ledger.engine

    def keep(self, evidence: Sequence[Evidence]) -> None:
        """Store evidence; what is there already stays as it is.

        Raises:
            Outage: The database did not answer.
            PodiumError: It has no such table, or does not take it.
        """
        rows = [
            {
                "digest": one.digest,
                "model": one.model,
                "version": one.version,
                "starts": one.span and one.span[0],
                "ends": one.span and one.span[1],
                "content": one.content,
            }
            for one in evidence
        ]
        if rows:
            with outages(), self._engine.begin() as connection:
                connection.execute(insert(_TABLE).on_conflict_do_nothing(), rows)

    def read(self, digests: Collection[str]) -> Iterator[tuple[str, Evidence]]:
        """Yield stored evidence with the digest that it is stored under, in bounded memory.

        Args:
            digests: What to read; what is not there is left out.

        Raises:
            Outage: The database did not answer.
        """
        wanted = sa.cast(sa.literal(sorted(digests), sa.ARRAY(sa.Text)), sa.ARRAY(sa.Text))
        query = sa.select(_TABLE).where(_TABLE.c.digest == sa.any_(wanted))
        with outages(), self._engine.connect() as connection:
            for row in connection.execution_options(yield_per=_AT_ONCE).execute(query):
                span = None if row.starts is None else (row.starts, row.ends)
                yield row.digest, Evidence(row.model, row.version, row.content, span)

    def one(self, digest: str) -> Evidence:
        """Return stored evidence.

        Raises:
            PodiumError: It is not there.
            Outage: The database did not answer.
        """
        for _, found in self.read([digest]):
            if found.digest == digest:
                return found
        raise PodiumError(f"the evidence {digest[:12]} is not in the ledger's database, or was changed")
