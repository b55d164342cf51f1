"""The model ``rossmann-ensemble``: a store's sales of a day, six weeks ahead, by three boosters together.

A straight line in what is known of the store tells the log of the sales, and LightGBM, XGBoost and CatBoost
each learn what the line leaves over. Their weights, which sum to one, and a factor that makes the RMSPE small
come from several windows of time, each predicted by a line and boosters that saw only what was before it;
then all of them learn from all rows. The examples are made in ``trainers.rossmann_sales``, the model that is
saved is ``rossmann_script.py``.
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
from sklearn.linear_model import Ridge

from podium.training import FromCode, Params, TrainedModel, TrainingExamples

log = logging.getLogger(__name__)

SCRIPT = Path(__file__).with_name("rossmann_script.py")
# Two boosters beside each other, each on one thread: where cores are shared, the threads of one booster wait
# for each other longer than they work.
THREADS = 1
AT_ONCE = 2

# What the line is drawn in: the store's usual sales on such a day, and how it has done lately.
LINE_INPUTS = (
    "log_mean_weekday_promo",
    "own_forecast",
    "own_28",
    "own_84",
    "own_182",
    "own_weekday_promo_182",
)
# A row teaches nothing before the store's sales are known for this long.
KNOWN_DAYS = 28
# How far the mean of a window's log sales is off as a rule, before any window tells.
USUAL_BIAS = 0.01

Numbers = npt.NDArray[np.float64]
Predict = Callable[[Numbers], Numbers]


class TrainerParams(Params):
    """What a model file may set under ``params``.

    Attributes:
        seed: Of everything that the boosters draw.
        rounds: Trees of each booster.
        validation_days: How long each window is on which weights and factor are fitted.
        folds: How many such windows there are at most. The last one ends where the holdout begins, the others
            lie before it over a year, as far as half of the days are left to learn from.
    """

    seed: StrictInt = Field(default=0, ge=0, lt=2**31)
    rounds: StrictInt = Field(default=300, ge=1)
    validation_days: StrictInt = Field(default=42, ge=1)
    folds: StrictInt = Field(default=3, ge=1, le=12)


@dataclass(frozen=True)
class Booster:
    """A fitted booster: what it says of rows, and how it writes itself in its own format."""

    predict: Predict
    save: Callable[[str], object]


@dataclass(frozen=True)
class Members:
    """A straight line, and boosters that know what it leaves over; all on the log scale."""

    intercept: float
    slopes: dict[str, float]
    boosters: dict[str, Booster]

    def line(self, inputs: pd.DataFrame) -> Numbers:
        """Return what the line says of rows, (n,)."""
        slopes = np.array(list(self.slopes.values()))
        return np.asarray(self.intercept + inputs[list(self.slopes)].to_numpy(float) @ slopes)

    def predict(self, inputs: pd.DataFrame) -> dict[str, Numbers]:
        """Return the sales that each booster tells of rows, (n,)."""
        line, rows = self.line(inputs), inputs.to_numpy(float)
        return {name: np.exp(line + booster.predict(rows)) for name, booster in self.boosters.items()}


@dataclass(frozen=True)
class Mixture:
    """How the boosters are put together, and how far off they were on the windows.

    Attributes:
        weights: Of each booster's sales; they sum to one.
        factor: By which the sum is multiplied.
        metrics: The RMSPE of each booster and of all, each with the factor best there; the factor.
    """

    weights: dict[str, float]
    factor: float
    metrics: dict[str, float]

    def predict(self, sales: Mapping[str, Numbers]) -> Numbers:
        """Return the sales of each row, (n,), from those that each booster tells."""
        return np.asarray(self.factor * sum(self.weights[name] * told for name, told in sales.items()))


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
    mixture = mixed([on_window(examples, window, settings) for window in windows(examples.time, settings)])
    members = fitted(examples.inputs, examples.label, settings)
    return TrainedModel(
        model=_saved(members, mixture, list(map(str, examples.inputs))),
        baselines={
            "store_mean": OneColumn("log_mean"),
            "store_weekday_promo_mean": OneColumn("log_mean_weekday_promo"),
        },
        metrics=mixture.metrics,
    )


def windows(time: pd.Series, settings: TrainerParams) -> list[tuple[pd.Timestamp, pd.Timestamp]]:
    """Return first and last day of each window on which the boosters are compared, the last window first.

    Raises:
        ValueError: No row is before the last window.
    """
    first, last, length = time.min(), time.max(), settings.validation_days
    days = (last - first).days + 1
    if days <= length:
        raise ValueError(
            f"{len(time):,} examples, all of them in the last {length} days: nothing "
            "is left to learn from before the validation window; see params: validation_days"
        )
    apart = max(length, min(365, days // 2) // settings.folds)
    back = [fold * apart for fold in range(settings.folds) if fold == 0 or fold * apart + length <= days // 2]
    ends = [last - pd.Timedelta(days=days_back) for days_back in back]
    return [(end - pd.Timedelta(days=length - 1), end) for end in ends]


def on_window(
    examples: TrainingExamples, window: tuple[pd.Timestamp, pd.Timestamp], settings: TrainerParams
) -> pd.DataFrame:
    """Return what each booster says over the truth in a window, (n, boosters); it saw the rows before."""
    before, inside = examples.time < window[0], examples.time.between(*window)
    members = fitted(examples.inputs[before], examples.label[before], settings)
    return pd.DataFrame(members.predict(examples.inputs[inside])).div(
        examples.label[inside].to_numpy(float), axis=0
    )


def mixed(folds: list[pd.DataFrame]) -> Mixture:
    """Find weights and factor of small RMSPE on all windows, never worse there than the best booster.

    The weights lie halfway between those that are best there and equal ones, for windows to come are others.
    If a booster alone is better than that, they are those that are best, or else all is that booster's.

    Args:
        folds: Of each window, what each booster says over the truth, (n, boosters).
    """
    names = list(map(str, folds[0]))
    # RMSPE is the root mean square of f (w1 r1 + w2 r2 + w3 r3) - 1, with r a booster's sales over the truth.
    ratios = pd.concat(folds).to_numpy()
    best = nnls(ratios, np.ones(len(ratios)))[0]
    best /= best.sum()
    choices = [(best + 1 / len(names)) / 2, best, *np.eye(len(names))]
    found = [_rmspe(ratios @ weights) for weights in choices]
    alone = found[-len(names) :]
    at, weights = next(choice for choice in zip(found, choices, strict=True) if choice[0] <= min(alone))
    factor = rmspe_factor([fold.to_numpy() @ weights for fold in folds])
    metrics = {f"validation_rmspe_{name}": one for name, one in zip(names, alone, strict=True)}
    return Mixture(
        {name: float(weight) for name, weight in zip(names, weights, strict=True)},
        factor,
        {"validation_rmspe": at, **metrics, "factor": factor},
    )


def rmspe_factor(folds: list[Numbers]) -> float:
    """Return by what predictions are multiplied so that their RMSPE is small.

    Errors that go both ways ask for a factor below one, since those above the truth count more. That windows
    were off in the mean is made good as far as they agree: one window alone may have been an odd season.

    Args:
        folds: Of each window, the predictions over the truth, (n,).
    """
    off = np.array([np.mean(np.log(fold)) for fold in folds])
    centred = np.exp(np.concatenate([np.log(fold) - mean for fold, mean in zip(folds, off, strict=True)]))
    noise = off.var(ddof=1) / len(off) if len(off) > 1 else np.inf
    agreed = USUAL_BIAS**2 / (USUAL_BIAS**2 + noise)
    return float(centred.sum() / (centred**2).sum() * np.exp(-agreed * off.mean()))


def _rmspe(ratio: Numbers) -> float:
    """Return the RMSPE with the factor that makes it smallest."""
    return float(np.sqrt(np.mean((ratio.sum() / (ratio**2).sum() * ratio - 1.0) ** 2)))


def fitted(inputs: pd.DataFrame, sales: pd.Series, settings: TrainerParams) -> Members:
    """Draw the line and fit the boosters to what it leaves over."""
    known = inputs["known_days"] >= KNOWN_DAYS
    if known.any():
        inputs, sales = inputs[known], sales[known]
    logs = np.log(sales.to_numpy(float))
    intercept, slopes = _line(inputs, logs)
    left = logs - Members(intercept, slopes, {}).line(inputs)
    return Members(intercept, slopes, _boosters(inputs.to_numpy(float), left, settings))


def _line(inputs: pd.DataFrame, logs: Numbers) -> tuple[float, dict[str, float]]:
    line = Ridge(alpha=1.0).fit(inputs[list(LINE_INPUTS)].to_numpy(float), logs)
    return float(line.intercept_), dict(zip(LINE_INPUTS, map(float, line.coef_), strict=True))


def _boosters(inputs: Numbers, left: Numbers, settings: TrainerParams) -> dict[str, Booster]:
    start = perf_counter()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        fits = {
            name: pool.submit(fit, inputs, left, settings)
            for name, fit in (("catboost", _catboost), ("lightgbm", _lightgbm), ("xgboost", _xgboost))
        }
    boosters = {name: fit.result() for name, fit in fits.items()}
    log.info("The boosters learned from %s rows in %.0f s.", f"{len(left):,}", perf_counter() - start)
    return boosters


def _leaves(rows: int) -> int:
    """Return how many leaves a tree has: more where more rows tell stores and days apart."""
    return int(np.clip(rows // 1500, 31, 511))


def _lightgbm(inputs: Numbers, left: Numbers, settings: TrainerParams) -> Booster:
    model = lightgbm.train(
        {
            "objective": "regression",
            "learning_rate": 0.08,
            "num_leaves": _leaves(len(left)),
            "min_data_in_leaf": 50,
            "feature_fraction": 0.8,
            "bagging_fraction": 0.8,
            "bagging_freq": 1,
            "seed": settings.seed,
            "deterministic": True,
            "force_row_wise": True,
            "num_threads": THREADS,
            "verbosity": -1,
        },
        lightgbm.Dataset(inputs, left),
        num_boost_round=settings.rounds,
    )
    return Booster(lambda rows: np.asarray(model.predict(rows)), model.save_model)


def _xgboost(inputs: Numbers, left: Numbers, settings: TrainerParams) -> Booster:
    model = xgboost.train(
        {
            "objective": "reg:squarederror",
            "tree_method": "hist",
            "eta": 0.08,
            "grow_policy": "lossguide",
            "max_depth": 0,
            "max_leaves": _leaves(len(left)),
            "min_child_weight": 50,
            "subsample": 0.8,
            "colsample_bytree": 0.8,
            "seed": settings.seed,
            "nthread": THREADS,
        },
        xgboost.QuantileDMatrix(inputs, left, nthread=THREADS),
        num_boost_round=settings.rounds,
    )
    return Booster(lambda rows: np.asarray(model.inplace_predict(rows), dtype=float), model.save_model)


def _catboost(inputs: Numbers, left: Numbers, settings: TrainerParams) -> Booster:
    model = catboost.CatBoost(
        {
            "loss_function": "RMSE",
            "iterations": settings.rounds,
            "learning_rate": 0.12,
            "depth": min(8, _leaves(len(left)).bit_length()),
            "random_seed": settings.seed,
            "thread_count": THREADS,
            "allow_writing_files": False,
            "logging_level": "Silent",
        }
    )
    model.fit(inputs, left)
    return Booster(lambda rows: np.asarray(model.predict(rows, thread_count=THREADS)), model.save_model)


def _saved(members: Members, mixture: Mixture, inputs: list[str]) -> FromCode:
    """Write the boosters and how they are put together to files that live as long as the model."""
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
    for name, booster in members.boosters.items():
        booster.save(str(files[name]))
    together = {
        "inputs": inputs,
        "weights": mixture.weights,
        "factor": mixture.factor,
        "line": {"intercept": members.intercept, "slopes": members.slopes},
    }
    files["weights"].write_text(json.dumps(together), encoding="utf-8")
    model = FromCode(SCRIPT, files)
    weakref.finalize(model, folder.cleanup)
    return model
