"""What the model that ``new-model`` writes comes to on its rows: its gates are made of this."""

from __future__ import annotations

import math
import runpy
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd

from podium.metrics.answers import Answers, Numbers
from podium.metrics.measures import MEANS, measured
from podium.model_file.metric_gate import MetricGate
from podium.model_file.spec import ModelSpec
from podium.names import CANDIDATE
from podium.training.data import load_window
from podium.training.examples import DataWindow, TrainingExamples
from podium.training.fit import answers_of
from podium.training.holdout import fingerprints, rows, shared
from podium.training.split import subset, thinned
from podium.training.trainer import call_trainer, usable_models

_MOST_ROWS = 20_000
_OLDER = 0.8


@dataclass(frozen=True)
class FirstRun:
    """What was measured.

    Attributes:
        trained_on: Training rows.
        held_out: Rows of the holdout.
        overlap: Share of the holdout's rows that have the inputs of a training row.
        repeated: Share of them that have its label besides.
        labels: Of a classification: each label's rows in the training rows and in the holdout.
        ours: The metric of the first model on the holdout.
        guess: The same of the baseline.
        improvement: How much better the model is on average, in the metric; above zero is better.
        noise: The standard error of that.
        retrained: How much the same trainer may differ from itself: with the older training rows only, on the
            same holdout, and two standard errors.
    """

    trained_on: int
    held_out: int
    overlap: float
    repeated: float
    labels: Mapping[str, tuple[int, int]]
    ours: float
    guess: float
    improvement: float
    noise: float
    retrained: float


def measure_first_run(spec: ModelSpec, trainer: Path, as_of: datetime, home: Path) -> FirstRun:
    """Train once, in memory, and measure; of many rows a sample that is chosen by content.

    Args:
        spec: The model file, with one gate on a metric, a mean over rows, against a baseline of the trainer.
        trainer: A file whose function ``train`` is the trainer.
        as_of: With a zone.
        home: The project's top folder.

    Raises:
        DataError: The data cannot be used.
        TrainerError: The trainer cannot be used on them.
    """
    gate = next(gate for gate in spec.gates if isinstance(gate, MetricGate))
    metric, baseline = gate.metric, str(gate.against)
    whole = load_window(spec, as_of, home)
    share = min(1.0, _MOST_ROWS / (len(whole.train) + len(whole.holdout)))
    window = whole if share >= 1 else thinned(spec, whole, share)
    train = runpy.run_path(str(trainer))["train"]
    trained, older = (call_trainer(spec, train, part, spec.params) for part in (window.train, _older(window)))
    with usable_models(spec, trained, home) as models, usable_models(spec, older, home) as before:
        asked = (models[CANDIDATE], models[baseline], before[CANDIDATE])
        ours, guess, earlier = (answers_of(spec, model, window.holdout) for model in asked)
    better, other = (_per_row(metric, them) - _per_row(metric, ours) for them in (guess, earlier))
    return FirstRun(
        trained_on=len(whole.train),
        held_out=len(whole.holdout),
        overlap=_overlap(spec, whole, spec.data.inputs),
        repeated=_overlap(spec, whole, (*spec.data.inputs, spec.data.label)),
        labels=_labels(spec, whole),
        ours=measured(metric, ours)[0],
        guess=measured(metric, guess)[0],
        improvement=float(better.mean()),
        noise=_standard_error(better),
        retrained=abs(float(other.mean())) + 2 * _standard_error(other),
    )


def _older(window: DataWindow) -> TrainingExamples:
    """Return all training examples but the newest fifth; all where that would leave a label out.

    Without times it is the last fifth of the rows.
    """
    times = window.train.time
    if times.isna().all():
        times = pd.Series(range(len(times)))
    older = subset(window.train, times <= times.quantile(_OLDER))
    complete = pd.api.types.is_numeric_dtype(older.label) or set(older.label) == set(window.train.label)
    return older if complete else window.train


def _standard_error(values: Numbers) -> float:
    return float(values.std() / math.sqrt(len(values)))


def _per_row(metric: str, answers: Answers) -> Numbers:
    return np.asarray(MEANS[metric].values(answers))


def _overlap(spec: ModelSpec, window: DataWindow, columns: tuple[str, ...]) -> float:
    found, trained_on = (fingerprints(rows(spec, part), columns) for part in (window.holdout, window.train))
    return shared(found, np.unique(trained_on)) / len(found)


def _labels(spec: ModelSpec, window: DataWindow) -> dict[str, tuple[int, int]]:
    def count(label: pd.Series, name: str) -> int:
        return int((label == name).sum())

    return {
        name: (count(window.train.label, name), count(window.holdout.label, name)) for name in spec.labels
    }
