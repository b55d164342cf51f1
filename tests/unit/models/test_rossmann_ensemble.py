"""The model ``rossmann-ensemble`` goes the whole way, and is what the documents say."""

from __future__ import annotations

import hashlib
import json
import math
import re
import subprocess
import sys
import sysconfig
import uuid
from functools import cache
from pathlib import Path
from typing import Any

import lightgbm
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
from podium.settings import PROJECT_ROOT
from podium.training.data import load_window
from podium.training.examples import DataWindow
from podium.training.run import TrainingExamples
from podium.training.saving import FromCode, usable
from podium.training.trainer import TrainedModel
from podium.versions import manifest_of, verified
from support.rossmann import AS_OF, MODEL_FILE
from support.steps import new_run
from support.steps import train as train_run
from synthetic.rossmann import write_rossmann
from trainers.rossmann_ensemble import (
    TrainerParams,
    fitted,
    mixed,
    on_window,
    rmspe_factor,
    train,
    windows,
)
from trainers.rossmann_sales import EARLIER_INPUTS, HORIZON_DAYS, INPUTS

DATA = PROJECT_ROOT / "include" / "data"
SAMPLE = DATA / "rossmann"
# Fewer trees than the model file says, so that a test takes seconds.
ROUNDS = 60

# Runs with the installed packages, but without the project, which is installed by a .pth file.
IN_ANOTHER_PROCESS = """
import json, sys
sys.path.append(sys.argv[1])
for name in ("podium", "trainers"):
    try:
        __import__(name)
    except ModuleNotFoundError:
        continue
    sys.exit(f"{name} is there")
import mlflow, pandas
model = mlflow.pyfunc.load_model(sys.argv[2])
print(json.dumps(model.predict(pandas.read_parquet(sys.argv[3])).tolist()))
"""


def shipped(**data: Any) -> ModelSpec:
    """The shipped model file under a name of its own, with the paths made absolute and ``data`` changed."""
    spec = load_spec(MODEL_FILE)
    data = {"source": str(PROJECT_ROOT / spec.data.source), **data}
    return spec.model_copy(
        update={
            "name": f"rossmann-{uuid.uuid4().hex[:8]}",
            "code": tuple(str(PROJECT_ROOT / path) for path in spec.code),
            "data": spec.data.model_copy(update=data),
        }
    )


@cache
def sample_window() -> DataWindow:
    return load_window(shipped(), AS_OF, PROJECT_ROOT)


@cache
def sample_model() -> TrainedModel:
    return train(sample_window().train, {"rounds": ROUNDS})


def answers(model: FromCode, inputs: pd.DataFrame) -> np.ndarray:
    with usable(model, classifies=False, requirements=["numpy"]) as loaded:
        return np.asarray(loaded.answer(inputs))


def rmspe(predictions: np.ndarray, truth: pd.Series) -> float:
    return float(np.sqrt(np.mean((predictions / truth.to_numpy() - 1) ** 2)))


def test_the_sample_is_trained_judged_and_served_without_podium(services: Services, tmp_path: Path) -> None:
    spec, run = shipped(), new_run()
    trained = train_run(services, spec, AS_OF, rounds=ROUNDS)
    number = register.register_version(services, spec, trained.run_id, run)
    report = validate.validate_version(services, spec, number, run)
    assert report.passed, report.sentence()

    events = services.ledger.history(spec.name)
    names = {Path(file.path).name for file in manifest_of(events, spec.name, number).files}
    assert {"lightgbm.txt", "xgboost.ubj", "catboost.cbm", "weights.json", "rossmann_script.py"} <= names
    assert not [name for name in names if name.endswith((".pkl", ".pickle", ".joblib"))]
    inputs = sample_window().holdout.inputs.head(200)
    inputs.to_parquet(tmp_path / "inputs.parquet")
    with verified(services, events, spec.name, number) as (folder, _):
        model = load_model(folder)
        assert example_problem(model) == ""
        assert model.metadata.get_input_schema().input_names() == list(INPUTS)
        arguments = [sysconfig.get_path("purelib"), str(folder), str(tmp_path / "inputs.parquet")]
        elsewhere = subprocess.run(
            [sys.executable, "-I", "-S", "-c", IN_ANOTHER_PROCESS, *arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert elsewhere.returncode == 0, elsewhere.stderr
        np.testing.assert_array_equal(json.loads(elsewhere.stdout), model.predict(inputs))


def test_scrambled_sales_are_refused_with_a_sentence(services: Services, tmp_path: Path) -> None:
    write_rossmann(tmp_path, stores=8, days=300, seed=2)
    rows = pd.read_csv(tmp_path / "train.csv.gz")
    scored = np.flatnonzero(rows["Sales"] > 0)
    rows.loc[scored, "Sales"] = rows.loc[np.random.default_rng(1).permutation(scored), "Sales"].to_numpy()
    rows.to_csv(tmp_path / "train.csv.gz", index=False)
    spec, run = shipped(source=str(tmp_path / "train.csv.gz")), new_run()
    trained = train_run(services, spec, AS_OF, rounds=20)
    number = register.register_version(services, spec, trained.run_id, run)
    report = validate.validate_version(services, spec, number, run)
    assert not report.passed
    assert re.search(r"rmspe at most 0\.1\b", report.sentence()), report.sentence()


def test_the_ensemble_beats_its_baselines_its_boosters_and_what_it_was_before() -> None:
    trained, window = sample_model(), sample_window()
    train_rows, holdout = window.train, window.holdout
    ensemble = rmspe(answers(trained.model, holdout.inputs), holdout.label)
    baselines = {
        name: rmspe(model.predict(holdout.inputs), holdout.label) for name, model in trained.baselines.items()
    }
    assert ensemble < 0.08
    assert ensemble < baselines["store_weekday_promo_mean"] - 0.05 < baselines["store_mean"] - 0.1
    of_each = [trained.metrics[f"validation_rmspe_{name}"] for name in ("lightgbm", "xgboost", "catboost")]
    assert trained.metrics["validation_rmspe"] <= min(of_each)

    earlier = lightgbm.train(
        {"learning_rate": 0.08, "num_leaves": 63, "num_threads": 1, "seed": 0, "verbosity": -1},
        lightgbm.Dataset(train_rows.inputs[list(EARLIER_INPUTS)].to_numpy(), np.log(train_rows.label)),
        num_boost_round=ROUNDS,
    )
    before = np.exp(earlier.predict(holdout.inputs[list(EARLIER_INPUTS)].to_numpy()))
    assert ensemble < 0.9 * rmspe(before, holdout.label)


def test_the_saved_model_is_the_line_the_boosters_and_how_they_were_mixed() -> None:
    examples, settings = sample_window().train, TrainerParams(rounds=5, folds=1)
    inputs = sample_window().holdout.inputs
    folds = [on_window(examples, window, settings) for window in windows(examples.time, settings)]
    mixture, members = mixed(folds), fitted(examples.inputs, examples.label, settings)
    trained = train(examples, {"rounds": 5, "folds": 1})
    stored = json.loads(trained.model.artifacts["weights"].read_text())
    assert (stored["weights"], stored["factor"]) == (mixture.weights, mixture.factor)
    assert mixture.factor == trained.metrics["factor"] < 1
    expected = mixture.predict(members.predict(inputs))
    np.testing.assert_allclose(answers(trained.model, inputs), expected, rtol=1e-6)


def test_a_window_is_predicted_by_what_was_before_it() -> None:
    examples, settings = sample_window().train, TrainerParams(rounds=3)
    window = windows(examples.time, settings)[1]
    doubled = TrainingExamples(
        inputs=examples.inputs,
        label=examples.label.mask(examples.time >= window[0], examples.label * 2),
        time=examples.time,
    )
    one, other = (on_window(rows, window, settings) for rows in (examples, doubled))
    assert len(one) == examples.time.between(*window).sum() > 500
    pd.testing.assert_frame_equal(one / 2, other)


@pytest.mark.parametrize(
    ("days", "folds", "ends"),
    [
        (900, 3, [0, 121, 242]),  # over a year
        (900, 5, [0, 73, 146, 219, 292]),
        (258, 3, [0, 43, 86]),  # half of the days are left to learn from
        (120, 3, [0]),
    ],
)
def test_windows_lie_over_a_year_as_far_as_days_are_left(days: int, folds: int, ends: list[int]) -> None:
    time = pd.Series(pd.date_range("2013-01-01", periods=days))
    found = windows(time, TrainerParams(folds=folds))
    assert [(time.max() - end).days for _, end in found] == ends
    assert {(end - first).days + 1 for first, end in found} == {HORIZON_DAYS}


def some_ratios(seed: int, mean: float = 0.0, **noise: float) -> pd.DataFrame:
    """What boosters say over the truth, with errors of their own."""
    draws = np.random.default_rng(seed)
    return pd.DataFrame({name: np.exp(mean + draws.normal(0, size, 2000)) for name, size in noise.items()})


def test_weights_sum_to_one_and_no_booster_alone_is_better() -> None:
    alike = mixed([some_ratios(seed, one=0.1, other=0.1, third=0.1) for seed in range(3)])
    assert list(alike.weights.values()) == pytest.approx([1 / 3] * 3, abs=0.03)
    assert alike.metrics["validation_rmspe"] == pytest.approx(0.1 / 3**0.5, abs=0.005)
    beside_bad_ones = mixed([some_ratios(seed, one=0.3, other=0.02, third=0.3) for seed in range(3)])
    assert beside_bad_ones.weights["other"] > 0.98
    assert beside_bad_ones.metrics["validation_rmspe"] <= beside_bad_ones.metrics["validation_rmspe_other"]
    for mixture in (alike, beside_bad_ones):
        assert sum(mixture.weights.values()) == pytest.approx(1)
        assert min(mixture.weights.values()) >= 0


def test_the_factor_is_that_of_the_smallest_rmspe_where_windows_agree() -> None:
    def factor(*means: float) -> float:
        return rmspe_factor([some_ratios(seed, mean, one=0.1)["one"] for seed, mean in enumerate(means)])

    # Of errors e ~ N(m, s) on the log scale it is exp(-m - 1.5 s^2).
    assert factor(0.0, 0.0, 0.0) == pytest.approx(math.exp(-0.015), abs=0.005)
    assert factor(0.2, 0.2, 0.2) == pytest.approx(math.exp(-0.215), abs=0.01)
    # What one window says, or only one of three, is no rule.
    assert factor(0.2) == pytest.approx(math.exp(-0.015), abs=0.005)
    assert factor(0.2, 0.0, -0.2) == pytest.approx(math.exp(-0.015), abs=0.005)


def test_the_same_examples_and_params_make_the_same_model() -> None:
    first = sample_model()
    again = train(sample_window().train, {"rounds": ROUNDS})
    inputs = sample_window().holdout.inputs
    np.testing.assert_array_equal(answers(first.model, inputs), answers(again.model, inputs))
    for name in ("lightgbm", "xgboost", "weights"):
        assert first.model.artifacts[name].read_bytes() == again.model.artifacts[name].read_bytes()
    other = train(sample_window().train, {"rounds": 5, "folds": 1, "seed": 1})
    assert (answers(first.model, inputs) != answers(other.model, inputs)).any()


def test_the_files_of_a_model_are_gone_when_it_is() -> None:
    model = train(sample_window().train, {"rounds": 1, "folds": 1}).model
    folder = model.artifacts["weights"].parent
    assert folder.is_dir()
    del model
    assert not folder.exists()


@pytest.mark.parametrize(
    ("params", "message"),
    [
        (
            {"round": 1},
            "params.round: unknown key; did you mean 'rounds'? allowed: folds, rounds, seed",
        ),
        ({"seed": -1}, "params.seed: -1: must be at least 0"),
        ({"rounds": 0}, "params.rounds: 0: must be at least 1"),
        ({"rounds": True}, "params.rounds: true: must be a whole number"),
        ({"folds": 0}, "params.folds: 0: must be at least 1"),
        ({"validation_days": 1.5}, "params.validation_days: 1.5: must be a whole number"),
    ],
)
def test_wrong_params_are_refused(params: dict[str, Any], message: str) -> None:
    with pytest.raises(TrainerError, match=re.escape(message)):
        TrainerParams.parse(params)


def test_rows_before_the_validation_window_are_needed() -> None:
    with pytest.raises(ValueError, match="all of them in the last 9999 days: nothing is left to learn from"):
        train(sample_window().train, {"validation_days": 9999})


def test_the_model_file_names_the_inputs_and_params_of_the_trainer() -> None:
    spec = load_spec(MODEL_FILE)
    assert spec.data.inputs == INPUTS
    assert not [name for name in spec.data.inputs if "customers" in name.lower()]
    assert TrainerParams.parse(spec.params) == TrainerParams()
    assert spec.holdout.days == HORIZON_DAYS


def test_only_open_days_with_sales_are_scored() -> None:
    rows = pd.read_csv(SAMPLE / "train.csv.gz", parse_dates=["Date"])
    newest = rows[rows["Date"] >= pd.Timestamp("2015-08-01") - pd.Timedelta(days=HORIZON_DAYS)]
    scored = newest[(newest["Open"] == 1) & (newest["Sales"] > 0)]
    assert len(scored) < len(newest)
    assert sorted(sample_window().holdout.label) == sorted(scored["Sales"])


def test_the_data_page_tells_the_truth() -> None:
    page = (DATA / "README.md").read_text(encoding="utf-8").partition("## rossmann/")[2]
    for file in ("train.csv.gz", "store.csv"):
        assert hashlib.sha256((SAMPLE / file).read_bytes()).hexdigest() in page
    rows, stores = pd.read_csv(SAMPLE / "train.csv.gz"), pd.read_csv(SAMPLE / "store.csv")
    assert f"{len(rows):,} rows of {len(stores)} stores" in page
    assert f"{rows['Date'].min()} to {rows['Date'].max()}" in page
    assert (SAMPLE / "train.csv.gz").stat().st_size < 500_000
