"""How far ``rossmann-ensemble`` is off on weeks that it has not seen: ``make bench-rossmann``.

The last five times six weeks are held out in turns. Beside the ensemble stand its boosters, each multiplied
by a factor of its own, and boosters of the kind with which this model began: each alone, on fewer inputs,
without a line and a factor. Nothing passes or fails here.

    python benchmarks/rossmann.py [FOLDER] [--folds 5] [--rounds 300]

``QUICK=1`` takes one window and 25 rounds.

``FOLDER`` holds ``train.csv`` (or ``train.csv.gz``) and ``store.csv`` of Kaggle's "Rossmann Store Sales" or
made-up ones; the shipped ones are taken if none is given.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from time import perf_counter

import catboost
import lightgbm
import numpy as np
import numpy.typing as npt
import pandas as pd
import xgboost
from results import QUICK, Figure, at_most, keep
from rich.console import Console
from rich.table import Table

from podium.training import TrainingExamples
from trainers.rossmann_ensemble import TrainerParams, fitted, mixed, on_window, rmspe_factor, windows
from trainers.rossmann_sales import EARLIER_INPUTS, HORIZON_DAYS, INPUTS, sales_examples

SHIPPED = Path(__file__).parents[1] / "include" / "data" / "rossmann"
ENSEMBLE = "the ensemble"

Numbers = npt.NDArray[np.float64]


def read(folder: Path) -> pd.DataFrame:
    """Return the examples of a folder's two files."""
    names = [name for name in ("train.csv", "train.csv.gz") if (folder / name).is_file()]
    if not names:
        raise SystemExit(f"{folder}: no train.csv and no train.csv.gz")
    sales = pd.read_csv(folder / names[0], parse_dates=["Date"], dtype={"StateHoliday": str})
    return sales_examples(sales, pd.read_csv(folder / "store.csv"))


def earlier(inputs: Numbers, logs: Numbers, asked: Numbers, rounds: int) -> dict[str, Numbers]:
    """Return the sales of the rows asked for by boosters of the earlier kind, each (n,)."""
    sampled = {"bagging_fraction": 0.8, "bagging_freq": 1, "feature_fraction": 0.8}
    forest = lightgbm.train(
        {"learning_rate": 0.08, "num_leaves": 63, "seed": 0, "num_threads": 2, "verbosity": -1, **sampled},
        lightgbm.Dataset(inputs, logs),
        rounds,
    )
    sampled = {"subsample": 0.8, "colsample_bytree": 0.8, "min_child_weight": 10}
    trees = xgboost.train(
        {"tree_method": "hist", "eta": 0.08, "max_depth": 8, "seed": 0, "nthread": 2, **sampled},
        xgboost.QuantileDMatrix(inputs, logs),
        rounds,
    )
    cat = catboost.CatBoost(
        {
            "iterations": rounds,
            "learning_rate": 0.12,
            "depth": 8,
            "random_seed": 0,
            "thread_count": 2,
            "allow_writing_files": False,
            "logging_level": "Silent",
        }
    ).fit(inputs, logs)
    told = {
        "catboost": cat.predict(asked),
        "lightgbm": forest.predict(asked),
        "xgboost": trees.inplace_predict(asked),
    }
    return {f"earlier {name}": np.exp(log) for name, log in told.items()}


def today(examples: TrainingExamples, asked: pd.DataFrame, settings: TrainerParams) -> dict[str, Numbers]:
    """Return the sales of the rows asked for by each booster with its own factor, and by the ensemble."""
    folds = [on_window(examples, window, settings) for window in windows(examples.time, settings)]
    mixture = mixed(folds)
    told = fitted(examples.inputs, examples.label, settings).predict(asked)
    weights = ", ".join(f"{name} {weight:.2f}" for name, weight in mixture.weights.items())
    Console().print(f"  {weights}; factor {mixture.factor:.3f}")
    alone = {name: rmspe_factor([fold[name].to_numpy() for fold in folds]) * told[name] for name in told}
    return {**alone, ENSEMBLE: mixture.predict(told)}


def one_fold(examples: pd.DataFrame, first: pd.Timestamp, settings: TrainerParams) -> dict[str, Numbers]:
    """Return what each model says over the truth in the six weeks from a day on."""
    known = examples[examples["Date"] < first]
    held = examples[examples["Date"].between(first, first + pd.Timedelta(days=HORIZON_DAYS - 1))]
    past = TrainingExamples(inputs=known[list(INPUTS)], label=known["Sales"], time=known["Date"])
    of_then = list(EARLIER_INPUTS)
    logs = np.log(known["Sales"].to_numpy(float))
    start = perf_counter()
    told = earlier(known[of_then].to_numpy(), logs, held[of_then].to_numpy(), settings.rounds)
    halfway = perf_counter()
    told |= today(past, held[list(INPUTS)], settings)
    end = perf_counter()
    Console().print(
        f"{first:%Y-%m-%d}: {halfway - start:.0f} s the earlier ones, {end - halfway:.0f} s these"
    )
    return {name: sales / held["Sales"].to_numpy(float) for name, sales in told.items()}


def rmspe(ratio: Numbers) -> float:
    """Return the RMSPE of predictions over the truth."""
    return float(np.sqrt(np.mean((ratio - 1) ** 2)))


def report(folds: dict[pd.Timestamp, dict[str, Numbers]]) -> list[Figure]:
    """Show the RMSPE of all windows and of each, and return it beside that of the best earlier booster."""
    names = list(next(iter(folds.values())))
    together = {name: rmspe(np.concatenate([fold[name] for fold in folds.values()])) for name in names}
    best = min(at for name, at in together.items() if name.startswith("earlier"))
    table = Table("RMSPE", "all", "over the best earlier", *(f"from {first:%Y-%m-%d}" for first in folds))
    for name in names:
        each = [f"{rmspe(fold[name]):.4f}" for fold in folds.values()]
        table.add_row(name, f"{together[name]:.4f}", f"{together[name] / best:.3f}", *each)
    Console(width=160).print(table)
    alone = min(at for name, at in together.items() if name != ENSEMBLE and not name.startswith("earlier"))
    return [
        *(Figure(f"RMSPE of {name}", at, "") for name, at in together.items()),
        Figure("RMSPE of the ensemble / the best earlier booster", together[ENSEMBLE] / best, "x"),
        at_most("RMSPE of the ensemble / its best booster alone", together[ENSEMBLE] / alone, "x", 1),
    ]


def main() -> None:
    """Read the command line, fit all models, and show how far they were off."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", default=SHIPPED)
    parser.add_argument("--folds", type=int, default=1 if QUICK else 5)
    parser.add_argument("--rounds", type=int, default=25 if QUICK else TrainerParams().rounds)
    asked = parser.parse_args()
    start = perf_counter()
    examples = read(asked.folder)
    console = Console(width=160)
    console.print(f"{len(examples):,} examples made in {perf_counter() - start:.1f} s")
    after = examples["Date"].max() + pd.Timedelta(days=1)
    firsts = [after - pd.Timedelta(days=HORIZON_DAYS * fold) for fold in range(asked.folds, 0, -1)]
    settings = TrainerParams(rounds=asked.rounds)
    keep("rossmann", report({first: one_fold(examples, first, settings) for first in firsts}))


if __name__ == "__main__":
    main()
