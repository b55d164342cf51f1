"""An embedded stack for a bench, with model files of the bench's own."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import yaml
from rich.console import Console

from podium.errors import PodiumError
from podium.model_file.spec import ModelSpec
from podium.operations.airflow_client import AirflowClient
from podium.services import Services
from podium.settings import PROJECT_ROOT
from podium.stack import control
from podium.stack.layout import Paths
from podium.stack.parts import Part
from podium.stack.running_stack import Stack, running_stack

sys.path.insert(0, str(PROJECT_ROOT / "tests"))
from support.toy import TOY, write_toy_rows

LIMIT_SECONDS = 600
_LOOK_SECONDS = 0.2


@contextmanager
def airflow_stack(
    name: str, models: Path, console: Console, settings: Mapping[str, str] | None = None
) -> Iterator[Stack]:
    """Run a whole stack from an empty state; it and this process know the models of a folder."""
    state = PROJECT_ROOT / ".podium" / name
    control.clean(Paths(state))
    folders = (PROJECT_ROOT / "include", PROJECT_ROOT / "plugins", models.parent)
    own = {
        "PODIUM_MODELS_DIR": str(models),
        "PYTHONPATH": os.pathsep.join(map(str, folders)),
        # What is there at the start is seen at once.
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "300",
        **(settings or {}),
    }
    os.environ["PODIUM_MODELS_DIR"] = str(models)
    with running_stack(state, extra_airflow_env=own, console=console) as stack:
        os.environ.update(stack.client_env())
        yield stack


def people(stack: Stack) -> tuple[AirflowClient, AirflowClient, AirflowClient]:
    """Log in as admin, operator and approver."""
    admin, operator, approver = (
        AirflowClient(stack.airflow_url, name, stack.passwords[name])
        for name in ("admin", "operator", "approver")
    )
    return admin, operator, approver


def write_toys(folder: Path, names: list[str]) -> Path:
    """Write toy models, and return the folder of their model files; the trainer is beside it."""
    models, trainers = folder / "models", folder / "trainers"
    for made in (models, trainers):
        made.mkdir()
    shutil.copy(PROJECT_ROOT / "tests" / "support" / "toy_trainer.py", trainers / "toy.py")
    write_toy_rows(models / "toy.csv", (datetime.now(UTC).date() - timedelta(days=598)).isoformat())
    for name in names:
        (models / f"{name}.yaml").write_text(yaml.safe_dump(_toy(name, models / "toy.csv")))
    return models


def _toy(name: str, rows: Path) -> dict[str, Any]:
    return {
        **TOY,
        "name": name,
        "trainer": "trainers.toy:train",
        "data": {**TOY["data"], "source": str(rows)},
        "approval": {**TOY["approval"], "approvers": ["approver"]},
    }


def answered_at_once(services: Services, who: AirflowClient, spec: ModelSpec, run_id: str) -> datetime:
    """Approve a run as soon as it asks, and again if Airflow lost the answer.

    Returns:
        When the version was promoted, as the ledger has it.

    Raises:
        PodiumError: The run ended otherwise, or took longer than ``LIMIT_SECONDS``.
    """
    dag, until = spec.lifecycle_dag_id, time.monotonic() + LIMIT_SECONDS
    while True:
        told = {event.event.value: event for event in services.ledger.of_run(spec.name, f"{dag}/{run_id}")}
        if "promoted" in told:
            return told["promoted"].at
        if "approval_requested" in told and "approved" not in told:
            approve_if_asked(who, dag, run_id)
        if "gates_refused" in told or time.monotonic() > until:
            raise PodiumError(f"{spec.name}, run {run_id}: not promoted, but {sorted(told)}")
        time.sleep(_LOOK_SECONDS)


def approve_if_asked(who: AirflowClient, dag: str, run_id: str) -> None:
    """Approve where the task waits and has no answer yet.

    Airflow takes an answer to a card whose task is not parked yet, and does not resume the task then.
    """
    if who.task_states(dag, run_id).get("approve") != "awaiting_input":
        return
    if who.required_action(dag, run_id, "approve")["responded_at"] is None:
        who.answer(dag, run_id, "approve", "Approve", {"reason": "good enough for a bench"})


def processor_seconds(state: Path, parts: Collection[str] = tuple(Part)) -> float:
    """Return the processor seconds that parts of a running stack, and what they started, have used so far."""
    total = 0.0
    for name, found in control.status(Paths(state)).items():
        if name not in parts or not found.pid:
            continue
        root = psutil.Process(found.pid)
        total += root.cpu_times().children_user + root.cpu_times().children_system
        for process in (root, *root.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                total += process.cpu_times().user + process.cpu_times().system
    return total
