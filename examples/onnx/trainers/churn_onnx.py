"""An estimator of scikit-learn as ONNX: one file, which ONNX Runtime asks in any language."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from skl2onnx import to_onnx
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from podium.training import TrainedModel, TrainingExamples


def train(examples: TrainingExamples, params: Mapping[str, Any]) -> TrainedModel:
    """Fit, then convert; zipmap=False gives the probabilities as one tensor, in the order of ``classes_``."""
    rows = examples.inputs.to_numpy(np.float32)
    fitted = make_pipeline(StandardScaler(), LogisticRegression(C=float(params["strength"])))
    fitted.fit(rows, examples.label)
    converted = to_onnx(fitted, rows[:1], options={"zipmap": False})
    prior = DummyClassifier(strategy="prior").fit(examples.inputs, examples.label)
    return TrainedModel(converted, baselines={"class_prior": prior}, classes=list(fitted.classes_))
