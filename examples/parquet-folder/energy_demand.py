"""The model ``energy-demand``: gradient boosting on weather and calendar."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sklearn.dummy import DummyRegressor
from sklearn.ensemble import HistGradientBoostingRegressor

from podium.training import TrainedModel, TrainingExamples


def train(examples: TrainingExamples, params: Mapping[str, Any]) -> TrainedModel:
    """Fit the boosting, and the median beside it."""
    model = HistGradientBoostingRegressor(
        max_iter=int(params["iterations"]), early_stopping=False, random_state=0
    )
    return TrainedModel(
        model=model.fit(examples.inputs, examples.label),
        baselines={"median": DummyRegressor(strategy="median").fit(examples.inputs, examples.label)},
    )
