"""What promote, roll back and status cost as a model and the number of models grow: ``make bench-growth``.

Real Postgres and MLflow. The first version of each model is trained and goes through the steps; the others
are rows, with the chain, tags and aliases that the steps would have left: ``podium verify`` calls them whole.
Printed are the processor time of this process, that of MLflow, Postgres and the store meanwhile, and the wall
time, which on a busy machine says little. The counts of queries are tests.
"""

from __future__ import annotations

import logging
import os
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter, process_time
from typing import NamedTuple

import psycopg2
import yaml
from airflow_stack import processor_seconds
from results import QUICK, Figure, at_most, keep
from rich.console import Console

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from ledger_rows import aged, insert, registration

from podium.ledger.chain import walk
from podium.lifecycle.registry_sync import mirror
from podium.lifecycle.verify import alias_differences, told_heads
from podium.model_file.loading import load_spec
from podium.model_file.spec import ModelSpec
from podium.names import Alias, Tag
from podium.reporting.status import model_statuses
from podium.services import Services, connect
from podium.settings import PROJECT_ROOT
from podium.stack import control
from podium.stack.layout import Layout, Paths, load_layout
from podium.stack.running_stack import running_stack
from support.steps import (
    FIRST,
    SECOND,
    TRAINED,
    decide,
    new_run,
    nominate_unjudged,
    promote,
    promote_as_of,
    roll_back,
    train,
)
from support.toy import TOY, write_toy_rows

SIZES = (10, 100) if QUICK else (10, 1_000, 10_000)
MODELS = 100 if QUICK else 1_000
REPEATS = 2 if QUICK else 5
MOVES = ("promote", "roll back")
OTHERS = [f"many-{number:04}" for number in range(MODELS)]

STATE = PROJECT_ROOT / ".podium" / "bench-growth"

console = Console()


class Seconds(NamedTuple):
    """What a call took: of this process, of the stack's parts, and on the clock."""

    here: float
    stack: float
    wall: float


def main() -> None:
    """Build, measure and print."""
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory(prefix="podium-growth-") as folder:
        control.clean(Paths(STATE))
        with running_stack(STATE, console=console, parts={"postgres", "mlflow"}) as stack:
            os.environ.update(stack.client_env())
            spec = toy(Path(folder))
            services = connect()
            TRAINED.update({as_of: train(services, spec, as_of) for as_of in (FIRST, SECOND)})
            if layout := load_layout(Paths(STATE)):
                keep("growth", [*measure(services, layout, spec), *many(services)])
                check(services)


def toy(folder: Path) -> ModelSpec:
    """Write the tests' smallest model."""
    write_toy_rows(folder / "toy.csv", "2024-01-01")
    data = {**TOY["data"], "source": str(folder / "toy.csv")}
    (folder / "toy.yaml").write_text(yaml.safe_dump({**TOY, "data": data}))
    return load_spec(folder / "toy.yaml")


def measure(services: Services, layout: Layout, spec: ModelSpec) -> list[Figure]:
    """Let models become old, and time promotions and rollbacks in turns; then beside many models."""
    old = {size: spec.model_copy(update={"name": f"toy-{size}"}) for size in SIZES}
    for size, aged_spec in old.items():
        promote_as_of(services, aged_spec, FIRST)
        grow(services, layout, aged_spec, size)
    # Beside each other, so that what else the machine does slows all; the first round warms the programs up.
    rounds = [[forth_and_back(services, old[size]) for size in SIZES] for _ in range(1 + REPEATS)][1:]
    figures: list[Figure] = []
    for at, what in enumerate(MOVES):
        found = {size: [one[place][at] for one in rounds] for place, size in enumerate(SIZES)}
        figures += compared(what, {f"{size:,} versions": seconds for size, seconds in found.items()})
    alone = [[forth_and_back(services, old[SIZES[0]]) for _ in range(REPEATS)]]
    fill(services, layout)
    alone.append([forth_and_back(services, old[SIZES[0]]) for _ in range(REPEATS)])
    names = (f"{len(SIZES)} models", f"{MODELS:,} models")
    for at, what in enumerate(MOVES):
        figures += compared(
            what, {name: [one[at] for one in some] for name, some in zip(names, alone, strict=True)}
        )
    return figures


def compared(what: str, found: dict[str, list[Seconds]]) -> list[Figure]:
    """Return the medians of a move at each size, and the largest size beside the smallest."""
    figures, busy = [], []
    for size, seconds in found.items():
        console.print(f"{what}, {size}: {told(seconds)}")
        middle = medians(seconds)
        busy.append(statistics.median(one.here + one.stack for one in seconds))
        figures += [
            Figure(f"{what}, {size}: processor, all programs", busy[-1], "s"),
            Figure(f"{what}, {size}", middle.wall, "s"),
        ]
    smallest, *_, largest = found
    return [
        *figures,
        at_most(f"{what}: processor at {largest} / at {smallest}", busy[-1] / busy[0], "x", 1.2),
    ]


def forth_and_back(services: Services, spec: ModelSpec) -> tuple[Seconds, Seconds]:
    """Return the processor and wall seconds of a promotion, and of the rollback after it."""
    run = new_run()
    nominate_unjudged(services, spec, SECOND, run)
    decide(services, spec, run)
    return timed(lambda: promote(services, spec, run)), timed(lambda: roll_back(services, spec))


def fill(services: Services, layout: Layout) -> None:
    """Record many other models, each of three versions."""
    first = registration(services, f"toy-{SIZES[0]}")
    insert(layout, (event for name in OTHERS for event in aged(first, name, range(1, 4))))


def many(services: Services) -> list[Figure]:
    """Time status with many models."""
    figures = []
    for few in (10, MODELS):
        seconds = [
            timed(lambda few=few: services.ledger.presents(OTHERS[:few], moves=5)) for _ in range(REPEATS)
        ]
        console.print(f"where {few:,} models stand: {told(seconds)}")
        figures.append(Figure(f"where {few:,} models stand", medians(seconds).wall, "s"))
    seconds = [timed(lambda: model_statuses(services)) for _ in range(REPEATS)]
    console.print(f"status of all: {told(seconds)}")
    middle = medians(seconds)
    return [
        *figures,
        Figure(f"status of {MODELS:,} models", middle.wall, "s"),
        at_most(f"status of {MODELS:,} models: processor of the command", middle.here, "s", 1.0),
    ]


def check(services: Services) -> None:
    """The rows are such as verify calls whole."""
    begun = perf_counter()
    names = [f"toy-{size}" for size in SIZES]
    chain = walk(services.ledger.stored(), told_heads(services, names))
    rate = chain.events / (perf_counter() - begun)
    console.print(f"verify: {chain.events:,} events, {rate:,.0f} a second; wrong: {chain.difference}")
    console.print(f"aliases: {[said for name in names for said in alias_differences(services, name)]}")


def grow(services: Services, layout: Layout, spec: ModelSpec, size: int) -> None:
    """Give a model of one version so many, each of which was champion."""
    insert(layout, aged(registration(services, spec.name), spec.name, range(2, size + 1)))
    url = layout.database_url("mlflow", "mlflow").replace("+psycopg2", "")
    with psycopg2.connect(url) as connection, connection.cursor() as cursor:
        for table in ("model_versions", "model_version_tags"):
            cursor.execute(
                "SELECT column_name FROM information_schema.columns "
                "WHERE table_name = %s AND column_name <> 'version'",
                (table,),
            )
            columns = ", ".join(f'"{name}"' for (name,) in cursor.fetchall())
            cursor.execute(
                f"INSERT INTO {table} (version, {columns}) SELECT n, {columns} FROM {table}, "  # noqa: S608
                "generate_series(2, %s) AS n WHERE name = %s AND version = 1",
                (size, spec.name),
            )
            # As the database does by itself after some minutes.
            cursor.execute(f"ANALYZE {table}")
    newest = services.ledger.history(spec.name, newest=1)[0]
    services.registry.set_model_tag(spec.name, Tag.MIRRORED, str(newest.seq))
    services.registry.set_alias(spec.name, Alias.CHAMPION, size)
    mirror(services, spec.name)


def timed(call: Callable[[], object]) -> Seconds:
    """Return processor seconds here and in the stack, and wall seconds."""
    begun, busy, theirs = perf_counter(), process_time(), processor_seconds(STATE)
    call()
    wall, here = perf_counter() - begun, process_time() - busy
    return Seconds(here, processor_seconds(STATE) - theirs, wall)


def medians(seconds: list[Seconds]) -> Seconds:
    """Return the medians of several calls."""
    return Seconds(*(statistics.median(values) for values in zip(*seconds, strict=True)))


def told(seconds: list[Seconds]) -> str:
    """Say the medians: processor time here + in the stack (wall time)."""
    middle = medians(seconds)
    return f"{middle.here:.2f} + {middle.stack:.2f} s ({middle.wall:.2f} s)"


if __name__ == "__main__":
    main()
