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
from podium.training import TrainedModel
from podium.training.local import train_locally
from podium.training.trainer import usable_models
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
    return dict(train_locally(spec, FIRST, folder, folder / f"out-{spec.name}").by_model)


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


def test_labels_that_the_model_learned_as_numbers_are_named_by_the_trainer(folder: Path) -> None:
    rows = pd.DataFrame({"x": [-2.0, -1.0, 1.0, 2.0]})
    codes = LogisticRegression().fit(rows, [1, 1, 0, 0])
    told = trained(folder, TOY, {"model": codes, "classes": ["yes", "no"]})
    assert told["candidate"]["accuracy"] > 0.7
    with pytest.raises(TrainerError, match=r"knows the labels \['0', '1'\].*TrainedModel\(classes=\[...\]\)"):
        trained(folder, TOY, {"model": codes}, name="again")
    # What knows its labels needs no help, also beside a model that does.
    text = LogisticRegression().fit(rows, ["no", "no", "yes", "yes"])
    parts = {"model": codes, "classes": ["yes", "no"], "baselines": {"base": text}}
    toy_trainer.RETURNED = parts
    with usable_models(toy_of(requirements=["scikit-learn"]), TrainedModel(**parts), folder) as models:
        assert [model.classes for model in models.values()] == [("yes", "no"), ("no", "yes")]


def toy_of(**changes: Any) -> ModelSpec:
    return ModelSpec.model_validate({**TOY, **changes})


@pytest.mark.parametrize(
    ("toy", "classes", "said"),
    [
        (TOY, ["no", "maybe"], "classes ['no', 'maybe']: each must be one label, once; allowed: no, yes"),
        (TOY, ["no", "no"], "classes ['no', 'no']: each must be one label, once; allowed: no, yes"),
        (NUMBER_TOY, ["no"], "each must be one label, once; allowed: none, for a regression"),
    ],
)
def test_labels_that_the_model_file_does_not_list_are_refused(
    folder: Path, toy: dict[str, Any], classes: list[str], said: str
) -> None:
    with pytest.raises(TrainerError, match=re.escape(said)):
        trained(folder, toy, {"classes": classes, "model": GOOD})


class Results:
    """What a library returns that Podium knows by its class; it answers with this for each row."""

    __module__ = "statsmodels.of.tests"

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def predict(self, inputs: pd.DataFrame) -> Any:
        return self.answer(inputs)


TRUSTED = {"pickle": "it is ours", "requirements": ["statsmodels"]}


def test_answers_that_are_no_probabilities_are_refused(folder: Path) -> None:
    pytest.importorskip("statsmodels", reason="statsmodels is not installed: `make test` installs it")
    parts = {"model": Results(lambda inputs: 3 * inputs["x"]), "classes": ["no", "yes"]}
    with pytest.raises(
        TrainerError, match=r"numbers from -\d.*needs probabilities: end a network with softmax"
    ):
        trained(folder, TOY, parts, **TRUSTED)


def test_a_model_that_only_exists_as_a_pickle_needs_a_sentence_in_the_model_file(folder: Path) -> None:
    parts = {"model": Results(lambda inputs: inputs["x"])}
    with pytest.raises(TrainerError, match="a Results can only be saved as a pickle.*why it is trusted"):
        trained(folder, NUMBER_TOY, parts)


def test_what_a_model_needs_to_load_must_be_among_the_requirements(folder: Path) -> None:
    parts = {"model": Results(lambda inputs: inputs["x"])}
    with pytest.raises(TrainerError, match="the model needs statsmodels to load; add it to requirements"):
        trained(folder, NUMBER_TOY, parts, pickle="it is ours")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (
            lambda rows: np.sort(rows["x"]),
            "answers the same rows in another order otherwise than among 64 rows",
        ),
        (lambda rows: rows["x"] - rows["x"].mean(), "answers a row alone otherwise than among 64 rows"),
        (
            lambda rows: np.append(rows["x"], 0)[: max(2, len(rows))],
            "gives 2 answers for 1 rows; give one a row",
        ),
    ],
    ids=["sorted", "of the others", "another length"],
)
def test_a_row_has_an_answer_of_its_own_in_its_place(folder: Path, answer: Any, said: str) -> None:
    model = LinearRegression().fit([[0.0], [1.0]], [0, 1])
    model.predict = answer
    with pytest.raises(TrainerError, match=said):
        trained(folder, NUMBER_TOY, {"model": model})
