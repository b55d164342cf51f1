"""How many workers, schedulers and database connections a fleet of models needs: ``make bench-fleet``.

The fleet model is the function ``needed``: from what one lifecycle costs to what many of them a week need.
The costs are those of some toy models, one after the other, on an embedded stack. From them ``together``
predicts a real run of many toy models, all started at once on LocalExecutor, and is compared with it.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import psutil
import psycopg2
from airflow_stack import airflow_stack, answered_at_once, approve_if_asked, people, write_toys
from results import QUICK, Figure, keep
from rich.console import Console
from rich.table import Table

from podium.errors import PodiumError
from podium.ledger.events import EventKind
from podium.model_file.loading import find_spec
from podium.model_file.spec import ModelSpec
from podium.operations.airflow_client import AirflowClient
from podium.services import Services, connect
from podium.stack import control
from podium.stack.layout import Layout, Paths, load_layout
from podium.stack.parts import Part
from podium.stack.rehearsal import unpaused
from podium.stack.running_stack import Stack

ALONE, TOGETHER = (1, 4) if QUICK else (5, 50)
LIMIT_SECONDS = 900
FLEET, WEEK_HOURS = 1_000, 168.0
SLOTS = 4
CORES = psutil.cpu_count() or 1
# How busy a worker slot or a program may be on average, so that what comes at once does not wait long.
BUSY = 0.7
TRAINING_SECONDS = 600.0

console = Console(width=120)


@dataclass(frozen=True)
class Costs:
    """What one lifecycle costs, and what the programs hold.

    Attributes:
        slot: Seconds that its tasks hold a worker slot.
        tasks: Processor seconds of its tasks.
        scheduler: Processor seconds of the scheduler.
        api: Processor seconds of Airflow's API server.
        mlflow: Processor seconds of the MLflow server.
        postgres: Processor seconds of Postgres.
        idle_connections: Connections to Postgres that the programs hold while nothing runs.
        slot_connections: Connections more for each slot that is in use.
    """

    slot: float
    tasks: float
    scheduler: float
    api: float
    mlflow: float
    postgres: float
    idle_connections: float
    slot_connections: float

    @property
    def processor(self) -> float:
        """Return the processor seconds of all programs together."""
        return self.tasks + self.scheduler + self.api + self.mlflow + self.postgres


@dataclass(frozen=True)
class Needs:
    """What a fleet needs: slots of workers, programs of each kind, and connections to Postgres."""

    slots: int
    cores: int
    schedulers: int
    api_servers: int
    mlflow_workers: int
    connections: int


def needed(costs: Costs, models: int, hours: float) -> Needs:
    """Return what so many lifecycles need that start evenly within so many hours.

    Args:
        costs: Of one lifecycle.
        models: How many lifecycles there are.
        hours: Within which they all run.
    """
    rate = models / (hours * 3600)

    def count(seconds: float) -> int:
        return max(1, math.ceil(round(rate * seconds / BUSY, 6)))

    slots, schedulers = count(costs.slot), count(costs.scheduler)
    # Programs of which there are more hold as many connections again.
    programs = costs.idle_connections * max(schedulers, count(costs.api), count(costs.mlflow))
    return Needs(
        slots,
        count(costs.tasks),
        schedulers,
        count(costs.api),
        count(costs.mlflow),
        math.ceil(programs + slots * costs.slot_connections),
    )


def together(costs: Costs, models: int, slots: int, cores: int) -> float:
    """Return the seconds that so many lifecycles take that start at once on one machine.

    The scarcer of the two, slots or cores, is always in use; the last of them still has its way to go.
    """
    return max(models * costs.slot / slots, models * costs.processor / cores, costs.slot)


def main() -> None:
    """Measure the costs, predict, run for real, and keep the figures."""
    with tempfile.TemporaryDirectory(prefix="podium-fleet-") as name:
        names = [f"toy-{number:03}" for number in range(ALONE + TOGETHER)]
        models = write_toys(Path(name), names)
        settings = {
            "AIRFLOW__CORE__PARALLELISM": str(SLOTS),
            "AIRFLOW__CORE__MAX_ACTIVE_TASKS_PER_DAG": str(SLOTS),
        }
        with airflow_stack("bench-fleet", models, console, settings) as stack:
            specs = [find_spec(models, name) for name in names]
            admin, operator, approver = people(stack)
            with unpaused(admin, *(spec.lifecycle_dag_id for spec in specs)):
                fleet = Fleet(stack, connect(), operator, approver)
                costs = fleet.alone(specs[:ALONE])
                seconds, used = fleet.together(specs[ALONE:])
    show(costs)
    keep("fleet", [*checked(costs, seconds, used), *sized(costs)])


class Fleet:
    """Lifecycles on one stack, and what they cost."""

    def __init__(
        self, stack: Stack, services: Services, operator: AirflowClient, approver: AirflowClient
    ) -> None:
        layout = load_layout(Paths(stack.state_dir))
        if layout is None:
            raise PodiumError(f"there is no stack in {stack.state_dir}")
        self.stack, self.layout, self.services = stack, layout, services
        self.operator, self.approver = operator, approver

    def alone(self, specs: list[ModelSpec]) -> Costs:
        """Run lifecycles one after the other, and return what one costs."""
        idle, before = connections(self.layout), processor_seconds(self.stack)
        slot, most = 0.0, idle
        for spec in specs:
            run = self.operator.trigger(spec.lifecycle_dag_id, {})
            answered_at_once(self.services, self.approver, spec, run)
            most = max(most, connections(self.layout))
            self.operator.wait_for_end(spec.lifecycle_dag_id, run)
            slot += sum(seconds_of_tasks(self.operator, spec, run))
        used = difference(processor_seconds(self.stack), before)
        each = {part: seconds / len(specs) for part, seconds in used.items()}
        return Costs(
            slot / len(specs),
            each["tasks"],
            each[Part.SCHEDULER],
            each[Part.API_SERVER],
            each[Part.MLFLOW],
            each[Part.POSTGRES],
            idle,
            max(1, most - idle),
        )

    def together(self, specs: list[ModelSpec]) -> tuple[float, dict[str, float]]:
        """Start all at once and approve each as it asks.

        Returns:
            Seconds from the first trigger to the last promotion, and processor seconds of each program.

        Raises:
            PodiumError: They take longer than ``LIMIT_SECONDS``.
        """
        before, begun = processor_seconds(self.stack), time.monotonic()
        for spec in specs:
            self.operator.trigger(spec.lifecycle_dag_id, {})
        open_ones, most = {spec.name for spec in specs}, 0
        while open_ones:
            for action in self.waiting():
                approve_if_asked(self.approver, action["dag_id"], action["dag_run_id"])
            open_ones = {name for name in open_ones if not self.is_promoted(name)}
            most = max(most, connections(self.layout))
            if time.monotonic() - begun > LIMIT_SECONDS:
                raise PodiumError(f"{len(open_ones)} of {len(specs)} are not promoted: {sorted(open_ones)}")
            time.sleep(1)
        seconds = time.monotonic() - begun
        used = difference(processor_seconds(self.stack), before)
        console.print(f"{len(specs)} lifecycles in {seconds:.0f} s; at most {most} connections")
        return seconds, used

    def waiting(self) -> list[dict[str, str]]:
        """Return the task instances that wait for a person."""
        path = "/api/v2/dags/~/dagRuns/~/hitlDetails?response_received=false&limit=100"
        found = self.approver._call("GET", path)["hitl_details"]
        return [action["task_instance"] for action in found]

    def is_promoted(self, model: str) -> bool:
        """Whether a model has a champion on record."""
        return bool(self.services.ledger.history(model, kinds=[EventKind.PROMOTED], newest=1))


def seconds_of_tasks(client: AirflowClient, spec: ModelSpec, run: str) -> Iterator[float]:
    """Yield how long each task of a run held a slot."""
    path = f"/api/v2/dags/{spec.lifecycle_dag_id}/dagRuns/{run}/taskInstances"
    for task in client._call("GET", path)["task_instances"]:
        if task["start_date"] and task["end_date"]:
            ended, began = (datetime.fromisoformat(task[at]) for at in ("end_date", "start_date"))
            yield (ended - began).total_seconds()


def processor_seconds(stack: Stack) -> dict[str, float]:
    """Return the processor seconds that each program has used; the scheduler's children are the tasks."""
    used = {}
    for part, state in control.status(Paths(stack.state_dir)).items():
        if not state.pid:
            continue
        root = psutil.Process(state.pid)
        own = root.cpu_times().user + root.cpu_times().system
        forked = of_children(root)
        used[str(part)] = own if part == Part.SCHEDULER else own + forked
        if part == Part.SCHEDULER:
            used["tasks"] = forked
    return used


def of_children(root: psutil.Process) -> float:
    """Return the processor seconds of a program's children, those that have ended too."""
    total = root.cpu_times().children_user + root.cpu_times().children_system
    for process in root.children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            total += sum(process.cpu_times()[:4])
    return total


def difference(after: dict[str, float], before: dict[str, float]) -> dict[str, float]:
    """Return what was used between two looks."""
    return {part: after[part] - before[part] for part in before}


def connections(layout: Layout) -> int:
    """Return how many connections Postgres has open, without this one."""
    url = layout.database_url("airflow", "airflow").replace("+psycopg2", "")
    connection = psycopg2.connect(url)
    try:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(*) - 1 FROM pg_stat_activity WHERE datname IN ('airflow', 'mlflow', 'ledger')"
            )
            (count,) = cursor.fetchone() or (0,)
    finally:
        connection.close()
    return int(count)


def show(costs: Costs) -> None:
    """Print what one lifecycle costs."""
    table = Table("one toy lifecycle", "", title=f"means of {ALONE}, one after the other")
    for name, value in vars(costs).items():
        table.add_row(name, f"{value:.2f}")
    console.print(table)


def checked(costs: Costs, seconds: float, used: dict[str, float]) -> list[Figure]:
    """Return the prediction for the real run beside it."""
    total = sum(used.get(part, 0.0) for part in ("tasks", *map(str, PROGRAMS)))
    predicted, took = costs.processor * TOGETHER, together(costs, TOGETHER, SLOTS, CORES)
    ratio = total / predicted
    return [
        Figure("one lifecycle, its tasks hold a slot", costs.slot, "s"),
        Figure("one lifecycle, processor time of all programs", costs.processor, "s"),
        Figure(f"{TOGETHER} at once on {SLOTS} slots, {CORES} cores: predicted", took, "s"),
        Figure(f"{TOGETHER} at once on {SLOTS} slots, {CORES} cores: real", seconds, "s"),
        Figure(f"{TOGETHER} at once: time, real / predicted", seconds / took, "x"),
        Figure(
            f"{TOGETHER} at once: processor time, real / predicted",
            ratio,
            "x",
            "0.7 to 1.3 x",
            0.7 <= ratio <= 1.3,
        ),
    ]


PROGRAMS = (Part.SCHEDULER, Part.API_SERVER, Part.MLFLOW, Part.POSTGRES)


def sized(costs: Costs) -> list[Figure]:
    """Print the table of what the fleet needs, and return its figures."""
    table = Table(
        *("a week's runs within", "slots", "cores for them", "schedulers", "API servers"),
        *("MLflow workers", "connections"),
        title=f"{FLEET:,} models weekly",
    )
    longer = replace(costs, slot=costs.slot + TRAINING_SECONDS, tasks=costs.tasks + TRAINING_SECONDS)
    figures = []
    for hours, said in ((WEEK_HOURS, "the week"), (8.0, "8 hours"), (1.0, "1 hour")):
        for each, kind in ((costs, "toy training"), (longer, "10 minutes of training on one core")):
            needs = needed(each, FLEET, hours)
            table.add_row(f"{said}, {kind}", *map(str, vars(needs).values()))
            figures += [
                Figure(f"{FLEET:,} weekly within {said}, {kind}: {name.replace('_', ' ')}", value, "")
                for name, value in vars(needs).items()
            ]
    console.print(table)
    return figures


if __name__ == "__main__":
    main()
