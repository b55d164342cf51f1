"""What retention asks the ledger: of each version a few facts, never its whole history."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from podium.ledger.events import EventKind
from podium.ledger.history import CUSTODY, GATES
from podium.ledger.store import Ledger, outages


@dataclass(frozen=True)
class OnRecord:
    """What the ledger says of a registered version.

    Attributes:
        number: 1, 2, ...
        registered_at: When.
        run_id: Its training run; "" where it is not known.
        digest: Of its manifest.
        size: Of all its files, in bytes.
        files: How many they are.
        copied_here: It came from another registry, or was adopted.
        judged: The gates judged it here.
        copied_to: The registry that it was last copied to, or "".
        custody: What retention did last with it, one of ``history.CUSTODY``; None: nothing.
        custody_at: When that was.
        custody_by: Who did it.
        held_by: Who holds it, or "".
        held_for: Why it is held.
    """

    number: int
    registered_at: datetime
    run_id: str
    digest: str
    size: int
    files: int
    copied_here: bool
    judged: bool
    copied_to: str
    custody: EventKind | None
    custody_at: datetime | None
    custody_by: str
    held_by: str
    held_for: str


def _in(kinds: Collection[EventKind]) -> str:
    return "IN (" + ", ".join(f"'{kind}'" for kind in kinds) + ")"


# Each inner query reads the few events of one version by its index, newest first.
_NEWEST = "ORDER BY e.seq DESC LIMIT 1"
_OF_VERSION = "e.model = r.model AND e.version = r.version"
_VERSIONS = sa.text(f"""SELECT DISTINCT ON (r.version) r.version AS number, r.at AS registered_at,
    coalesce(r.details->>'mlflow_run', '') AS run_id,
    coalesce(r.details->>'manifest_digest', '') AS digest,
    (SELECT coalesce(sum((f->>'size')::bigint), 0)::bigint
        FROM json_array_elements(r.details->'manifest') f) AS size,
    json_array_length(r.details->'manifest') AS files,
    r.event = 'adopted' OR r.details->>'podium.copied_from' IS NOT NULL AS copied_here,
    EXISTS (SELECT FROM ledger_events e WHERE {_OF_VERSION} AND e.event {_in(tuple(GATES))}) AS judged,
    coalesce((SELECT e.details->>'target' FROM ledger_events e
        WHERE {_OF_VERSION} AND e.event = 'copied_to' {_NEWEST}), '') AS copied_to,
    c.event AS custody, c.at AS custody_at, coalesce(c.actor, '') AS custody_by,
    CASE WHEN h.event = 'held' THEN h.actor ELSE '' END AS held_by,
    CASE WHEN h.event = 'held' THEN h.reason ELSE '' END AS held_for
FROM ledger_events r
LEFT JOIN LATERAL (SELECT e.event, e.at, e.actor FROM ledger_events e
    WHERE {_OF_VERSION} AND e.event {_in(CUSTODY)} {_NEWEST}) c ON true
LEFT JOIN LATERAL (SELECT e.event, e.actor, e.reason FROM ledger_events e
    WHERE {_OF_VERSION} AND e.event IN ('held', 'hold_released') {_NEWEST}) h ON true
WHERE r.model = :model AND r.event IN ('registered', 'adopted', 'outside_move_accepted')
    AND json_typeof(r.details->'manifest') = 'array'
    AND (:every OR r.version = ANY (CAST(:numbers AS integer[])))
ORDER BY r.version, r.seq""")  # noqa: S608 - kinds of events
_GONE = sa.text("""SELECT model, version FROM ledger_events
WHERE model = ANY (CAST(:models AS text[])) AND event = 'deleted'""")
_NUMBERS = sa.text("""SELECT version FROM ledger_events
WHERE model = :model AND event IN ('registered', 'adopted') ORDER BY version DESC LIMIT :limit""")


def versions_on_record(ledger: Ledger, model: str, numbers: Sequence[int] | None = None) -> list[OnRecord]:
    """Return what the ledger says of versions of a model, by number; of None of all.

    Raises:
        Outage: The ledger did not answer.
    """
    asked = {"model": model, "every": numbers is None, "numbers": list(numbers or ())}
    with outages(), ledger.engine.connect() as connection:
        rows = connection.execute(_VERSIONS, asked).mappings().all()
    return [
        OnRecord(**{**row, "custody": None if row["custody"] is None else EventKind(row["custody"])})
        for row in rows
    ]


def newest_numbers(ledger: Ledger, model: str, limit: int) -> list[int]:
    """Return the numbers of the newest registered versions, newest first.

    Raises:
        Outage: The ledger did not answer.
    """
    with outages(), ledger.engine.connect() as connection:
        return list(connection.scalars(_NUMBERS, {"model": model, "limit": limit}))


def deleted_versions(ledger: Ledger, models: Collection[str]) -> set[tuple[str, int]]:
    """Return the versions of these models that retention deleted, by one query.

    Raises:
        Outage: The ledger did not answer.
    """
    with outages(), ledger.engine.connect() as connection:
        return {(model, number) for model, number in connection.execute(_GONE, {"models": list(models)})}


def now(ledger: Ledger) -> datetime:
    """Return the time of the ledger's database, by which all ages are counted.

    Raises:
        Outage: The ledger did not answer.
    """
    with outages(), ledger.engine.connect() as connection:
        moment: datetime = connection.scalar(sa.select(sa.func.clock_timestamp()))  # type: ignore[assignment]
    return moment
