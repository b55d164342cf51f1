"""What the gates judge: the answers of each model on the same holdout rows, as plain values.

It is kept beside the gate report, so that a changed gate file can be tried on past versions.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from podium.metrics.answers import Answers, Numbers
from podium.metrics.predictions import prediction_columns, predictions_by_name
from podium.model_file.metric_names import TaskKind
from podium.names import CHAMPION

PREDICTIONS = "predictions.parquet"
MEASUREMENTS = "measurements.json"


@dataclass(frozen=True)
class Cost:
    """What using a model costs, measured on this machine beside the others of the same report.

    Attributes:
        load_time: Seconds from files to a model in memory; None if it does not load.
        model_size: Megabytes (of a million bytes) of all its files.
        latency_p95: 95th percentile of the seconds of one row; None where no gate asks.
        throughput: Rows a second in batches; None where no gate asks.
    """

    load_time: float | None
    model_size: float
    latency_p95: float | None = None
    throughput: float | None = None


@dataclass(frozen=True)
class Side:
    """One model: what it answered on each row, and what it is.

    Attributes:
        predictions: (n, k) probabilities in label order or numbers of a generation, or (n,) numbers.
        classes: The labels that it knows.
        signature: As MLflow's ``ModelSignature.to_dict`` gives it.
        cost: What using it costs; None of a baseline.
        broken: Why it cannot be used; "" if it can.
    """

    predictions: Numbers
    classes: tuple[str, ...] = ()
    signature: Mapping[str, Any] = field(default_factory=dict)
    cost: Cost | None = None
    broken: str = ""


@dataclass(frozen=True)
class BaselineFile:
    """Numbers that somebody keeps in a file, such as ``qa/baseline_metrics.json``.

    Attributes:
        metrics: Its numbers by name.
        labels: Its list ``labels``.
    """

    metrics: Mapping[str, float]
    labels: tuple[str, ...]


@dataclass(frozen=True)
class Evidence:
    """All that the gates judge by.

    Attributes:
        task: The task.
        labels: The model file's labels.
        truth: (n,), see ``podium.metrics.measures``.
        columns: Columns of the examples that gates name, (n, any).
        groups: Of a ranking: each row's list, (n,).
        candidate: The version that is judged.
        references: The champion, the candidate that it would replace, the trainer's baselines, by name.
        versions: Numbers of the champion and the candidate among the references.
        trainer_metrics: Numbers that the trainer returned.
        baseline_files: By path as in the model file.
        overlaps: By the columns of the gate: share of holdout rows among the training rows, None: not known.
        schema_problems: By gate (its schema as JSON): what is wrong, a sentence per column and rule.
        notes: What the approver should know about the comparison.
    """

    task: TaskKind
    labels: tuple[str, ...]
    truth: npt.NDArray[Any]
    columns: pd.DataFrame
    groups: npt.NDArray[Any] | None
    candidate: Side
    references: Mapping[str, Side] = field(default_factory=dict)
    versions: Mapping[str, int] = field(default_factory=dict)
    trainer_metrics: Mapping[str, float] = field(default_factory=dict)
    baseline_files: Mapping[str, BaselineFile] = field(default_factory=dict)
    overlaps: Mapping[tuple[str, ...], float | None] = field(default_factory=dict)
    schema_problems: Mapping[str, Sequence[str]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Return the number of holdout rows."""
        return len(self.truth)

    @property
    def champion(self) -> int | None:
        """The champion's version, or None."""
        return self.versions.get(CHAMPION)

    def answers(self, side: Side) -> Answers:
        """Return what one model answered, beside the truth."""
        return Answers(self.task, self.labels, self.truth, side.predictions, self.columns, self.groups)


def store_sides(folder: Path, sides: Mapping[str, Side], labels: Sequence[str]) -> None:
    """Write the answers and measurements of models into a folder."""
    table: dict[str, Numbers] = {}
    for name, side in sides.items():
        table |= prediction_columns(name, side.predictions, labels)
    pd.DataFrame(table).to_parquet(folder / PREDICTIONS)
    measured = {
        name: {"classes": side.classes, "signature": side.signature, "broken": side.broken}
        | {"cost": None if side.cost is None else asdict(side.cost)}
        for name, side in sides.items()
    }
    (folder / MEASUREMENTS).write_text(json.dumps(measured, indent=1))


def read_sides(folder: Path, labels: Sequence[str]) -> dict[str, Side]:
    """Read what ``store_sides`` wrote."""
    predictions = predictions_by_name(pd.read_parquet(folder / PREDICTIONS), labels)
    measured = json.loads((folder / MEASUREMENTS).read_text())
    return {
        name: Side(
            predictions=predictions[name],
            classes=tuple(said["classes"]),
            signature=said["signature"],
            cost=None if said["cost"] is None else Cost(**said["cost"]),
            broken=said["broken"],
        )
        for name, said in measured.items()
    }


def no_answers(rows: int, labels: Sequence[str]) -> Numbers:
    """Return the predictions of a model that gives none: NaN, by which no gate passes."""
    return np.full((rows, len(labels)) if labels else rows, np.nan)
