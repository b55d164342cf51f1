"""Trees of LightGBM, returned as a native ``Booster``: a text file in MLflow, which every LightGBM reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import lightgbm
from sklearn.dummy import DummyClassifier

from podium.training import TrainedModel, TrainingExamples

LABELS = ["no", "yes"]


def train(examples: TrainingExamples, params: Mapping[str, Any]) -> TrainedModel:
    """Learn the second label's probability; the numbers of the labels are their places in ``LABELS``."""
    numbers = examples.label.map(LABELS.index)
    settings = {"objective": "binary", "num_leaves": 7, "learning_rate": 0.1, "verbosity": -1, "seed": 0}
    rows = lightgbm.Dataset(examples.inputs, numbers)
    booster = lightgbm.train({**settings, "deterministic": True}, rows, int(params["rounds"]))
    prior = DummyClassifier(strategy="prior").fit(examples.inputs, examples.label)
    return TrainedModel(booster, baselines={"class_prior": prior}, classes=LABELS)
