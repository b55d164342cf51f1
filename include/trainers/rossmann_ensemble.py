"""The model ``rossmann-ensemble``: a store's sales of a day, six weeks ahead, by three boosters together.

LightGBM, XGBoost and CatBoost each learn the log of the sales. Their weights are those of the smallest RMSPE
on the last weeks before the holdout, predicted by boosters that did not see these weeks; then all three learn
from all rows. The examples are made in ``trainers.rossmann_sales``, the model that is saved is
``rossmann_script.py``.
"""

from __future__ import annotations

import json
import logging
import weakref
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import catboost
import lightgbm
import numpy as np
import numpy.typing as npt
import pandas as pd
import xgboost
from pydantic import Field, StrictInt
from scipy.optimize import nnls

from podium.training import FromCode, Params, TrainedModel, TrainingExamples

log = logging.getLogger(__name__)

SCRIPT = Path(__file__).with_name("rossmann_script.py")
# Two boosters beside each other, each on one thread: where cores are shared, the threads of one booster wait
# for each other longer than they work.
THREADS = 1
AT_ONCE = 2

Numbers = npt.NDArray[np.float64]
Predict = Callable[[Numbers], Numbers]


class TrainerParams(Params):
    """What a model file may set under ``params``.

    Attributes:
        seed: Of everything that the boosters draw.
        rounds: Trees of each booster.
        validation_days: The last days before the holdout, on which the weights are fitted.
    """

    seed: StrictInt = Field(default=0, ge=0, lt=2**31)
    rounds: StrictInt = Field(default=300, ge=1)
    validation_days: StrictInt = Field(default=42, ge=1)


@dataclass(frozen=True)
class Booster:
    """A fitted booster: what it says of rows, and how it writes itself in its own format."""

    predict: Predict
    save: Callable[[str], object]


@dataclass(frozen=True)
class OneColumn:
    """A baseline: the sales are what one input says, which is on the log scale."""

    column: str

    def predict(self, inputs: pd.DataFrame) -> Numbers:
        """Return the sales of each row, (n,)."""
        return np.asarray(np.exp(inputs[self.column].to_numpy(float)))


def train(examples: TrainingExamples, params: Mapping[str, Any]) -> TrainedModel:
    """Fit the ensemble.

    Args:
        examples: Rows of ``sales_examples`` from before the holdout.
        params: See ``TrainerParams``.

    Returns:
        The model, with the baselines ``store_mean`` and ``store_weekday_promo_mean`` (its mean on the same
        day of the week, with or without a promotion; both as known six weeks before), and the RMSPE that each
        booster and the ensemble reached on the validation window.

    Raises:
        ValueError: Wrong params, or no rows before the validation window.
    """
    settings = TrainerParams.parse(params)
    last = examples.time > examples.time.max() - pd.Timedelta(days=settings.validation_days)
    if last.all():
        raise ValueError(
            f"{len(examples):,} examples, all of them in the last {settings.validation_days} days: nothing "
            "is left to learn from before the validation window; see params: validation_days"
        )
    weights, metrics = _weights(examples, last.to_numpy(), settings)
    boosters = _fit(examples.inputs.to_numpy(float), examples.label.to_numpy(float), settings)
    return TrainedModel(
        model=_saved(boosters, {"weights": weights, "inputs": list(examples.inputs)}),
        baselines={
            "store_mean": OneColumn("log_mean"),
            "store_weekday_promo_mean": OneColumn("log_mean_weekday_promo"),
        },
        metrics=metrics,
    )


def _weights(
    examples: TrainingExamples, last: npt.NDArray[np.bool_], settings: TrainerParams
) -> tuple[dict[str, float], dict[str, float]]:
    """Return the weights of smallest RMSPE on the last rows, and the RMSPE of each booster and of all."""
    inputs, sales = examples.inputs.to_numpy(float), examples.label.to_numpy(float)
    boosters = _fit(inputs[~last], sales[~last], settings)
    # RMSPE is the root mean square of w1 r1 + w2 r2 + w3 r3 - 1, with r what a booster says over the truth.
    ratios = np.stack(
        [np.exp(booster.predict(inputs[last])) / sales[last] for booster in boosters.values()], axis=1
    )
    fitted = nnls(ratios, np.ones(len(ratios)))[0]
    together = {
        f"validation_rmspe_{name}": _rmspe(ratio) for name, ratio in zip(boosters, ratios.T, strict=True)
    }
    together["validation_rmspe"] = _rmspe(ratios @ fitted)
    return {name: float(weight) for name, weight in zip(boosters, fitted, strict=True)}, together


def _rmspe(ratio: Numbers) -> float:
    return float(np.sqrt(np.mean((ratio - 1.0) ** 2)))


def _fit(inputs: Numbers, sales: Numbers, settings: TrainerParams) -> dict[str, Booster]:
    start, logs = perf_counter(), np.log(sales)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        fits = {
            name: pool.submit(fit, inputs, logs, settings)
            for name, fit in (("catboost", _catboost), ("lightgbm", _lightgbm), ("xgboost", _xgboost))
        }
    boosters = {name: fit.result() for name, fit in fits.items()}
    log.info("The boosters learned from %s rows in %.0f s.", f"{len(logs):,}", perf_counter() - start)
    return boosters


def _lightgbm(inputs: Numbers, logs: Numbers, settings: TrainerParams) -> Booster:
    model = lightgbm.train(
        {
            "objective": "regression",
            "learning_rate": 0.08,
            "num_leaves": 63,
            "feature_fraction": 0.8,
            "bagging_fraction": 0.8,
            "bagging_freq": 1,
            "seed": settings.seed,
            "deterministic": True,
            "force_row_wise": True,
            "num_threads": THREADS,
            "verbosity": -1,
        },
        lightgbm.Dataset(inputs, logs),
        num_boost_round=settings.rounds,
    )
    return Booster(lambda rows: np.asarray(model.predict(rows)), model.save_model)


def _xgboost(inputs: Numbers, logs: Numbers, settings: TrainerParams) -> Booster:
    model = xgboost.train(
        {
            "objective": "reg:squarederror",
            "tree_method": "hist",
            "eta": 0.08,
            "max_depth": 8,
            "min_child_weight": 10,
            "subsample": 0.8,
            "colsample_bytree": 0.8,
            "seed": settings.seed,
            "nthread": THREADS,
        },
        xgboost.QuantileDMatrix(inputs, logs, nthread=THREADS),
        num_boost_round=settings.rounds,
    )
    return Booster(lambda rows: np.asarray(model.inplace_predict(rows), dtype=float), model.save_model)


def _catboost(inputs: Numbers, logs: Numbers, settings: TrainerParams) -> Booster:
    model = catboost.CatBoost(
        {
            "loss_function": "RMSE",
            "iterations": settings.rounds,
            "learning_rate": 0.12,
            "depth": 8,
            "random_seed": settings.seed,
            "thread_count": THREADS,
            "allow_writing_files": False,
            "logging_level": "Silent",
        }
    )
    model.fit(inputs, logs)
    return Booster(lambda rows: np.asarray(model.predict(rows, thread_count=THREADS)), model.save_model)


def _saved(boosters: Mapping[str, Booster], weights: Mapping[str, Any]) -> FromCode:
    """Write the boosters and their weights to files that live as long as the model."""
    folder = TemporaryDirectory(prefix="rossmann-")
    files = {
        name: Path(folder.name) / file
        for name, file in (
            ("lightgbm", "lightgbm.txt"),
            ("xgboost", "xgboost.ubj"),
            ("catboost", "catboost.cbm"),
            ("weights", "weights.json"),
        )
    }
    for name, booster in boosters.items():
        booster.save(str(files[name]))
    files["weights"].write_text(json.dumps(weights), encoding="utf-8")
    model = FromCode(SCRIPT, files)
    weakref.finalize(model, folder.cleanup)
    return model
