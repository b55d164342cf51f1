"""What a task of a lifecycle imports besides Podium: each is a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

LARGE = ("matplotlib", "mlflow", "numpy", "pandas", "scipy", "skops", "sklearn")
LEDGER_ALONE = {
    "outcome": "podium.lifecycle.outcome, podium.reporting.links, podium.services",
    "announce": "podium.ledger.receivers, podium.lifecycle.announce, podium.services",
    "note_announced": "podium.services",
    "nominate, before it writes to MLflow": "podium.lifecycle.nominate, podium.services",
    "approve, before it asks MLflow": "podium.lifecycle.approval, podium.reporting.approval_card",
    "the end of a closed approval": "podium.lifecycle.approval, podium.operations.airflow_client",
}
# Who writes to MLflow loads its client, which takes NumPy, pandas and SciPy with it. Both executors load
# these before they fork: a task pays for them only where each is a pod of its own.
CLIENT = ["mlflow", "numpy", "pandas", "scipy"]
WRITES_TO_MLFLOW = {
    "nominate": "podium.lifecycle.nominate, podium.registry.client",
    "promote": "podium.lifecycle.promote, podium.registry.client",
    "the rollback": "podium.lifecycle.rollback, podium.registry.client",
}


@pytest.mark.parametrize("modules", LEDGER_ALONE.values(), ids=LEDGER_ALONE)
def test_a_task_that_asks_the_ledger_alone_loads_no_large_library(modules: str) -> None:
    assert large_libraries(modules) == []


@pytest.mark.parametrize("modules", WRITES_TO_MLFLOW.values(), ids=WRITES_TO_MLFLOW)
def test_a_task_that_writes_to_mlflow_loads_its_client_and_no_more(modules: str) -> None:
    assert large_libraries(modules) == CLIENT


def large_libraries(modules: str) -> list[str]:
    look = f"import sys, json, {modules}; print(json.dumps(sorted(set(sys.modules) & set({LARGE!r}))))"
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    found: list[str] = json.loads(done.stdout)
    return found
