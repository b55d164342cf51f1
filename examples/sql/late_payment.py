"""The model ``late-payment``: a logistic regression on invoices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sklearn.compose import ColumnTransformer
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from podium.training import TrainedModel, TrainingExamples


def train(examples: TrainingExamples, params: Mapping[str, Any]) -> TrainedModel:
    """Fit the regression, and the class prior beside it."""
    columns = ColumnTransformer(
        [
            ("numbers", StandardScaler(), ["amount", "reminders"]),
            ("sector", OneHotEncoder(handle_unknown="ignore"), ["sector"]),
        ]
    )
    model = make_pipeline(columns, LogisticRegression(C=float(params["strength"])))
    return TrainedModel(
        model=model.fit(examples.inputs, examples.label),
        baselines={"class_prior": DummyClassifier(strategy="prior").fit(examples.inputs, examples.label)},
    )
