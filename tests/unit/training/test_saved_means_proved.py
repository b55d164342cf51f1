"""A saved model answers its example in a process of its own, and holds no code of the project by name."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any, ClassVar

import mlflow
import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from podium.errors import TrainerError
from podium.registry import proof
from podium.registry.example import example_problem
from podium.registry.model_files import load_model
from podium.training.input_types import for_the_trainer
from podium.training.saving import FromCode, save_model, usable

BUNCH = ["numpy.dtype", "sklearn.utils._bunch.Bunch"]
BOOSTING = [
    "numpy.dtype",
    "functools.partial",
    "sklearn.utils.validation.check_array",
    "sklearn._loss._loss.CyHalfSquaredError",
    "sklearn._loss.link.IdentityLink",
    "sklearn._loss.link.Interval",
    "sklearn._loss.loss.HalfSquaredError",
    "sklearn.ensemble._hist_gradient_boosting.binning._BinMapper",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
]
DRAWS = np.random.default_rng(0)
ROWS = 60
NUMBER = DRAWS.normal(size=ROWS)
FLAGS = [None if place % 7 == 6 else bool(place % 2) for place in range(ROWS)]
DAYS = [None if place % 9 == 8 else date(1985, 1 + place % 12, 1) for place in range(ROWS)]


def contracts() -> pd.DataFrame:
    """A flag and a day with gaps, none of them in the first five rows; a number and a text."""
    return pd.DataFrame(
        {"flag": FLAGS, "born_on": DAYS, "x": NUMBER, "country": ["DE", "\u00d6S", "NA"] * 20}
    )


def saved(
    folder: Path, estimator: Any, rows: pd.DataFrame, label: Any, trusted: list[str]
) -> mlflow.pyfunc.PyFuncModel:
    """Fit and save as a training does."""
    inputs, _ = for_the_trainer(rows, "rows")
    fitted = estimator.fit(inputs, label)
    with usable(fitted, classifies=hasattr(fitted, "classes_"), requirements=[]) as ready:
        save_model(folder, ready, inputs, [], trusted)
    return load_model(folder)


def one_hot(columns: list[str], last: Any) -> Any:
    encoder = OneHotEncoder(handle_unknown="ignore")
    return make_pipeline(ColumnTransformer([("o", encoder, columns)], remainder="passthrough"), last)


@pytest.mark.usefixtures("fresh_process")
def test_days_and_flags_with_gaps_are_answered_in_another_process(tmp_path: Path) -> None:
    rows, label = contracts(), np.where(NUMBER > 0, "a", "b")
    model = saved(
        tmp_path / "model", one_hot(["flag", "born_on", "country"], LogisticRegression()), rows, label, BUNCH
    )
    assert example_problem(model) == ""
    assert str(model.metadata.signature.inputs) == (
        "['flag': boolean (optional), 'born_on': datetime (optional), 'x': double (required), "
        "'country': string (required)]"
    )
    example = model.input_example
    assert example.isna().sum().to_dict() == {"flag": 0, "born_on": 1, "x": 0, "country": 0}
    assert str(example["born_on"].dtype) == "datetime64[ns]"
    sent = pd.DataFrame([{"flag": None, "born_on": "1985-02-01", "x": 0.5, "country": "DE"}])
    asked, _ = for_the_trainer(rows, "rows")
    answers = model.predict(asked)
    alone = [model.predict(asked.iloc[[place]])[0] for place in range(12)]
    np.testing.assert_allclose(answers[:12], alone)
    assert np.abs(answers[6] - model.predict(asked.iloc[[6]].assign(flag=False))[0]).max() > 1e-6
    assert np.isfinite(model.predict(sent.astype({"born_on": "datetime64[ns]"}))).all()


def test_moments_with_and_without_parts_of_a_second_are_an_example(tmp_path: Path) -> None:
    rows = pd.DataFrame({"at": pd.date_range("2025-01-01", periods=ROWS, freq="250ms"), "x": NUMBER})
    model = saved(tmp_path / "model", one_hot(["at"], Ridge()), rows, NUMBER, BUNCH)
    assert example_problem(model) == ""
    assert len(model.input_example) == 5


class Nothing(BaseEstimator):  # type: ignore[misc]
    """A model that answers a gap otherwise once it was saved: it kept what it saw outside of itself."""

    seen: ClassVar[list[float]] = [7.0]

    def predict(self, inputs: pd.DataFrame) -> Any:
        return np.where(inputs["flag"].isna(), self.seen[0], 1.0)


def test_gaps_among_flags_are_asked_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs, _ = for_the_trainer(contracts()[["flag"]], "rows")
    monkeypatch.setattr("podium.registry.proof.refuse_open", lambda _: None)
    trusted = [f"{Nothing.__module__}.Nothing"]
    with usable(Nothing(), classifies=False, requirements=[]) as ready:
        save_model(tmp_path / "good", ready, inputs, [], trusted)
        real = proof.fresh_problem

        def after_an_edit(*paths: Path) -> str:
            monkeypatch.setattr(Nothing, "seen", [8.0])
            return real(*paths)

        monkeypatch.setattr(proof, "fresh_problem", after_an_edit)
        with pytest.raises(
            TrainerError, match=r"predicts \[8.0\] for rows with gaps, not \[7.0\] as in training"
        ):
            save_model(tmp_path / "bad", ready, inputs, [], trusted)


@pytest.mark.parametrize(
    "first", [[True, False, True, True, False], [None, True, None, False, True], [None] * 5]
)
def test_the_signature_is_read_off_all_rows_not_the_first(tmp_path: Path, first: list[bool | None]) -> None:
    rows = contracts()[["flag", "x"]].assign(flag=[*first, *FLAGS[5:]])
    scaled = one_hot(["flag"], Ridge())
    model = saved(tmp_path / "model", scaled, rows, NUMBER, BUNCH)
    assert str(model.metadata.signature.inputs) == "['flag': boolean (optional), 'x': double (required)]"


def test_categories_are_carried_and_text_is_answered_the_same(tmp_path: Path) -> None:
    brand = np.array(["alpha", "beta", "gamma"] * 20)
    frame = pd.Categorical(["steel", None, "alloy", "steel"] * 15)
    rows = pd.DataFrame({"brand": pd.Categorical(brand), "frame": frame, "age": range(ROWS)})
    booster = HistGradientBoostingRegressor(categorical_features="from_dtype", max_iter=5, min_samples_leaf=2)
    price = 900 - np.arange(ROWS) + 150 * (brand == "beta")
    model = saved(tmp_path / "model", booster, rows, price, BOOSTING)
    assert model.metadata.get_input_schema().input_types()[0].name == "string"
    sent = pd.DataFrame({"brand": brand.astype(object), "frame": list(frame), "age": np.arange(ROWS)})
    np.testing.assert_allclose(model.predict(sent), booster.predict(rows))


class ByDtype(BaseEstimator):  # type: ignore[misc]
    """A model that answers text otherwise than categories, as one that looks at codes would."""

    def fit(self, inputs: pd.DataFrame, label: Any) -> ByDtype:
        return self

    def predict(self, inputs: pd.DataFrame) -> Any:
        if not isinstance(inputs["brand"].dtype, pd.CategoricalDtype):
            raise ValueError("pandas dtypes must be int, float or bool")
        return inputs["brand"].cat.codes.to_numpy(float)


def test_a_model_that_takes_categories_only_says_what_clients_send() -> None:
    rows = pd.DataFrame({"brand": pd.Categorical(["a", "b"])})
    with (
        usable(ByDtype(), classifies=False, requirements=[]) as ready,
        pytest.raises(
            TrainerError, match="learned brand as categories, and cannot be asked with what they hold"
        ),
    ):
        ready.answer(rows)


def weekday_free(table: pd.DataFrame) -> pd.DataFrame:
    return table.clip(lower=0)


class Clip(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    def fit(self, inputs: Any, label: Any = None) -> Clip:
        return self

    def transform(self, inputs: pd.DataFrame) -> pd.DataFrame:
        return inputs.clip(lower=0)

    def __sklearn_is_fitted__(self) -> bool:
        return True


class Scaler(StandardScaler):  # type: ignore[misc]
    """A class of the project that inherits everything."""


def nested(step: Any) -> Any:
    return make_pipeline(ColumnTransformer([("deep", make_pipeline(step), ["x"])]), Ridge())


@pytest.mark.parametrize(
    ("step", "name"),
    [
        (FunctionTransformer(weekday_free), "weekday_free"),
        (FunctionTransformer(np.clip, kw_args={"a_min": 0, "a_max": 1}, check_inverse=False), None),
        (FunctionTransformer(lambda table: table * 2), "<lambda>"),
        (FunctionTransformer(np.log1p, inverse_func=weekday_free, check_inverse=False), "weekday_free"),
        (Clip(), "Clip"),
        (Scaler(), "Scaler"),
    ],
)
@pytest.mark.parametrize("trust", [True, False])
def test_an_estimator_that_refers_to_code_of_the_project_is_refused_with_the_way_out(
    tmp_path: Path, step: Any, name: str | None, trust: bool
) -> None:
    module = weekday_free.__module__
    trusted = [*BUNCH, "numpy.clip", "numpy.log1p"]
    trusted += [f"{module}.{one}" for one in ("weekday_free", "<lambda>", "Clip", "Scaler")] if trust else []
    rows = pd.DataFrame({"x": np.abs(NUMBER)})
    if name is None:
        assert example_problem(saved(tmp_path / "model", nested(step), rows, NUMBER, trusted)) == ""
        return
    with pytest.raises(TrainerError, match=rf"(refers to {module}\.|no attribute '){name}.* FromCode"):
        saved(tmp_path / "model", nested(step), rows, NUMBER, trusted)


SCRIPT = """
import mlflow, pandas
{first}
class Model(mlflow.pyfunc.PythonModel):
    def predict(self, model_input: pandas.DataFrame):
        return model_input["x"] * {factor}
mlflow.models.set_model(Model())
"""


@pytest.fixture
def script(tmp_path: Path) -> Callable[..., FromCode]:
    def write(first: str, factor: str) -> FromCode:
        path = tmp_path / "script.py"
        path.write_text(SCRIPT.format(first=first, factor=factor))
        return FromCode(path)

    return write


@pytest.mark.usefixtures("fresh_process")
@pytest.mark.parametrize(
    ("first", "factor", "message"),
    [
        ("from support.toy import TOY", "2", r"does not load .* No module named 'support'.*FromCode"),
        ("import os", "os.getpid()", r"the saved model predicts .* for its input example, not .* as in"),
    ],
)
def test_a_script_that_needs_the_project_or_this_process_is_refused(
    tmp_path: Path, script: Callable[..., FromCode], first: str, factor: str, message: str
) -> None:
    with (
        usable(script(first, factor), classifies=False, requirements=["mlflow"]) as ready,
        pytest.raises(TrainerError, match=message),
    ):
        save_model(tmp_path / "model", ready, pd.DataFrame({"x": [1.0, 2.0]}), ["mlflow"], [])
