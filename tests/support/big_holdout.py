"""Evaluate a holdout of many rows in a process of its own, and print the megabytes that it takes.

``python -m support.big_holdout FOLDER ROWS``
"""

from __future__ import annotations

import json
import resource
import shutil
import sys
import tracemalloc
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pyarrow as pa
from mlflow.models import infer_signature
from pyarrow import parquet
from sklearn.linear_model import LogisticRegression

from podium.gates.collection import Case, assemble, score_sides
from podium.gates.rules import evaluate, scores_of
from podium.ledger.events import Event, EventKind
from podium.model_file.spec import ModelSpec
from podium.registry.client import Version
from podium.registry.example import EXAMPLE_OUTPUT, example_output
from podium.registry.manifest import read_manifest
from podium.training import holdout
from support.toy import TOY

COLUMNS = [f"x{place}" for place in range(50)]
GATES: list[dict[str, Any]] = [
    {"metric": "log_loss", "against": "champion", "not_worse": {"margin": 0.5, "resamples": 100}},
    {"metric": "roc_auc", "against": "champion", "not_worse": {"margin": 0.5, "resamples": 100}},
    {"metric": "f1", "threshold": 0.5},
    {"metric": "log_loss", "threshold": 1.0, "slices": {"column": "country"}},
    {"metric": "log_loss", "threshold": 1.0, "slices": {"column": "x0", "bins": 10}},
    {"label_coverage": "champion", "of": ["model", "holdout", "predictions"]},
    {
        "schema": {
            "x0": {"type": "number", "min": -100, "unique": True},
            "country": {"allowed": ["a", "b", "c"]},
        }
    },
    {"max_train_overlap": 0.0},
    {"max_disagreement": 1.0},
]


def write_holdout(folder: Path, rows: int) -> None:
    """Write it as ``podium.training.holdout`` does, but never all of it in memory."""
    writer, draws = None, np.random.default_rng(0)
    for start in range(0, rows, holdout.BATCH_ROWS):
        size = min(holdout.BATCH_ROWS, rows - start)
        batch = pd.DataFrame(draws.normal(size=(size, len(COLUMNS))), columns=COLUMNS).assign(
            country=draws.choice(["a", "b", "c"], size),
            y=draws.choice(["no", "yes"], size),
            day=pd.Timestamp("2025-01-01"),
        )
        table = pa.Table.from_pandas(batch, preserve_index=False)
        writer = writer or parquet.ParquetWriter(folder / "examples.parquet", table.schema)
        writer.write_table(table)
    assert writer is not None
    writer.close()
    pd.DataFrame(index=range(rows)).to_parquet(folder / "baseline_predictions.parquet")
    prints = draws.integers(0, 2**63, rows).astype(np.uint64)
    pd.DataFrame({"[]": prints}).to_parquet(folder / "training_rows.parquet")


def save_model(folder: Path, seed: int) -> None:
    """Save a model as a training run does."""
    draws = np.random.default_rng(seed)
    inputs = pd.DataFrame(draws.normal(size=(200, len(COLUMNS))), columns=COLUMNS)
    model = LogisticRegression().fit(inputs, np.where(inputs["x0"] > 0, "yes", "no"))
    output = model.predict_proba(inputs.head())
    mlflow.sklearn.save_model(
        model,
        folder,
        serialization_format="skops",
        pyfunc_predict_fn="predict_proba",
        signature=infer_signature(inputs.head(), output),
        input_example=inputs.head(),
        pip_requirements=["scikit-learn"],
        metadata={"classes": ["no", "yes"], EXAMPLE_OUTPUT: example_output(output)},
    )


class FolderRegistry:
    """Versions are folders; there is no server that would hide what this process needs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def download(self, _: str, number: int, folder: Path) -> None:
        shutil.copytree(self.folder / str(number), folder, dirs_exist_ok=True)

    def run_metrics(self, *_: str) -> dict[str, float]:
        return {}


def case_of(folder: Path) -> Case:
    data = {**TOY["data"], "inputs": COLUMNS}
    spec = ModelSpec.model_validate({**TOY, "name": "big", "data": data, "gates": GATES})
    now = datetime.now(UTC)
    events = []
    for number in (1, 2):
        save_model(folder / str(number), number)
        details = {"manifest": read_manifest(folder / str(number)).as_json()}
        who = ("podium", "", None, None)
        events.append(Event(number, now, EventKind.REGISTERED, "big", number, None, *who, details, "", ""))
    parts: Any = SimpleNamespace(registry=FolderRegistry(folder), settings=SimpleNamespace(home=folder))
    return Case(parts, events, spec, Version("big", 2, "", True, {}, now), folder)


def resident_megabytes() -> float:
    """The most that this process held; on Linux ``getrusage`` also counts what its parent held."""
    status = Path("/proc/self/status")
    if not status.is_file():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1e3


def main(folder: Path, rows: int) -> None:
    write_holdout(folder, rows)
    case = case_of(folder)
    versions = {"champion": 1}
    tracemalloc.start()
    evidence = assemble(case, score_sides(case, versions), versions)
    evaluate(case.spec.gates, evidence)
    scores_of(case.spec.gates, evidence)
    allocated = tracemalloc.get_traced_memory()[1] + pa.default_memory_pool().max_memory()
    print(json.dumps({"rows": len(evidence), "allocated": allocated / 1e6, "resident": resident_megabytes()}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
