"""Models of every flavour on the same rows, each with the answer that its own library gives."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest

INPUTS = ["a", "b", "c"]
THREE = ("low", "mid", "high")
TWO = ("no", "yes")


def rows() -> pd.DataFrame:
    """600 days; the label ``three``, the label ``two`` and the number follow the inputs with noise."""
    draws = np.random.default_rng(22)
    table = pd.DataFrame(draws.normal(size=(600, 3)), columns=INPUTS)
    noisy = table["a"] + 0.3 * draws.normal(size=600)
    table["three"] = np.select([noisy < -0.5, noisy < 0.5], ["low", "mid"], "high")
    table["two"] = np.where(table["b"] + 0.5 * draws.normal(size=600) > 0, "yes", "no")
    table["number"] = 2 * table["a"] - table["c"] + 0.1 * draws.normal(size=600)
    return table.assign(day=pd.date_range("2024-01-01", periods=600).strftime("%Y-%m-%d"))


@dataclass(frozen=True)
class Made:
    """A fitted model.

    Attributes:
        model: As a trainer returns it.
        own: The answer of its library to rows, probabilities for each of ``classes`` or numbers.
        requirements: What it needs to load.
        column: What it predicts: ``three``, ``two`` or ``number``.
        classes: As a trainer gives them; none where the model knows its labels.
        pickle: As the model file has it.
    """

    model: Any
    own: Callable[[pd.DataFrame], Any]
    requirements: Sequence[str]
    column: str
    classes: Sequence[str] = ()
    pickle: str | None = None


def library(name: str) -> Any:
    return pytest.importorskip(name, reason=f"{name} is not installed: `make test` installs it")


def _codes(table: pd.DataFrame, column: str) -> pd.Series:
    return table[column].map(list(THREE if column == "three" else TWO).index)


def _both(second: Any) -> Any:
    return np.column_stack([1 - np.ravel(second), np.ravel(second)])


def _tensor(inputs: pd.DataFrame) -> Any:
    return library("torch").tensor(inputs.to_numpy(np.float32))


def lightgbm_booster(table: pd.DataFrame) -> Made:
    lightgbm = library("lightgbm")
    data = lightgbm.Dataset(table[INPUTS], _codes(table, "two"))
    model = lightgbm.train({"objective": "binary", "verbosity": -1}, data, 20)
    return Made(model, lambda inputs: _both(model.predict(inputs)), ["lightgbm"], "two", TWO)


def lightgbm_wrapper(table: pd.DataFrame) -> Made:
    model = library("lightgbm").LGBMClassifier(n_estimators=20, verbosity=-1)
    model.fit(table[INPUTS], table["three"])
    return Made(model, model.predict_proba, ["lightgbm", "scikit-learn"], "three")


def xgboost_booster(table: pd.DataFrame) -> Made:
    xgboost = library("xgboost")
    model = xgboost.train({"max_depth": 3}, xgboost.DMatrix(table[INPUTS], table["number"]), 30)
    return Made(model, lambda inputs: model.predict(xgboost.DMatrix(inputs)), ["xgboost-cpu"], "number")


def xgboost_wrapper(table: pd.DataFrame) -> Made:
    model = library("xgboost").XGBClassifier(n_estimators=20).fit(table[INPUTS], _codes(table, "three"))
    return Made(model, model.predict_proba, ["xgboost-cpu", "scikit-learn"], "three", THREE)


def catboost(table: pd.DataFrame) -> Made:
    model = library("catboost").CatBoostClassifier(n_estimators=30, verbose=0, allow_writing_files=False)
    model.fit(table[INPUTS], table["three"])
    return Made(model, model.predict_proba, ["catboost"], "three")


def statsmodels(table: pd.DataFrame) -> Made:
    model = library("statsmodels.formula.api").ols("number ~ a + c", table).fit()
    return Made(model, model.predict, ["statsmodels"], "number", pickle="fitted here, of our own rows")


def pytorch(table: pd.DataFrame) -> Made:
    model = _network(table)
    return Made(model, lambda inputs: model(_tensor(inputs)).detach().numpy(), ["torch"], "three", THREE)


def pytorch_pickle(table: pd.DataFrame) -> Made:
    """A class that stands in this file: its code is in the pickle."""
    nn = library("torch").nn

    class Sum(nn.Module):
        def forward(self, given: Any) -> Any:
            return 2 * given[:, 0] - given[:, 2]

    model = Sum()
    return Made(
        model, lambda inputs: model(_tensor(inputs)).numpy(), ["torch"], "number", pickle="it is ours"
    )


def _network(table: pd.DataFrame) -> Any:
    torch = library("torch")
    torch.manual_seed(0)
    nn = torch.nn
    layers = nn.Sequential(nn.Linear(3, 16), nn.ReLU(), nn.Dropout(0.1), nn.Linear(16, 3), nn.Softmax(dim=1))
    given, wanted = _tensor(table[INPUTS]), torch.tensor(_codes(table, "three").to_numpy())
    steps = torch.optim.Adam(layers.parameters(), lr=0.02)
    for _ in range(80):
        steps.zero_grad()
        nn.functional.nll_loss(torch.log(layers(given)), wanted).backward()
        steps.step()
    return layers


def keras(table: pd.DataFrame) -> Made:
    os.environ.setdefault("KERAS_BACKEND", "torch")
    library("torch")
    found = library("keras")
    found.utils.set_random_seed(0)
    layers = [found.Input([3]), found.layers.Dense(8, "relu"), found.layers.Dense(1, "sigmoid")]
    model = found.Sequential(layers)
    model.compile(found.optimizers.Adam(0.05), "binary_crossentropy")
    model.fit(table[INPUTS].to_numpy(np.float32), _codes(table, "two").to_numpy(), epochs=5, verbose=0)

    def own(inputs: pd.DataFrame) -> Any:
        return _both(model.predict(inputs.to_numpy(np.float32), verbose=0))

    return Made(model, own, ["keras", "torch"], "two", TWO)


def onnx(table: pd.DataFrame) -> Made:
    from sklearn.linear_model import LogisticRegression

    convert, runtime = library("skl2onnx"), library("onnxruntime")
    some = table[INPUTS].to_numpy(np.float32)
    fitted = LogisticRegression().fit(some, table["three"])
    model = convert.to_onnx(fitted, some[:1], options={"zipmap": False})
    session = runtime.InferenceSession(model.SerializeToString())

    def own(inputs: pd.DataFrame) -> Any:
        return session.run(["probabilities"], {"X": inputs.to_numpy(np.float32)})[0]

    return Made(model, own, ["onnx", "onnxruntime"], "three", list(fitted.classes_))


class Line(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
    """A pyfunc of a class that stands in this file: its code is in the pickle."""

    def predict(self, context: Any, model_input: pd.DataFrame, params: Any = None) -> Any:
        return 2 * model_input["a"].to_numpy() - model_input["c"].to_numpy()


def pyfunc(_: pd.DataFrame) -> Made:
    model = Line()
    return Made(
        model, lambda inputs: model.predict(None, inputs), ["mlflow"], "number", pickle="it is a line of ours"
    )


def pipeline(table: pd.DataFrame) -> Made:
    """A booster inside of a Pipeline of scikit-learn is an estimator like any other."""
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    booster = library("lightgbm").LGBMClassifier(n_estimators=20, verbosity=-1)
    model = make_pipeline(StandardScaler().set_output(transform="pandas"), booster)
    model.fit(table[INPUTS], table["three"])
    return Made(model, model.predict_proba, ["lightgbm", "scikit-learn"], "three")


ALL = (
    lightgbm_booster,
    lightgbm_wrapper,
    xgboost_booster,
    xgboost_wrapper,
    catboost,
    statsmodels,
    pytorch,
    pytorch_pickle,
    keras,
    onnx,
    pyfunc,
    pipeline,
)
