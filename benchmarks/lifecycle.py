"""The lifecycle beside a plain script, rollback, and the start of the demo: ``make bench-lifecycle``.

The football model as it ships, without its search, so that both train once. Both take turns on one stack: the
lifecycle from its trigger to the promotion, with the approval answered at once over REST, and a script that
does by hand what most teams do. A rollback counts from its trigger, or from Enter, until a model server that
follows answers with the other version. The stack starts from an empty state, as that of ``make demo``.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import requests
import yaml
from airflow_stack import airflow_stack, answered_at_once, people
from results import QUICK, Figure, at_most, keep
from rich.console import Console
from rich.table import Table
from serving import free_port

from podium.errors import PodiumError
from podium.ledger.events import EventKind
from podium.ledger.receivers import CHAMPION_ASSET
from podium.model_file.loading import find_spec
from podium.model_file.spec import ModelSpec
from podium.operations.airflow_client import ROLLBACK_DAG, AirflowClient
from podium.services import Services, connect
from podium.settings import PROJECT_ROOT
from podium.stack.rehearsal import unpaused
from podium.stack.running_stack import Stack
from support.serving import make_champion

MODEL, AS_OF = "soccer-match-outcome", "2025-07-01"
ROUNDS = 1 if QUICK else 5
ROLLBACKS = 1 if QUICK else 5
LIMIT_SECONDS = 120
BINARIES = Path(sys.executable).parent

console = Console(width=120)


@dataclass(frozen=True)
class Task:
    """One task of a run: seconds from the task before it to its start, and seconds that it ran."""

    name: str
    waited: float
    ran: float


def main() -> None:
    """Measure all three, and keep the figures."""
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="podium-lifecycle-") as name:
        models = write_model(Path(name))
        with airflow_stack("bench-lifecycle", models, console) as stack:
            ready = time.perf_counter() - begun
            services, spec = connect(), find_spec(models, MODEL)
            admin, operator, approver = people(stack)
            with unpaused(admin, spec.lifecycle_dag_id, ROLLBACK_DAG):
                figures = lifecycles(services, operator, approver, spec)
                with model_server(stack) as url:
                    figures += rollbacks(services, operator, stack, url)
    keep("lifecycle", [*figures, Figure("start of the demo's stack, all parts ready", ready, "s")])


def write_model(folder: Path) -> Path:
    """Copy the model file without search and schedule, and return its folder."""
    shipped = PROJECT_ROOT / "include" / "models" / "soccer_match_outcome.yaml"
    content = yaml.safe_load(shipped.read_text())
    for key in ("search", "profiles", "schedule"):
        del content[key]
    content["data"]["source"] = str(PROJECT_ROOT / content["data"]["source"])
    models = folder / "models"
    models.mkdir()
    (models / shipped.name).write_text(yaml.safe_dump(content))
    return models


def lifecycles(
    services: Services, operator: AirflowClient, approver: AirflowClient, spec: ModelSpec
) -> list[Figure]:
    """Run lifecycle and script in turns; the first of each, which finds no champion, does not count."""
    ours: list[float] = []
    plain: list[float] = []
    tasks: list[list[Task]] = []
    for number in range(ROUNDS + 1):
        strength = 20.0 + number / 10
        seconds, run_id = lifecycle(services, operator, approver, spec, strength)
        by_hand = script(strength)
        console.print(f"round {number}: lifecycle {seconds:.1f} s, plain script {by_hand:.1f} s")
        if number:
            ours.append(seconds)
            plain.append(by_hand)
            tasks.append(steps(operator, spec.lifecycle_dag_id, run_id, "promote"))
    lost = services.ledger.history(spec.name, kinds=[EventKind.ASKED_AGAIN, EventKind.ANSWER_INVALID])
    again = Figure(f"answers of {ROUNDS + 1} that were asked for again", len(lost), "")
    return [*compared(ours, plain), *task_by_task(tasks), again]


def lifecycle(
    services: Services, operator: AirflowClient, approver: AirflowClient, spec: ModelSpec, strength: float
) -> tuple[float, str]:
    """Return the seconds from trigger to promoted, and the run."""
    form = {"as_of": f"{AS_OF}T00:00:00+00:00", "params": {"l2_strength": strength}}
    begun = datetime.now(UTC)
    run_id = operator.trigger(spec.lifecycle_dag_id, form)
    promoted = answered_at_once(services, approver, spec, run_id)
    if operator.wait_for_end(spec.lifecycle_dag_id, run_id) != "success":
        raise PodiumError(f"run {run_id} of {spec.lifecycle_dag_id} failed")
    return (promoted - begun).total_seconds(), run_id


def script(strength: float) -> float:
    """Return the seconds that the plain script takes, from the start of its process to its end."""
    words = [sys.executable, "-W", "ignore", str(Path(__file__).with_name("plain_lifecycle.py"))]
    begun = time.perf_counter()
    subprocess.run([*words, "plain-football", AS_OF, str(strength)], check=True, stderr=subprocess.DEVNULL)
    return time.perf_counter() - begun


def steps(client: AirflowClient, dag: str, run_id: str, last: str) -> list[Task]:
    """Return the tasks of a run up to one, in the order in which Airflow began them.

    The first waits from the run's trigger, each other from the end of all before it.
    """
    path = f"/api/v2/dags/{dag}/dagRuns/{run_id}"
    before = datetime.fromisoformat(client._call("GET", path)["queued_at"])
    found = client._call("GET", f"{path}/taskInstances")["task_instances"]
    ran = [task for task in found if task["state"] == "success" and task["start_date"]]
    tasks = []
    for task in sorted(ran, key=lambda task: str(task["start_date"])):
        began, ended = (datetime.fromisoformat(task[at]) for at in ("start_date", "end_date"))
        waited = max(0.0, (began - before).total_seconds())
        tasks.append(Task(task["task_id"], waited, (ended - max(began, before)).total_seconds()))
        before = max(before, ended)
        if task["task_id"] == last:
            break
    return tasks


def compared(ours: list[float], plain: list[float]) -> list[Figure]:
    """Return the medians, and the ratio of them."""
    one, other = statistics.median(ours), statistics.median(plain)
    return [
        Figure("lifecycle, trigger to promoted, approved at once", one, "s"),
        Figure("plain script that does the same by hand", other, "s"),
        at_most("lifecycle / plain script", one / other, "x", 1.0),
    ]


def task_by_task(runs: list[list[Task]]) -> list[Figure]:
    """Print the medians of each task, and return what is of Airflow and what is of Podium."""
    medians = [middle(same) for same in zip(*runs, strict=True)]
    table = Table("task", "waited, s", "ran, s", title="medians, task by task")
    for task in medians:
        table.add_row(task.name, f"{task.waited:.2f}", f"{task.ran:.2f}")
    console.print(table)
    waited, ran = (sum(getattr(task, name) for task in medians) for name in ("waited", "ran"))
    return [
        Figure("lifecycle: between tasks (scheduler, start of processes, answer)", waited, "s"),
        Figure("lifecycle: tasks at work", ran, "s"),
        *(Figure(f"lifecycle: {task.name} waited", task.waited, "s") for task in medians),
        *(Figure(f"lifecycle: {task.name} at work", task.ran, "s") for task in medians),
    ]


def middle(same: Sequence[Task]) -> Task:
    """Return the medians of one task of several runs."""
    waited, ran = (statistics.median(getattr(task, name) for task in same) for name in ("waited", "ran"))
    return Task(same[0].name, waited, ran)


@contextmanager
def model_server(stack: Stack) -> Iterator[str]:
    """Serve the model in a process of its own until it answers; it follows the champion."""
    port, log = free_port(), stack.logs / "serve.log"
    with log.open("w") as stream:
        words = [str(BINARIES / "podium"), "serve", MODEL, "--port", str(port)]
        process = subprocess.Popen(words, stdout=stream, stderr=stream)
    url = f"http://127.0.0.1:{port}"
    try:
        wait_for_version(url, None)
        yield url
    finally:
        process.terminate()
        process.wait(60)


def wait_for_version(url: str, number: int | None) -> None:
    """Wait until a server answers, with this version.

    Raises:
        PodiumError: It does not within ``LIMIT_SECONDS``.
    """
    until, record = time.monotonic() + LIMIT_SECONDS, example()
    while time.monotonic() < until:
        try:
            answer = requests.post(f"{url}/predict", json=[record], timeout=30)
        except requests.ConnectionError:
            answer = None
        if answer is not None and answer.ok and number in (None, int(answer.headers["X-Model-Version"])):
            return
        time.sleep(0.05)
    raise PodiumError(f"the server at {url} does not answer with version {number}; see serve.log")


def example() -> dict[str, float]:
    """Return a match that the model takes."""
    columns = yaml.safe_load((PROJECT_ROOT / "include/models/soccer_match_outcome.yaml").read_text())
    return dict.fromkeys(columns["data"]["inputs"], 1.0)


def rollbacks(services: Services, operator: AirflowClient, stack: Stack, url: str) -> list[Figure]:
    """Roll the newest champion back, by the Dag and by the command in turns.

    What was rolled back becomes champion again only by a new approval; here rows of the ledger stand for it.
    """
    newest = services.registry.champion(MODEL)
    if newest is None:
        raise PodiumError(f"{MODEL} has no champion")
    by_dag: list[float] = []
    by_command: list[float] = []
    parts: list[Task] = []
    for _ in range(ROLLBACKS):
        begun = time.perf_counter()
        run_id = operator.trigger(ROLLBACK_DAG, form(newest - 1))
        wait_for_version(url, newest - 1)
        by_dag.append(time.perf_counter() - begun)
        operator.wait_for_end(ROLLBACK_DAG, run_id)
        parts += steps(operator, ROLLBACK_DAG, run_id, "move_champion_back")
        champion_again(services, url, newest)
        begun = time.perf_counter()
        with command(stack, newest - 1):
            wait_for_version(url, newest - 1)
            by_command.append(time.perf_counter() - begun)
        console.print(f"rolled back: by the Dag {by_dag[-1]:.1f} s, by the command {by_command[-1]:.1f} s")
        champion_again(services, url, newest)
    moved = middle(parts)
    medians = statistics.median(by_dag), statistics.median(by_command)
    return [
        at_most("rollback Dag, trigger to followed by the server", medians[0], "s", 10),
        Figure("rollback Dag: trigger to the task's start", moved.waited, "s"),
        Figure("rollback Dag: task (proof and move)", moved.ran, "s"),
        at_most("podium rollback, Enter to followed by the server", medians[1], "s", 10),
    ]


def champion_again(services: Services, url: str, number: int) -> None:
    """Make a version champion once more, as if it had been announced, and wait until the server follows."""
    make_champion(services, MODEL, number)
    services.ledger.move_cursor(CHAMPION_ASSET.name, MODEL, services.ledger.size())
    wait_for_version(url, number)


def form(number: int) -> dict[str, Any]:
    """Return what a rollback asks for."""
    return {"model": MODEL, "to_version": number, "reason": "a bench goes back"}


@contextmanager
def command(stack: Stack, number: int) -> Iterator[None]:
    """Run ``podium rollback``, as whoever is on call types it, and see it succeed at the end."""
    words = [str(BINARIES / "podium"), "rollback", MODEL, "--to-version", str(number)]
    login = {"PODIUM_AIRFLOW_USER": "operator", "PODIUM_AIRFLOW_PASSWORD": stack.passwords["operator"]}
    process = subprocess.Popen([*words, "--reason", "a bench goes back"], env={**os.environ, **login})
    try:
        yield
        if process.wait(LIMIT_SECONDS):
            raise PodiumError(f"podium rollback ended with {process.returncode}")
    finally:
        process.kill()


if __name__ == "__main__":
    main()
