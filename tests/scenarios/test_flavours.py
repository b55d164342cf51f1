"""A model of every flavour goes all the way, and answers as its own library wherever it is asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from mlflow.models import Model

from podium.errors import TrainerError
from podium.ledger import history
from podium.lifecycle import register, validate
from podium.model_file.spec import ModelSpec
from podium.names import Tag
from podium.registry.model_files import pickled_parts
from podium.scoring.run import plan, score_planned
from podium.services import Services
from podium.training.local import train_locally
from podium.training.saving import save_model, usable
from podium.versions import verified
from support import flavours, toy_trainer
from support.flavours import INPUTS, THREE, TWO, Made
from support.serving import make_champion, serving
from support.steps import FIRST, new_run, train
from support.toy import TOY

TRUSTED = ["collections.OrderedDict", "lightgbm.basic.Booster", "lightgbm.sklearn.LGBMClassifier"]
# By MLflow's name of the flavour, the file that is the model.
FILES = {
    "lightgbm_booster": ("lightgbm", "model.lgb"),
    "lightgbm_wrapper": ("lightgbm", "model.skops"),
    "xgboost_booster": ("xgboost", "model.ubj"),
    "xgboost_wrapper": ("xgboost", "model.ubj"),
    "catboost": ("catboost", "model.cb"),
    "statsmodels": ("statsmodels", "model.statsmodels"),
    "pytorch": ("pytorch", "data/model.pt2"),
    "pytorch_pickle": ("pytorch", "data/model.pth"),
    "keras": ("keras", "data/model.keras"),
    "onnx": ("onnx", "model.onnx"),
    "pyfunc": ("python_function", "python_model.pkl"),
    "pipeline": ("sklearn", "model.skops"),
}


@pytest.fixture(autouse=True)
def forget_the_model() -> Iterator[None]:
    yield
    toy_trainer.RETURNED.clear()


def spec_of(name: str, made: Made, folder: Path, **changes: Any) -> ModelSpec:
    """The model file of a model that is fitted already, with rows to score."""
    labels = {"three": THREE, "two": TWO, "number": ()}[made.column]
    metric = "log_loss" if labels else "mean_absolute_error"
    toy_trainer.RETURNED.update(model=made.model, classes=made.classes)
    return ModelSpec.model_validate(
        {
            **TOY,
            "name": f"flavour-{name.replace('_', '-')}",
            "trainer": "support.toy_trainer:return_parts",
            "task": "classification" if labels else "regression",
            "labels": list(labels),
            "data": {"source": "rows.csv", "time_column": "day", "label": made.column, "inputs": INPUTS},
            "params": {},
            "requirements": list(made.requirements),
            "pickle": made.pickle,
            "skops_trusted_types": TRUSTED if name == "pipeline" else [],
            "gates": [{"metric": metric, "threshold": 0.9}],
            "scoring": {"source": "new.parquet", "output": "scores", "keys": ["day"]},
            **changes,
        }
    )


@pytest.mark.usefixtures("fresh_process")
@pytest.mark.parametrize("make", flavours.ALL, ids=lambda make: make.__name__)
def test_a_model_of_a_flavour_is_judged_served_and_scored_with_its_own_librarys_numbers(
    services: Services, tmp_path: Path, make: Callable[[pd.DataFrame], Made]
) -> None:
    table = flavours.rows()
    table.to_csv(tmp_path / "rows.csv", index=False)
    table.head(40).to_parquet(tmp_path / "new.parquet", index=False)
    made, name = make(table.head(450)), make.__name__
    spec = spec_of(name, made, tmp_path)
    number = register.register_version(services, spec, train(services, spec).run_id, new_run())
    report = validate.validate_version(services, spec, number, new_run())
    assert report.passed, report.sentence()

    events = services.ledger.history(spec.name)
    flavour, file = FILES[name]
    with verified(services, events, spec.name, number) as (folder, manifest):
        assert file in {one.path for one in manifest.files}
        assert flavour in Model.load(str(folder)).flavors
        assert bool(pickled_parts(folder)) == bool(made.pickle)
        requirements = (folder / "requirements.txt").read_text()
        assert all(f"{package}==" in requirements for package in made.requirements)
        # Everybody else's tools load it.
        others = mlflow.pyfunc.load_model(str(folder))
        assert flavour == "python_function" or others.get_raw_model() is not None
    registered = history.registration(events, number)
    assert registered is not None
    assert registered.details.get(Tag.PICKLE) == made.pickle

    # Of a classification in the order of the model's own labels.
    classes = list(made.classes or getattr(made.model, "classes_", ())) if spec.labels else []
    own = np.asarray(made.own(table.head(40)[INPUTS]), dtype=float)
    tolerance = {"rtol": 1e-5, "atol": 1e-6}

    for planned in plan(services, spec, str(number), "*", allow_rolled_back=False):
        done = score_planned(services, spec, planned, cleared=False)
    assert (done.rows, done.rejected) == (40, 0)
    scored = pq.read_table(tmp_path / done.output).to_pandas()
    columns = [f"probability_{label}" for label in classes] or ["prediction"]
    np.testing.assert_allclose(scored[columns].to_numpy(), own.reshape(40, -1), **tolerance)

    make_champion(services, spec.name, number)
    with serving(services, spec.name) as server:
        server.wait_until_ready()
        answer = server.client.post("/predict", json=table.head(40)[INPUTS].to_dict("records"))
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert told.get("classes", []) == classes
    np.testing.assert_allclose(np.array(told["predictions"]), own, **tolerance)
    np.testing.assert_allclose(
        np.array(told["predictions"]).reshape(40, -1), scored[columns].to_numpy(), rtol=1e-6, atol=1e-7
    )


def test_a_pickle_that_is_not_trusted_is_refused_before_it_is_saved(tmp_path: Path) -> None:
    table = flavours.rows()
    table.to_csv(tmp_path / "rows.csv", index=False)
    spec = spec_of("pyfunc", flavours.pyfunc(table), tmp_path, pickle=None)
    with pytest.raises(TrainerError, match=r"a Line can only be saved as a pickle.*why it is trusted"):
        train_locally(spec, FIRST, tmp_path, tmp_path / "out")


def test_a_network_that_is_exported_for_one_size_of_a_batch_only_is_refused(tmp_path: Path) -> None:
    torch = flavours.library("torch")

    class OneSize(torch.nn.Module):  # type: ignore[misc, name-defined]
        def forward(self, given: Any) -> Any:
            return given[:, :1] * torch.ones(int(given.shape[0]), 1)

    inputs = flavours.rows()[INPUTS]
    with (
        usable(OneSize(), classifies=False, requirements=[]) as ready,
        pytest.raises(TrainerError, match=r"does not answer the same rows in another order: .*size"),
    ):
        save_model(tmp_path / "model", ready, inputs, [], [])
