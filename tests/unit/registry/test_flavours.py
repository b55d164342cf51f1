"""What each flavour's answer becomes; the libraries' own numbers are in tests/scenarios/test_flavours.py."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd
import pytest

from podium.registry.flavours import Flavour, ask, flavour_of, tolerance

ROWS = pd.DataFrame({"x": [1.0, 2.0, 3.0], "y": [0.0, 0.0, 1.0]})
TWO, THREE = ("no", "yes"), ("low", "mid", "high")


class Answering:
    """A model whose library answers with this."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def predict(self, inputs: pd.DataFrame) -> Any:
        return self.answer


@pytest.mark.parametrize(
    ("answer", "classes", "scores"),
    [
        ([0.25, 0.5, 1.0], TWO, [[0.75, 0.25], [0.5, 0.5], [0.0, 1.0]]),
        ([[0.25], [0.5], [1.0]], TWO, [[0.75, 0.25], [0.5, 0.5], [0.0, 1.0]]),
        (pd.DataFrame(np.eye(3)), THREE, np.eye(3).tolist()),
        (pd.Series([1, 2, 3], index=[7, 8, 9]), (), [1.0, 2.0, 3.0]),
        (np.array([[1.0], [2.0], [3.0]], dtype=np.float32), (), [1.0, 2.0, 3.0]),
    ],
)
def test_whatever_shape_a_library_answers_in_is_a_probability_for_each_label_or_a_number(
    answer: Any, classes: tuple[str, ...], scores: list[Any]
) -> None:
    found = ask(Answering(answer), Flavour.STATSMODELS, ROWS, classes)
    assert found.dtype == np.float64
    assert found.tolist() == scores


@pytest.mark.parametrize(
    ("answer", "classes", "said"),
    [
        ([1.0, 2.0], (), "3 rows with shape (2,), not (3,): one number a row"),
        (np.eye(3), TWO, "3 rows with shape (3, 3), not (3, 2): a probability for each label"),
        ([0.1, 0.2, 0.3], THREE, "3 rows with shape (3,), not (3, 3): a probability for each label"),
        # As many numbers, but a row of each: nobody knows whose they are.
        (np.ones((3, 3)).ravel(), THREE, "3 rows with shape (9,), not (3, 3)"),
        (np.ones((3, 2)), (), "3 rows with shape (3, 2), not (3,)"),
    ],
)
def test_an_answer_of_another_length_is_no_answer(answer: Any, classes: tuple[str, ...], said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        ask(Answering(answer), Flavour.STATSMODELS, ROWS, classes)


class Session:
    """An ONNX model that takes a tensor a column, and answers with labels too."""

    def __init__(self, **outputs: Any) -> None:
        self.outputs = outputs

    def get_inputs(self) -> list[Any]:
        return [Tensor("y", "tensor(double)", ["N"]), Tensor("x", "tensor(float)", ["N", 1])]

    def get_outputs(self) -> list[Any]:
        return [Tensor(name, "", []) for name in self.outputs]

    def run(self, _: None, feeds: dict[str, Any]) -> list[Any]:
        assert {name: (fed.dtype.name, fed.shape) for name, fed in feeds.items()} == {
            "y": ("float64", (3,)),
            "x": ("float32", (3, 1)),
        }
        assert feeds["x"].ravel().tolist() == [1.0, 2.0, 3.0]
        return list(self.outputs.values())


class Tensor:
    def __init__(self, name: str, kind: str, shape: list[Any]) -> None:
        self.name, self.type, self.shape = name, kind, shape


def test_of_several_outputs_of_onnx_the_one_of_numbers_is_taken() -> None:
    labels, scores = np.array(["a", "b", "a"]), np.full((3, 2), 0.5, dtype=np.float32)
    found = ask(Session(label=labels, scores=scores), Flavour.ONNX, ROWS, TWO)
    assert found.tolist() == [[0.5, 0.5]] * 3
    mapped = [{"no": 0.5, "yes": 0.5}] * 3
    with pytest.raises(ValueError, match=r"'scores': 'no tensor'.*zipmap=False"):
        ask(Session(label=labels, scores=mapped), Flavour.ONNX, ROWS, TWO)
    with pytest.raises(ValueError, match="one output must be the numbers"):
        ask(Session(scores=scores, margins=scores), Flavour.ONNX, ROWS, TWO)


@pytest.mark.parametrize(
    ("module", "flavour"),
    [
        ("lightgbm.sklearn", Flavour.LIGHTGBM),
        ("xgboost.core", Flavour.XGBOOST),
        ("catboost.core", Flavour.CATBOOST),
        ("statsmodels.base.wrapper", Flavour.STATSMODELS),
        ("torch.nn.modules.module", Flavour.PYTORCH),
        ("keras.src.models.model", Flavour.KERAS),
        ("onnx.onnx_ml_pb2", Flavour.ONNX),
        ("mlflow.pyfunc.model", Flavour.PYFUNC),
        ("sklearn.pipeline", Flavour.SKLEARN),
        ("lightgbm_of_ours", Flavour.SKLEARN),
    ],
)
def test_a_model_is_of_the_library_of_its_class_or_of_one_that_it_inherits_from(
    module: str, flavour: Flavour
) -> None:
    library = type("Model", (), {"__module__": module})
    ours = type("Ours", (library,), {"__module__": "trainers.ours"})
    assert flavour_of(library()) is flavour_of(ours()) is flavour


def test_a_network_of_keras_is_none_of_pytorch_which_it_computes_with() -> None:
    torch = type("Module", (), {"__module__": "torch.nn.modules.module"})
    keras = type("Model", (torch,), {"__module__": "keras.src.models.model"})
    assert flavour_of(keras()) is Flavour.KERAS


def test_models_of_32_bits_may_differ_more() -> None:
    assert tolerance({"python_function": {}, "pytorch": {}})[0] > tolerance({"sklearn": {}})[0]
