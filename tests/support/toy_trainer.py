"""A trainer that fits in a blink; the tests' smallest user."""

import time
from collections.abc import Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, PolynomialFeatures

from podium.training import TrainedModel, TrainingExamples

ELSEWHERE: ContextVar[str] = ContextVar("ELSEWHERE")


def train(examples: TrainingExamples, params: Mapping[str, Any]) -> TrainedModel:
    strength = float(params["strength"])
    return TrainedModel(
        model=LogisticRegression(C=strength).fit(examples.inputs, examples.label),
        baselines={"class_prior": DummyClassifier(strategy="prior").fit(examples.inputs, examples.label)},
    )


def train_with_squares(examples: TrainingExamples, params: Mapping[str, Any]) -> TrainedModel:
    """With ``squares`` a model that raises where the square of an input is no finite number."""
    model = LogisticRegression(C=float(params["strength"]))
    if params["squares"]:
        model = make_pipeline(PolynomialFeatures(2), model)
    return TrainedModel(
        model=model.fit(examples.inputs, examples.label),
        baselines={"class_prior": DummyClassifier(strategy="prior").fit(examples.inputs, examples.label)},
    )


def train_numbers(examples: TrainingExamples, params: Mapping[str, Any]) -> TrainedModel:
    model = LinearRegression().fit(examples.inputs, examples.label)
    return TrainedModel(
        model=model,
        baselines={"mean": DummyRegressor().fit(examples.inputs, examples.label)},
        metrics={"r2": float(model.score(examples.inputs, examples.label))},
    )


def with_places(known: pd.DataFrame, places: pd.DataFrame) -> pd.DataFrame:
    return known.merge(places, on="x")


def with_a_column_twice(known: pd.DataFrame) -> pd.DataFrame:
    return pd.concat([known, known[["x"]]], axis=1)


def with_what_lies_elsewhere(known: pd.DataFrame) -> pd.DataFrame:
    """Examples of rows that Podium does not read."""
    extra = pd.read_csv(ELSEWHERE.get())
    return known.assign(size=extra["size"].iloc[0], parts=[[1, 2]] * len(known))


def train_without_end(examples: TrainingExamples, params: Mapping[str, Any]) -> TrainedModel:
    trained = train_numbers(examples, params)
    numbers = {"up": float("inf"), "down": float("-inf"), "away": float("nan")}
    return TrainedModel(model=trained.model, metrics=numbers)


def return_nonsense(examples: TrainingExamples, params: Mapping[str, Any]) -> object:
    return "no model"


def claim_to_be_champion(examples: TrainingExamples, params: Mapping[str, Any]) -> TrainedModel:
    trained = train(examples, params)
    return TrainedModel(model=trained.model, baselines={"champion": trained.model})


def crash(examples: TrainingExamples, params: Mapping[str, Any]) -> TrainedModel:
    return params["no such param"]  # type: ignore[no-any-return]


def rename_labels(examples: TrainingExamples, params: Mapping[str, Any]) -> TrainedModel:
    return TrainedModel(model=LogisticRegression().fit(examples.inputs, examples.label.str.upper()))


def double(inputs: pd.DataFrame) -> pd.DataFrame:
    return inputs * 2


def hold_a_function(examples: TrainingExamples, params: Mapping[str, Any]) -> TrainedModel:
    model = make_pipeline(FunctionTransformer(double), LogisticRegression())
    return TrainedModel(model=model.fit(examples.inputs, examples.label))


def hold_a_function_of_numpy(examples: TrainingExamples, params: Mapping[str, Any]) -> TrainedModel:
    model = make_pipeline(FunctionTransformer(np.nan_to_num), LogisticRegression())
    return TrainedModel(model=model.fit(examples.inputs, examples.label))


def train_weakly(examples: TrainingExamples, params: Mapping[str, Any]) -> TrainedModel:
    if params["strength"] > 0.5:
        raise ValueError("too strong")
    return train(examples, params)


def train_until_killed(examples: TrainingExamples, params: Mapping[str, Any]) -> TrainedModel:
    raise KeyboardInterrupt


def train_when_let(examples: TrainingExamples, params: Mapping[str, Any]) -> TrainedModel:
    """Tell that training began, and go on when the file that holds it is gone."""
    hold = Path(params["hold"])
    hold.with_suffix(".began").touch()
    while hold.exists():
        time.sleep(0.1)
    return train(examples, params)


def report_as_rankers_do(examples: TrainingExamples, params: Mapping[str, Any]) -> TrainedModel:
    """Names as they are usual, none of which MLflow takes."""
    trained = train_numbers(examples, params)
    return TrainedModel(
        model=trained.model,
        baselines={"the shop's own order": trained.baselines["mean"], "n" * 300: trained.baselines["mean"]},
        metrics={"hit@1": 0.4, "ndcg@3": np.float32(0.5), "a//b": 1},
    )


def return_parts(examples: TrainingExamples, params: Mapping[str, Any]) -> TrainedModel:
    """Return whatever the test asks for, and empty the lists among the params."""
    for value in params.values():
        if isinstance(value, list):
            value.clear()
    parts = RETURNED if "model" in RETURNED else {**RETURNED, "model": train_numbers(examples, params).model}
    return TrainedModel(**parts)


RETURNED: dict[str, Any] = {}
