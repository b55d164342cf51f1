"""Models from code go the same way as estimators."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest

from podium.errors import TrainerError
from podium.lifecycle import register, validate
from podium.model_file.loading import load_spec
from podium.model_file.spec import ModelSpec
from podium.registry.example import example_problem
from podium.registry.model_files import load_model
from podium.services import Services
from podium.versions import verified
from support.steps import new_run, train
from support.toy_line import SCRIPT
from support.trained_kinds import train_on

LINE: dict[str, Any] = {
    "trainer": "support.toy_line:train",
    "task": "regression",
    "labels": [],
    "code": [str(SCRIPT)],
    "params": {},
    "gates": [
        {"metric": "root_mean_squared_error", "threshold": 0.2},
        {"metric": "root_mean_squared_error", "against": "mean", "min_improvement": 1.0},
    ],
}


@pytest.fixture
def line_file(toy_spec: ModelSpec, toy_file: Callable[..., Path], tmp_path: Path) -> Callable[..., Path]:
    """The model file of a line, with changes."""
    rows = pd.read_csv(tmp_path / "toy.csv")
    noise = np.random.default_rng(3).normal(scale=0.1, size=len(rows))
    rows.assign(y=2.5 * rows["x"] + noise).to_csv(tmp_path / "toy.csv", index=False)
    return lambda **changes: toy_file(**{"name": toy_spec.name, **LINE, **changes})


def test_a_model_from_code_is_trained_judged_and_loaded_without_a_pickle(
    services: Services, line_file: Callable[..., Path]
) -> None:
    spec, run = load_spec(line_file()), new_run()
    trained = train(services, spec)
    number = register.register_version(services, spec, trained.run_id, run)
    report = validate.validate_version(services, spec, number, run)
    assert report.passed, report.sentence()
    events = services.ledger.history(spec.name)
    with verified(services, events, spec.name, number) as (folder, manifest):
        assert not [file.path for file in manifest.files if file.path.endswith((".pkl", ".pickle"))]
        model = load_model(folder)
        assert example_problem(model) == ""
        assert model.predict(pd.DataFrame({"x": [2.0]})).tolist() == pytest.approx([5.0], abs=0.1)


def test_a_script_must_be_named_in_the_model_file(services: Services, line_file: Callable[..., Path]) -> None:
    with pytest.raises(
        TrainerError, match=r"toy_script.py is not among the model file's code: none; name it"
    ):
        train(services, load_spec(line_file(code=[])))
    with pytest.raises(TrainerError, match=r"code: .*nowhere.py cannot be read: No such file"):
        train(services, load_spec(line_file(code=["nowhere.py"])))


def test_types_that_nobody_trusts_are_named_and_no_outage(
    services: Services, toy_spec: ModelSpec, toy_file: Callable[..., Path]
) -> None:
    spec = load_spec(toy_file(name=toy_spec.name, trainer="support.toy_trainer:hold_a_function_of_numpy"))
    with pytest.raises(TrainerError, match=r"does not trust by itself: .*nan_to_num.* skops_trusted_types"):
        train(services, spec)


def test_a_change_of_its_code_trains_anew(
    services: Services, line_file: Callable[..., Path], tmp_path: Path
) -> None:
    helper = tmp_path / "helper.py"
    helper.write_text("ONE = 1\n")
    spec = load_spec(line_file(code=[str(SCRIPT), "helper.py"]))
    first, again = train(services, spec), train(services, spec)
    helper.write_text("ONE = 2\n")
    changed = train(services, spec)
    assert again.run_id == first.run_id != changed.run_id


HANDED_OVER_LATE = """
import time, mlflow, pandas
class Model(mlflow.pyfunc.PythonModel):
    def predict(self, model_input: pandas.DataFrame):
        return [{answer}] * len(model_input)
mlflow.models.set_model(Model())
time.sleep({seconds})
"""


def test_models_that_are_loaded_at_once_are_not_mixed_up(tmp_path: Path) -> None:
    for name in ("1", "2"):
        script = tmp_path / f"script_{name}.py"
        script.write_text(HANDED_OVER_LATE.format(answer=name, seconds=0))
        mlflow.pyfunc.save_model(str(tmp_path / name), python_model=str(script), pip_requirements=["mlflow"])
        (copy,) = (tmp_path / name).glob("*.py")
        # The first takes long to end after it has set its model, and the second is quick.
        copy.write_text(HANDED_OVER_LATE.format(answer=name, seconds=0.5 if name == "1" else 0))
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(load_model, tmp_path / "1")
        time.sleep(0.2)
        second = pool.submit(load_model, tmp_path / "2")
        rows = pd.DataFrame({"x": [0.0]})
        assert (first.result().predict(rows), second.result().predict(rows)) == ([1], [2])


def test_a_training_on_whole_numbers_prints_no_advice_of_mlflow(tmp_path: Path) -> None:
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        trained = train_on("whole numbers", tmp_path)
    assert [str(one.message) for one in said if "integer column" in str(one.message)] == []
    assert trained.model.metadata.get_input_schema().input_types()[0].name == "long"
