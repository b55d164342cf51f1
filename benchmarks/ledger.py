"""What the ledger costs at a million events, and live answers at a million rows: ``make bench-ledger``.

Real Postgres. The events are rows as the steps leave them, and ``podium verify`` calls them whole.
SIZE=100000 takes a tenth of the time. Ratios within one run count: the clock of a busy machine says little.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from time import perf_counter

import psycopg2
import sqlalchemy as sa

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from ledger_rows import aged, insert
from results import QUICK, Figure, at_most, keep
from rich.console import Console

from podium.ledger.chain import walk
from podium.ledger.events import Event, EventKind, NewEvent
from podium.ledger.live_answers import LiveStore, VersionOnTrial
from podium.ledger.store import Ledger, migrate
from podium.settings import PROJECT_ROOT
from podium.stack import control
from podium.stack.layout import Layout, Paths, load_layout
from podium.stack.running_stack import running_stack
from support.old_ledger import migrate_to

SIZE = int(os.environ.get("SIZE") or ("20000" if QUICK else "1000000"))
MODELS = 1_000
FEW = 1_000
APPENDS = 200
READ = min(100_000, SIZE // 2)
STATE = PROJECT_ROOT / ".podium" / "bench-ledger"
TRIAL = VersionOnTrial(1, 2)
ANSWER = '{"predictions":[[0.25,0.75]],"classes":["no","yes"]}'

console = Console()


def main() -> None:
    """Build, measure and print."""
    control.clean(Paths(STATE))
    with running_stack(STATE, console=console, parts={"postgres"}):
        if layout := load_layout(Paths(STATE)):
            ledger = Ledger(layout.ledger_url)
            keep("ledger", [*events(layout, ledger), migration(layout), *answers(layout, ledger)])


def events(layout: Layout, ledger: Ledger) -> list[Figure]:
    """Append, walk and read with few and with many events."""
    figures = []
    first = ledger.append(
        NewEvent(EventKind.REGISTERED, "toy", 1, run="lifecycle_toy/1", key="registered:toy:1")
    )
    appends = []
    for size in (FEW, SIZE):
        begun = perf_counter()
        insert(layout, islice(years(first, size), size - ledger.size()), checked=False)
        console.print(f"{ledger.size():,} events (made in {perf_counter() - begun:.0f} s)")
        appends.append(statistics.median(timed(lambda: append(ledger)) for _ in range(APPENDS)))
        console.print(f"  append: {appends[-1] * 1e3:.2f} ms")
        seconds = timed(lambda: console.print(f"  verify: {walk(ledger.stored()).difference or 'whole'}"))
        console.print(f"  verify: {ledger.size() / seconds:,.0f} events a second")
        read = timed(lambda: at_once(ledger))
        console.print(f"  history --at of one model: {read * 1e3:.1f} ms")
        figures += [
            Figure(f"append at {size:,} events", appends[-1] * 1e3, "ms"),
            Figure(f"verify at {size:,} events", ledger.size() / seconds, "events/s"),
            Figure(f"history --at of one model, {size:,} events", read * 1e3, "ms"),
        ]
    return [*figures, at_most(f"append at {SIZE:,} / at {FEW:,} events", appends[1] / appends[0], "x", 1.5)]


def years(first: Event, size: int) -> Iterator[Event]:
    """Yield the events of many models, one version of each after the other."""
    versions = size // MODELS
    for number in range(1, versions + 2):
        for model in range(MODELS):
            name = f"model-{size}-{model:03}"
            yield from aged(replace(first, model=name), name, range(number, number + 1))


def append(ledger: Ledger) -> None:
    """Record what each approval does."""
    ledger.append(
        NewEvent(EventKind.APPROVAL_GIVEN, "toy", 1, reason="good enough", details={"option": "Approve"})
    )


def at_once(ledger: Ledger) -> None:
    """Read what ``podium history MODEL --at`` shows first."""
    ledger.history(f"model-{FEW}-001", until=datetime.now(UTC) - timedelta(seconds=1), newest=50)


def migration(layout: Layout) -> Figure:
    """Time the migrations of a ledger that was left at revision 0006, before events had their indexes."""
    url = layout.ledger_owner_url
    with tempfile.TemporaryFile() as rows:
        with psycopg2.connect(url.replace("+psycopg2", "")) as connection:
            cursor = connection.cursor()
            cursor.copy_expert("COPY (SELECT * FROM ledger_events ORDER BY seq) TO STDOUT", rows)
            cursor.execute("DROP SCHEMA public CASCADE")
            cursor.execute("CREATE SCHEMA public")
            cursor.execute("GRANT USAGE ON SCHEMA public TO PUBLIC")
        migrate_to(url, "0006")
        rows.seek(0)
        with psycopg2.connect(url.replace("+psycopg2", "")) as connection:
            cursor = connection.cursor()
            cursor.execute("ALTER TABLE ledger_events DISABLE TRIGGER continue_ledger")
            cursor.copy_expert("COPY ledger_events FROM STDIN", rows)
            cursor.execute("ALTER TABLE ledger_events ENABLE TRIGGER continue_ledger")
    seconds = timed(lambda: migrate(url, app_role="podium", server_role="podium_server"))
    return Figure(f"migration from 0006 to the newest with {SIZE:,} events", seconds, "s")


def answers(layout: Layout, ledger: Ledger) -> list[Figure]:
    """Store, read and delete live answers."""
    url = layout.ledger_owner_url.replace("+psycopg2", "")
    begun = perf_counter()
    with psycopg2.connect(url) as connection:
        cursor = connection.cursor()
        cursor.execute(
            "INSERT INTO live_answers (model, request_id, at, rows, champion, candidate, champion_answers, "
            "candidate_answers) SELECT 'toy', md5(n::text), now() - n * interval '1 second', 1, 1, 2, %s, %s "
            "FROM generate_series(1, %s) n",
            (ANSWER, ANSWER, SIZE),
        )
        cursor.execute("ANALYZE live_answers")
        cursor.execute("SELECT pg_size_pretty(pg_total_relation_size('live_answers'))")
        (size,) = cursor.fetchone() or ("?",)
    console.print(f"{SIZE:,} live answers take {size} (stored in {perf_counter() - begun:.0f} s)")
    store = LiveStore(ledger)
    reading = timed(lambda: sum(1 for _ in islice(store.read("toy", TRIAL), READ)))
    engine = sa.create_engine(layout.ledger_owner_url)
    old = sa.text(
        "DELETE FROM live_answers WHERE (model, request_id) IN (SELECT model, request_id FROM live_answers "
        "WHERE model = 'toy' AND at < now() - :days * interval '1 second' ORDER BY at LIMIT 10000)"
    )
    with engine.begin() as connection:
        deleting = timed(lambda: connection.execute(old, {"days": SIZE // 2}))
    return [
        Figure(f"the newest {READ:,} of {SIZE:,} live answers read", reading, "s"),
        Figure("the oldest 10,000 live answers deleted", deleting, "s"),
    ]


def timed(call: Callable[[], object]) -> float:
    """Return the seconds that a call took."""
    begun = perf_counter()
    call()
    return perf_counter() - begun


if __name__ == "__main__":
    main()
