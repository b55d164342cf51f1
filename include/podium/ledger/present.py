"""Where models stand now: of a history as few events as say the same of the present as all of them.

Their number grows with what happened to a model's candidate and since its newest nomination, not with its
versions. There is no second truth beside the events that could differ from them, and nothing to rebuild; see
docs/adr/0017-the-present-is-read-from-the-events.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from podium.ledger.events import CHAMPION_MOVES, EventKind
from podium.ledger.history import DECISIONS, GATES
from podium.model_file.profiles import Profile

# The newest moves of the champion: they hold the former champions that people go back to.
NEWEST_MOVES = 100
# Of many models at once: enough for the champion and the one before.
FEW_MOVES = 5
# Each nomination closes the requests before it, so that more are never open at once. Of many models at once
# each costs, and fewer are enough.
_NEWEST_REQUESTS, _FEW_REQUESTS = 50, 10
_FOR_EVER = 2**63 - 1
_NEWEST_OF_KIND = (
    EventKind.REGISTERED,
    EventKind.NOMINATED,
    EventKind.PROMOTION_STARTED,
    EventKind.ROLLBACK_STARTED,
    EventKind.MOVED_OUTSIDE,
    EventKind.REVERT_STARTED,
    EventKind.OUTSIDE_MOVE_REVERTED,
    EventKind.OUTSIDE_MOVE_ACCEPTED,
    EventKind.ADOPTED,
    EventKind.CHAMPION_ADOPTED,
    EventKind.WATCH_JUDGED,
    EventKind.WATCH_FROZE,
    EventKind.WATCH_SETTLED,
    EventKind.RAMP_STEP,
    EventKind.RAMP_ENDED,
    EventKind.RETENTION_CHECKED,
    EventKind.RETIRED,
    EventKind.RETIREMENT_UNDONE,
)
_REFUSALS = (EventKind.PROMOTION_REFUSED, EventKind.ROLLBACK_REFUSED)


def _in(kinds: Iterable[EventKind]) -> str:
    # Written out, not bound: so the database sees that a partial index holds them.
    return "IN (" + ", ".join(f"'{kind}'" for kind in kinds) + ")"


_MOVE, _DECISION = f"event {_in(CHAMPION_MOVES)}", f"event {_in(DECISIONS)}"
_JUDGED = f"event {_in((EventKind.REGISTERED, *GATES))}"
# One an hour may be judged for as long as a version serves, and none says where it stands.
_OF_VERSIONS = f"event <> '{EventKind.WINDOWS_JUDGED}'"
# Rows are compared, (model, seq) <= (...), and ordered by what one index holds: else Postgres likes to walk
# through the newest events of all models. OFFSET 0 lets it look up model by model, where it likes to join.
_OF_PROFILES = "\n    ".join(
    f"""UNION SELECT (SELECT CASE WHEN e.model = asked.model THEN e.seq END FROM ledger_events e
        WHERE {_JUDGED} AND strpos(canonical, '"profile":"{profile}"') > 0
        AND (e.model, e.seq) <= (asked.model, :until) ORDER BY e.model DESC, e.seq DESC LIMIT 1) FROM asked"""  # noqa: S608 - kinds of events and profiles
    for profile in Profile
)
_PICKED = f"""WITH asked AS (SELECT unnest(CAST(:models AS text[])) AS model),
newest AS (
    SELECT model, kind, (
        SELECT CASE WHEN e.model = asked.model AND e.event = kind THEN e.seq END FROM ledger_events e
        WHERE (e.model, e.event, e.seq) <= (asked.model, kind, :until)
        ORDER BY e.model DESC, e.event DESC, e.seq DESC LIMIT 1
    ) AS seq
    FROM asked, unnest(CAST(:kinds AS text[])) AS kind
),
nominated AS (
    SELECT e.model, e.seq, e.version, e.run, coalesce((
        SELECT CASE WHEN o.model = e.model AND o.event = 'nominated' THEN o.seq END FROM ledger_events o
        WHERE (o.model, o.event, o.seq) <= (e.model, 'nominated', e.seq)
        AND (o.version IS DISTINCT FROM e.version OR o.event <> 'nominated')
        ORDER BY o.model DESC, o.event DESC, o.seq DESC LIMIT 1
    ), 0) AS other
    FROM newest JOIN ledger_events e ON e.seq = newest.seq WHERE newest.kind = 'nominated'
),
begun AS (
    SELECT e.model, e.seq, e.run
    FROM newest JOIN ledger_events e ON e.seq = newest.seq
    WHERE newest.kind IN ('promotion_started', 'rollback_started')
),
requests AS (
    SELECT r.model, r.seq, r.run FROM asked CROSS JOIN LATERAL (
        SELECT e.model, e.event, e.seq, e.run FROM ledger_events e
        WHERE (e.model, e.event, e.seq) <= (asked.model, 'approval_requested', :until)
        ORDER BY e.model DESC, e.event DESC, e.seq DESC LIMIT :requests
    ) r
    WHERE r.model = asked.model AND r.event = 'approval_requested' AND NOT EXISTS (
        SELECT FROM ledger_events
        WHERE model = r.model AND run = r.run AND {_DECISION} AND seq > r.seq AND seq <= :until
    )
),
whole AS (
    SELECT asked.model, version FROM asked, unnest(CAST(:versions AS integer[])) AS version
),
asking AS (
    SELECT e.model, e.seq, e.run FROM nominated JOIN ledger_events e
        ON e.model = nominated.model AND e.version = nominated.version
        AND e.event = 'nominated' AND e.seq > other AND e.seq <= :until
    UNION SELECT e.model, e.seq, e.run FROM whole JOIN ledger_events e
        ON e.model = whole.model AND e.version = whole.version
        AND e.event = 'approval_requested' AND e.seq <= :until
),
picked AS (
    SELECT seq FROM newest
    UNION SELECT (
        SELECT CASE WHEN e.model = asked.model THEN e.seq END FROM ledger_events e
        WHERE (e.model, e.seq) <= (asked.model, :until) ORDER BY e.model DESC, e.seq DESC LIMIT 1
    ) FROM asked
    UNION SELECT m.seq FROM asked CROSS JOIN LATERAL (
        SELECT model, seq FROM ledger_events
        WHERE {_MOVE} AND (model, seq) <= (asked.model, :until) ORDER BY model DESC, seq DESC LIMIT :moves
    ) m WHERE m.model = asked.model
    UNION SELECT e.seq FROM begun JOIN ledger_events e
        ON e.model = begun.model AND e.run = begun.run AND e.event {_in(_REFUSALS)}
        AND e.seq > begun.seq AND e.seq <= :until
    UNION SELECT other FROM nominated
    UNION SELECT (
        SELECT CASE WHEN e.model = nominated.model THEN e.seq END FROM ledger_events e
        WHERE {_MOVE} AND (e.model, e.seq) < (nominated.model, other)
        ORDER BY e.model DESC, e.seq DESC LIMIT 1
    ) FROM nominated
    UNION SELECT m.seq FROM nominated CROSS JOIN LATERAL (
        SELECT e.seq FROM ledger_events e
        WHERE {_MOVE} AND e.model = nominated.model AND e.seq > other AND e.seq <= :until OFFSET 0
    ) m
    UNION SELECT e.seq FROM nominated JOIN ledger_events e
        ON e.model = nominated.model AND e.version = nominated.version
        AND (e.event = 'nominated' OR {_DECISION}) AND e.seq > other AND e.seq <= :until
    UNION SELECT e.seq FROM asking JOIN ledger_events e
        ON e.model = asking.model AND e.run = asking.run AND {_DECISION}
        AND e.seq > asking.seq AND e.seq <= :until
    UNION SELECT seq FROM requests
    UNION SELECT e.seq FROM requests JOIN ledger_events e
        ON e.model = requests.model AND e.run = requests.run AND e.event = 'nominated' AND e.seq <= :until
    UNION SELECT e.seq FROM whole JOIN ledger_events e
        ON e.model = whole.model AND e.version = whole.version AND e.seq <= :until AND {_OF_VERSIONS}
    UNION SELECT e.seq FROM whole JOIN ledger_events e
        ON e.model = whole.model AND e.from_version = whole.version AND {_MOVE} AND e.seq <= :until
    UNION SELECT e.seq FROM asked JOIN ledger_events e
        ON e.model = asked.model AND e.run = :run AND e.seq <= :until
    {_OF_PROFILES}
)
"""  # noqa: S608 - kinds of events
_UNTIL = sa.text("SELECT seq FROM ledger_events WHERE at <= :at ORDER BY at DESC, seq DESC LIMIT 1")


def last_until(connection: sa.Connection, at: datetime | None) -> int:
    """Return the number of the newest event up to and including a moment; of None a number above all."""
    return _FOR_EVER if at is None else connection.scalar(_UNTIL, {"at": at}) or 0


def present_events(  # noqa: PLR0913 - what is asked for, and how far
    connection: sa.Connection,
    columns: Sequence[sa.Column[Any]],
    models: Sequence[str],
    versions: Sequence[int],
    run: str | None,
    at: datetime | None,
    moves: int,
) -> sa.CursorResult[Any]:
    """Return the rows, in order, of the events that say where models stand; see ``Ledger.present``.

    Args:
        connection: Of the ledger database.
        columns: What to return of each event.
        models: The registered models.
        versions: Of these all events are returned, and all moves away from them.
        run: Of this Airflow run all events are returned.
        at: The moment; None: now.
        moves: How many of the newest moves of the champion are returned.
    """
    until = last_until(connection, at)
    names = ", ".join(f"ledger_events.{column.name}" for column in columns)
    statement = sa.text(
        f"{_PICKED}SELECT {names} FROM ledger_events "  # noqa: S608 - names of columns
        "WHERE seq = ANY (ARRAY(SELECT seq FROM picked)) ORDER BY seq"
    ).columns(*columns)
    return connection.execute(
        statement,
        {
            "models": list(models),
            "kinds": [str(kind) for kind in _NEWEST_OF_KIND],
            "versions": list(versions),
            "run": run,
            "until": until,
            "moves": moves,
            "requests": _FEW_REQUESTS if len(models) > 1 else _NEWEST_REQUESTS,
        },
    )


_NEWEST = """SELECT {names} FROM unnest(CAST(:models AS text[])) AS asked (model)
CROSS JOIN unnest(CAST(:kinds AS text[])) AS of_kind (kind) CROSS JOIN LATERAL (
    SELECT * FROM ledger_events e WHERE (e.model, e.event, e.seq) <= (asked.model, of_kind.kind, :until)
    ORDER BY e.model DESC, e.event DESC, e.seq DESC LIMIT :each
) found WHERE found.model = asked.model AND found.event = of_kind.kind ORDER BY found.seq"""


def newest_events(
    connection: sa.Connection,
    columns: Sequence[sa.Column[Any]],
    models: Sequence[str],
    kinds: Iterable[EventKind],
    each: int,
) -> sa.CursorResult[Any]:
    """Return the rows, in order, of the newest events of each kind of each model; see ``Ledger.newest``."""
    names = ", ".join(f"found.{column.name}" for column in columns)
    asked = {"models": list(models), "kinds": [str(kind) for kind in kinds], "until": _FOR_EVER}
    statement = sa.text(_NEWEST.format(names=names)).columns(*columns)
    return connection.execute(statement, {**asked, "each": each})
