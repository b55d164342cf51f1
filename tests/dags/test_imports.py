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


@pytest.mark.parametrize("modules", LEDGER_ALONE.values(), ids=LEDGER_ALONE)
def test_a_task_that_asks_the_ledger_alone_loads_no_large_library(modules: str) -> None:
    look = f"import sys, json, {modules}; print(json.dumps(sorted(set(sys.modules) & set({LARGE!r}))))"
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []
