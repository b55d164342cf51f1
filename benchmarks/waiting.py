"""What waiting approvals cost: ``make bench-waiting``.

Some toy models really run up to their approval; the other waiting runs are copies of their rows in Airflow's
database (run, task instances, required action), since a thousand trainings would take an hour. The scheduler
reads only these rows. Its loop is timed by its own metric, sent over StatsD to this process: with nothing
waiting, with the real ones, and with all. Then one of them is answered. At the end as many runs of Airflow's
own approval wait, of a Dag that has nothing else: no run that waits can cost less.
"""

from __future__ import annotations

import json
import socket
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import psycopg2
from airflow_stack import LIMIT_SECONDS, airflow_stack, answered_at_once, people, write_toys
from results import QUICK, Figure, at_most, keep
from rich.console import Console

from podium.errors import PodiumError
from podium.model_file.loading import find_spec
from podium.model_file.spec import ModelSpec
from podium.operations.airflow_client import AirflowClient
from podium.services import connect
from podium.settings import PROJECT_ROOT
from podium.stack import control
from podium.stack.layout import Layout, Paths, load_layout
from podium.stack.parts import Part
from podium.stack.rehearsal import unpaused
from podium.stack.running_stack import Stack

MODELS = 2 if QUICK else 10
WAITING = 1_000
# Running runs that Airflow's scheduler looks at in each loop, by its `max_dagruns_per_loop_to_schedule`.
A_LOOP = 20
SETTLE_SECONDS, WINDOW_SECONDS = (3, 10) if QUICK else (15, 60)
LOOP = "airflow.scheduler.scheduler_loop_duration:"
BARE = "bare_approval"
BARE_DAG_FILE = f"""from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import DAG

with DAG("{BARE}", schedule=None, catchup=False):
    ApprovalOperator(task_id="approve", subject="Approve?")
"""

console = Console(width=120)


@dataclass
class Loops:
    """Milliseconds of each loop of the scheduler, as it sends them."""

    milliseconds: list[float] = field(default_factory=list)

    def note(self, packet: str) -> None:
        """Keep what a packet says of the loop."""
        for line in packet.splitlines():
            if line.startswith(LOOP):
                self.milliseconds.append(float(line.removeprefix(LOOP).partition("|")[0]))


@dataclass(frozen=True)
class Seen:
    """What the scheduler did in a while: the median of its loops, and its share of a core."""

    loop_ms: float
    of_a_core: float


def main() -> None:
    """Measure, and keep the figures."""
    with tempfile.TemporaryDirectory(prefix="podium-waiting-") as name, listening() as (loops, port):
        names = [f"toy-{number:02}" for number in range(MODELS)]
        models = write_toys(Path(name), names)
        statsd = {"STATSD_ON": "True", "STATSD_HOST": "127.0.0.1", "STATSD_PORT": str(port)}
        settings = {f"AIRFLOW__METRICS__{key}": value for key, value in statsd.items()}
        settings["AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST"] = json.dumps(bundles(Path(name)))
        with airflow_stack("bench-waiting", models, console, settings) as stack:
            specs = [find_spec(models, name) for name in names]
            keep("waiting", measure(stack, specs, loops))


def bundles(folder: Path) -> list[dict[str, Any]]:
    """Return the project's Dags, and beside them the bare one."""
    (folder / "bare").mkdir()
    (folder / "bare" / "bare.py").write_text(BARE_DAG_FILE)
    local = "airflow.dag_processing.bundles.local.LocalDagBundle"
    paths = {"dags-folder": str(PROJECT_ROOT / "dags"), "bare": str(folder / "bare")}
    return [{"name": name, "classpath": local, "kwargs": {"path": path}} for name, path in paths.items()]


@contextmanager
def listening() -> Iterator[tuple[Loops, int]]:
    """Receive what the scheduler says of its loops, in a thread."""
    loops, stop = Loops(), threading.Event()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(0.5)

        def receive() -> None:
            while not stop.is_set():
                try:
                    loops.note(receiver.recv(65536).decode())
                except TimeoutError:
                    continue

        thread = threading.Thread(target=receive)
        thread.start()
        try:
            yield loops, int(receiver.getsockname()[1])
        finally:
            stop.set()
            thread.join()


def measure(stack: Stack, specs: list[ModelSpec], loops: Loops) -> list[Figure]:
    """Watch the scheduler idle, with the real waiting runs, and with all."""
    admin, operator, approver = people(stack)
    layout = load_layout(Paths(stack.state_dir))
    if layout is None:
        raise PodiumError(f"there is no stack in {stack.state_dir}")
    dags = [spec.lifecycle_dag_id for spec in specs]
    with unpaused(admin, *dags):
        idle = watch(stack, loops)
        runs = parked(operator, dags)
        copy(layout, runs, A_LOOP)
        few = watch(stack, loops)
        copy(layout, runs, WAITING - A_LOOP, "more")
        waiting, slots, triggers = counted(layout)
        console.print(f"{waiting:,} runs wait for approval, {len(runs)} of them really ran")
        many = watch(stack, loops)
        begun = datetime.now(UTC)
        promoted = answered_at_once(connect(), approver, specs[0], runs[dags[0]])
    with airflow_database(layout) as cursor:
        cursor.execute("DELETE FROM dag_run")
    with unpaused(admin, BARE):
        copy(layout, parked(admin, [BARE]), WAITING)
        floor = watch(stack, loops)
    return [
        Figure("approvals waiting", waiting, ""),
        at_most("task slots that they hold", slots, "", 0),
        at_most("triggers that they hold", triggers, "", 0),
        Figure("scheduler loop, idle", idle.loop_ms, "ms"),
        Figure(f"scheduler loop, {A_LOOP} waiting", few.loop_ms, "ms"),
        Figure(f"scheduler loop, {waiting:,} waiting", many.loop_ms, "ms"),
        at_most(
            f"scheduler loop, {waiting:,} waiting / {A_LOOP} waiting", many.loop_ms / few.loop_ms, "x", 1.1
        ),
        at_most(f"scheduler loop, {waiting:,} waiting / idle", many.loop_ms / idle.loop_ms, "x", 1.1),
        Figure(
            f"scheduler loop, {WAITING:,} waiting in a Dag of one task of Airflow's own", floor.loop_ms, "ms"
        ),
        Figure("that / idle: the floor", floor.loop_ms / idle.loop_ms, "x"),
        Figure("scheduler, idle", 100 * idle.of_a_core, "% of a core"),
        Figure(f"scheduler, {waiting:,} waiting", 100 * many.of_a_core, "% of a core"),
        Figure("one of them answered, to promoted", (promoted - begun).total_seconds(), "s"),
    ]


def watch(stack: Stack, loops: Loops) -> Seen:
    """Let the scheduler settle, then look at it for a while."""
    time.sleep(SETTLE_SECONDS)
    pid = control.status(Paths(stack.state_dir))[Part.SCHEDULER].pid
    if not pid:
        raise PodiumError(f"the scheduler does not run; its logs are in {stack.logs}")
    loops.milliseconds.clear()
    process, begun = psutil.Process(pid), time.monotonic()
    before = process.cpu_times()
    time.sleep(WINDOW_SECONDS)
    after, seconds = process.cpu_times(), time.monotonic() - begun
    busy = after.user + after.system - before.user - before.system
    seen = Seen(statistics.median(loops.milliseconds), busy / seconds)
    console.print(f"{len(loops.milliseconds)} loops: {seen.loop_ms:.1f} ms, {seen.of_a_core:.1%} of a core")
    return seen


def parked(who: AirflowClient, dags: list[str]) -> dict[str, str]:
    """Run each Dag until it waits for its approval, and return its run."""
    runs = {dag: who.trigger(dag, {}) for dag in dags}
    until = time.monotonic() + LIMIT_SECONDS
    for dag, run in runs.items():
        while (states := who.task_states(dag, run)).get("approve") != "awaiting_input":
            if "failed" in states.values() or time.monotonic() > until:
                raise PodiumError(f"{dag}, run {run} does not wait for approval: {states}")
            time.sleep(1)
    return runs


def copy(layout: Layout, runs: dict[str, str], number: int, name: str = "") -> None:
    """Let copies of the runs wait: with the real ones as many as the number, or so many more under a name."""
    each = number // len(runs) - (0 if name else 1)
    with airflow_database(layout) as cursor:
        for dag, run in runs.items():
            values = {"dag": dag, "run": run, "each": each, "suffix": f"-copy{name}-"}
            for statement in copying(cursor):
                cursor.execute(statement, values)
        # As the database does by itself after some minutes.
        cursor.execute("ANALYZE")


def copying(cursor: Any) -> list[str]:
    """Return the statements that copy a run ``each`` times, its task instances and its required action."""
    runs, tasks, actions = (
        ", ".join(f'old."{name}"' for name in columns(cursor, table, *own))
        for table, own in (
            ("dag_run", ("id", "run_id")),
            ("task_instance", ("id", "run_id")),
            ("hitl_detail", ("ti_id",)),
        )
    )
    copies = "old.run_id || %(suffix)s || n"
    of_run = (
        "FROM {} AS old, generate_series(1, %(each)s) AS n WHERE old.dag_id = %(dag)s AND run_id = %(run)s"
    )
    return [
        f"INSERT INTO dag_run (run_id, {bare(runs)}) SELECT {copies}, {runs} {of_run.format('dag_run')}",
        f"INSERT INTO task_instance (id, run_id, {bare(tasks)}) "
        f"SELECT gen_random_uuid(), {copies}, {tasks} {of_run.format('task_instance')}",
        f"INSERT INTO hitl_detail (ti_id, {bare(actions)}) SELECT copy.id, {actions} "  # noqa: S608
        "FROM hitl_detail AS old JOIN task_instance AS first ON first.id = old.ti_id "
        "JOIN task_instance AS copy ON copy.dag_id = first.dag_id AND copy.task_id = first.task_id "
        "AND copy.run_id LIKE first.run_id || %(suffix)s || '%%' "
        "WHERE first.dag_id = %(dag)s AND first.run_id = %(run)s",
    ]


def bare(names: str) -> str:
    """Return column names without the table's."""
    return names.replace("old.", "")


def columns(cursor: Any, table: str, *without: str) -> list[str]:
    """Return the columns of a table but some."""
    cursor.execute("SELECT column_name FROM information_schema.columns WHERE table_name = %s", (table,))
    return [name for (name,) in cursor.fetchall() if name not in without]


def counted(layout: Layout) -> tuple[int, int, int]:
    """Return how many tasks wait for people, how many hold a slot, and how many triggers there are."""
    with airflow_database(layout) as cursor:
        cursor.execute(
            "SELECT count(*) FILTER (WHERE state = 'awaiting_input'), "
            "count(*) FILTER (WHERE state IN ('running', 'queued', 'restarting')), "
            "(SELECT count(*) FROM trigger) FROM task_instance"
        )
        waiting, slots, triggers = cursor.fetchone()
    return waiting, slots, triggers


@contextmanager
def airflow_database(layout: Layout) -> Iterator[Any]:
    """Open Airflow's database; what was written is committed at the end."""
    url = layout.database_url("airflow", "airflow").replace("+psycopg2", "")
    with psycopg2.connect(url) as connection, connection.cursor() as cursor:
        yield cursor
    connection.close()


if __name__ == "__main__":
    main()
