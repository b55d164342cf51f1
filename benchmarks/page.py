"""What the page "Models" costs with 200 models, however many versions they have: ``make bench-page``.

A whole stack, and the page as Airflow's API server sends it to somebody who is logged in. One model is
trained and goes through the steps; the rest are copies of what these recorded, in the ledger and in MLflow:
``podium verify`` calls them whole. Ten models wait for a decision, two servers follow each. Statements are
counted in Postgres' log, of all databases; processor time is that of the API server, and beside it of
Postgres and MLflow.
"""

from __future__ import annotations

import os
import re
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

import psycopg2
import requests
from airflow_stack import airflow_stack, processor_seconds, write_toys
from ledger_rows import insert
from results import QUICK, Figure, at_most, keep
from rich.console import Console

from podium.ledger.chain import walk
from podium.ledger.events import Event, EventKind
from podium.ledger.servers import Served, tell
from podium.lifecycle import approval
from podium.model_file.loading import load_spec
from podium.model_file.spec import lifecycle_dag_id
from podium.names import Alias
from podium.services import Services, connect
from podium.stack.layout import Layout, Paths, load_layout
from podium.stack.parts import Part
from podium.stack.postgres import superuser_url
from podium.stack.running_stack import Stack
from support.steps import TRAINED, answer, new_run, nominate, promote, train
from support.toy import TOY

MODELS = 20 if QUICK else 200
# Versions of all models at last; `make bench` names fewer.
SIZE = int(os.environ.get("SIZE") or "200000")
# Versions of each model.
SIZES = (1, 10) if QUICK else (1, 50, SIZE // MODELS)
REQUESTS = 5
WAITING = 10
# The newest ones keep all that was recorded; older ones the kinds below, without details, which are large.
FULL = 40
OLD = (EventKind.REGISTERED, EventKind.GATES_PASSED, EventKind.APPROVED, EventKind.PROMOTED)
LIMIT_SECONDS = 600
GOAL_SECONDS = 1.0

console = Console()


class Cost(NamedTuple):
    """What one request took, a median of several.

    Attributes:
        wall: Seconds on the clock.
        here: Processor seconds of the API server.
        others: Of Postgres and MLflow.
        statements: By database role.
    """

    wall: float
    here: float
    others: float
    statements: dict[str, int]

    def __str__(self) -> str:
        """Say it in a line."""
        asked = ", ".join(f"{role} {number}" for role, number in sorted(self.statements.items()))
        return (
            f"{self.wall * 1e3:.0f} ms, processor {self.here * 1e3:.0f} ms + {self.others * 1e3:.0f} ms; "
            f"statements: {asked}"
        )


def main() -> None:
    """Build, measure and print."""
    names = [f"page-{number:03}" for number in range(MODELS)]
    with tempfile.TemporaryDirectory(prefix="podium-page-") as folder:
        models = write_toys(Path(folder), names)
        with airflow_stack("bench-page", models, console) as stack:
            if (layout := load_layout(Paths(stack.state_dir))) is None:
                raise SystemExit("the stack has no layout")
            wait_for_dags(layout, names)
            for part in (Part.DAG_PROCESSOR, Part.SCHEDULER, Part.TRIGGERER):
                stack.stop_part(part)
            services = connect()
            lived, waits = one_life(services, models / f"{names[0]}.yaml")
            keep("page", measured(stack, layout, services, names, (lived, waits)))
            check(services)


def wait_for_dags(layout: Layout, names: Sequence[str]) -> None:
    """Wait until Airflow knows the Dag of each model."""
    url, until = layout.database_url("airflow", "airflow").replace("+psycopg2", ""), time.monotonic()
    wanted = [lifecycle_dag_id(name) for name in names]
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        while True:
            cursor.execute("SELECT count(*) FROM dag WHERE dag_id = ANY (%s)", (wanted,))
            if cursor.fetchone() == (len(wanted),):
                return
            if time.monotonic() > until + LIMIT_SECONDS:
                raise SystemExit(f"the Dags are not there after {LIMIT_SECONDS} s")
            time.sleep(1)


def one_life(services: Services, model_file: Path) -> tuple[list[Event], list[Event]]:
    """Let a model have a champion and a version that waits; returns what was recorded of each."""
    # This process has no folder of its trainers.
    spec = load_spec(model_file).model_copy(update={"trainer": TOY["trainer"]})
    now = datetime.now(UTC)
    runs = []
    for days in (60, 30):
        as_of, run = now - timedelta(days=days), new_run()
        TRAINED[as_of] = train(services, spec, as_of)
        nominate(services, spec, as_of, run)
        request = approval.open_request(services, spec.approval, spec.name, run)
        if not runs:
            approval.judge(services, spec.approval, request, answer(who="approver"), None)
            promote(services, spec, run)
        runs.append(run)
    first, second = (services.ledger.of_run(spec.name, run) for run in runs)
    return first, second


def measured(
    stack: Stack,
    layout: Layout,
    services: Services,
    names: Sequence[str],
    recorded: tuple[list[Event], list[Event]],
) -> list[Figure]:
    """Let the models become old, and ask for the page at each age."""
    page = Page(stack, layout)
    figures: list[Figure] = []
    costs: list[Cost] = []
    for before, size in zip((0, *SIZES), SIZES, strict=False):
        insert(layout, grown(names[1:], recorded, before, size), checked=False)
        grow_registry(layout, names, size)
        for server in ("one:8000", "two:8000"):
            tell(services.ledger, server, 1, [Served(name, size, "") for name in names])
        costs.append(page.cost("models"))
        console.print(f"{MODELS} models, {MODELS * size:,} versions: {costs[-1]}")
        one = page.cost(f"models/{names[-1]}")
        console.print(f"  one of them: {one}")
        what = f"{MODELS} models, {MODELS * size:,} versions"
        figures += [
            at_most(f"{what}: page", costs[-1].wall, "s", GOAL_SECONDS),
            Figure(f"{what}: processor of the API server", costs[-1].here, "s"),
            Figure(f"{what}: processor of Postgres and MLflow", costs[-1].others, "s"),
            Figure(f"{what}: statements", sum(costs[-1].statements.values()), ""),
            Figure(f"page of one model with {size:,} versions", one.wall, "s"),
        ]
    most, least = (sum(costs[place].statements.values()) for place in (-1, 0))
    return [*figures, at_most("statements, most versions / fewest", most / least, "x", 1.0)]


def grown(
    names: Sequence[str], recorded: tuple[list[Event], list[Event]], before: int, size: int
) -> Iterator[Event]:
    """Yield what the steps record of versions that became champion one after the other, and of what waits."""
    lived, waits = recorded
    for place, model in enumerate(names):
        first = before + 1
        if place < WAITING and before:
            run = f"{lifecycle_dag_id(model)}/{first}-waits"
            yield replace(
                waits[-1], event=EventKind.SUPERSEDED, model=model, version=first, run=run,
                key=f"decision:{run}", details={},
            )  # fmt: skip
            first += 1
        for version in range(first, size + 1):
            yield from copied(lived, model, version, str(version), full=version > size - FULL)
        if place < WAITING:
            yield from copied(waits, model, size + 1, f"{size + 1}-waits", full=True)


def copied(events: Sequence[Event], model: str, version: int, run: str, *, full: bool) -> Iterator[Event]:
    """Yield the same events of another version, of another model."""
    run = f"{lifecycle_dag_id(model)}/{run}"
    for event in events:
        if not full and event.event not in OLD:
            continue
        key = f"{event.key.partition(':')[0]}:{run}" if event.key else None
        yield replace(
            event, model=model, version=version, from_version=version - 1 or None, run=run, key=key,
            details=event.details if full else {},
        )  # fmt: skip


def grow_registry(layout: Layout, names: Sequence[str], size: int) -> None:
    """Give each model in MLflow so many versions, and the champion's alias to the newest of them."""
    url = layout.database_url("mlflow", "mlflow").replace("+psycopg2", "")
    with psycopg2.connect(url) as connection, connection.cursor() as cursor:
        for table, but in (("registered_models", ""), ("model_versions", "version")):
            cursor.execute(
                "SELECT column_name FROM information_schema.columns "
                "WHERE table_name = %s AND column_name NOT IN ('name', %s)",
                (table, but),
            )
            rest = ", ".join(f'"{name}"' for (name,) in cursor.fetchall())
            some, numbers = (", version", ", n") if but else ("", "")
            cursor.execute(
                f"INSERT INTO {table} (name{some}, {rest}) "  # noqa: S608 - names of tables and columns
                f"SELECT other{numbers}, {rest} FROM {table}, unnest(%s) AS other, "
                "generate_series(1, %s) AS n "
                f"WHERE name = %s {'AND version = 1' if but else 'AND n = 1'} ON CONFLICT DO NOTHING",
                (list(names), size, names[0]),
            )
        cursor.execute("DELETE FROM registered_model_aliases WHERE name <> %s", (names[0],))
        cursor.execute(
            "INSERT INTO registered_model_aliases (workspace, name, alias, version) "
            "SELECT workspace, name, %s, %s FROM registered_models WHERE name <> %s",
            (str(Alias.CHAMPION), size, names[0]),
        )
        cursor.execute("ANALYZE")


class Page:
    """The pages of a stack, as its approver sees them."""

    def __init__(self, stack: Stack, layout: Layout) -> None:
        self._stack = stack
        self._session = requests.Session()
        login = {"username": "approver", "password": stack.passwords["approver"]}
        token = self._session.post(f"{stack.airflow_url}/auth/token", json=login, timeout=60).json()
        self._session.headers["Authorization"] = f"Bearer {token['access_token']}"
        with closing(psycopg2.connect(superuser_url(layout).replace("+psycopg2", ""))) as connection:
            connection.autocommit = True
            for setting in ("log_statement = 'all'", "log_line_prefix = '<%u> '"):
                connection.cursor().execute(f"ALTER SYSTEM SET {setting}")
            connection.cursor().execute("SELECT pg_reload_conf()")

    def cost(self, path: str) -> Cost:
        """Ask for a page several times."""
        self._get(path)
        self._get(path)
        costs = [self._cost(path) for _ in range(REQUESTS)]
        middle = [statistics.median(values) for values in zip(*(cost[:3] for cost in costs), strict=True)]
        fewest = min((cost.statements for cost in costs), key=lambda counted: sum(counted.values()))
        return Cost(*middle, fewest)

    def _cost(self, path: str) -> Cost:
        log = self._stack.logs / f"{Part.POSTGRES}.log"
        time.sleep(0.3)
        place = log.stat().st_size
        here, others, begun = (
            self._busy(Part.API_SERVER),
            self._busy(Part.POSTGRES, Part.MLFLOW),
            perf_counter(),
        )
        self._get(path)
        wall = perf_counter() - begun
        here, others = self._busy(Part.API_SERVER) - here, self._busy(Part.POSTGRES, Part.MLFLOW) - others
        time.sleep(0.3)
        with log.open() as file:
            file.seek(place)
            return Cost(wall, here, others, counted(file.read()))

    def _get(self, path: str) -> None:
        answer = self._session.get(f"{self._stack.airflow_url}/podium/{path}", timeout=120)
        answer.raise_for_status()
        for trouble in ("MLflow does not answer", 'data-state="cannot be read"', 'data-state="frozen"'):
            if (place := answer.text.find(trouble)) >= 0:
                raise SystemExit(f"{path}: ... {answer.text[max(0, place - 200) : place + 500]} ...")

    def _busy(self, *parts: Part) -> float:
        return processor_seconds(self._stack.state_dir, parts)


def counted(log: str) -> dict[str, int]:
    """Count the statements in a piece of Postgres' log by role, without those that only begin or end."""
    found: dict[str, int] = {}
    for role, statement in re.findall(r"^<(\w+)> LOG:  (?:statement|execute [^:]*): (.*)", log, re.MULTILINE):
        if not re.match(r"(BEGIN|COMMIT|ROLLBACK|SHOW|SET|SELECT 1$|;)", statement, re.IGNORECASE):
            found[role] = found.get(role, 0) + 1
    return found


def check(services: Services) -> None:
    """The rows are such as verify calls whole."""
    begun = perf_counter()
    chain = walk(services.ledger.stored())
    console.print(
        f"verify: {chain.events:,} events in {perf_counter() - begun:.0f} s; wrong: {chain.difference}"
    )


if __name__ == "__main__":
    main()
