"""What a trainer returns: a fitted estimator that can be asked, or a sentence on what it is instead."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.svm import LinearSVC

from podium.errors import PodiumError, TrainerError
from podium.model_file.spec import ModelSpec
from podium.training.local import train_locally
from support import toy_trainer
from support.steps import FIRST
from support.toy import NUMBER_TOY, TOY, write_number_rows, write_toy_rows

ROWS = pd.DataFrame({"x": [0.0, 1.0]})
GOOD = DummyClassifier().fit(ROWS, ["no", "yes"])


class Odd:
    """Answers with whatever it was given."""

    classes_ = ("no", "yes")

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def predict(self, _: object) -> Any:
        return self.answer

    predict_proba = predict


def trained(folder: Path, toy: dict[str, Any], returned: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Train a toy whose trainer returns this."""
    toy_trainer.RETURNED = returned
    gates = [{"min_holdout_rows": 5}]
    content = {**toy, "trainer": "support.toy_trainer:return_parts", "params": {}, "gates": gates, **changes}
    spec = ModelSpec.model_validate(content)
    return dict(train_locally(spec, FIRST, folder, folder / "out").by_model)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(toy_trainer, "RETURNED", {})
    write_toy_rows(tmp_path / "toy.csv", first_day="2024-01-01")
    write_number_rows(tmp_path)
    return tmp_path


NO_ESTIMATOR = "is not a fitted estimator but {}, which has no predict; return a scikit-learn estimator"


@pytest.mark.parametrize("place", ["the model", "the baseline 'base'"])
@pytest.mark.parametrize(
    ("model", "said"),
    [
        (None, NO_ESTIMATOR.format("NoneType")),
        (5, NO_ESTIMATOR.format("int")),
        ((LogisticRegression(), 1), NO_ESTIMATOR.format("tuple")),
        (LogisticRegression, "is the class LogisticRegression; return a fitted estimator"),
        (LogisticRegression(), "(LogisticRegression) has no classes_: it is not fitted, or no classifier"),
        (LinearSVC().fit(ROWS, ["no", "yes"]), "(LinearSVC) has no predict_proba, and a classification"),
        (LinearRegression(), "(LinearRegression) has no predict_proba"),
    ],
    ids=["none", "number", "tuple", "class", "unfitted", "svc", "regressor"],
)
def test_what_is_no_classifier_is_said_to_be_none(folder: Path, model: Any, said: str, place: str) -> None:
    parts = {"model": model} if place == "the model" else {"model": GOOD, "baselines": {"base": model}}
    with pytest.raises(TrainerError, match=re.escape(f"support.toy_trainer:return_parts: {place} {said}")):
        trained(folder, TOY, parts)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ({}, NO_ESTIMATOR.format("dict")),
        (LinearRegression(), "NotFittedError: This LinearRegression instance is not fitted yet"),
        (Odd(np.zeros(3)), "a model answered with shape (3,), not (400,): one number a row"),
        (Odd(["high"] * 400), "ValueError: could not convert string to float: 'high'"),
        (LinearRegression().fit([[0.0, 1.0], [1.0, 0.0]], [0, 1]), "ValueError: X has 1 features"),
    ],
    ids=["dict", "unfitted", "shape", "text", "features"],
)
def test_a_regressor_that_cannot_answer_gets_a_sentence(folder: Path, model: Any, said: str) -> None:
    with pytest.raises(TrainerError, match=re.escape(said)):
        trained(folder, NUMBER_TOY, {"model": model})


def test_probabilities_of_another_shape_are_named(folder: Path) -> None:
    with pytest.raises(PodiumError, match=re.escape("answered with shape (3,), not (100, 2)")):
        trained(folder, TOY, {"model": Odd(np.zeros(3))})
