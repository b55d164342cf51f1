"""The tests' smallest model: what its model file says, and its rows."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

# Half a day away: at the hour itself Airflow would start a run of its own among those of the tests.
SCHEDULED_HOUR = (datetime.now(UTC).hour + 12) % 24
TOY: dict[str, Any] = {
    "name": "toy",
    "owner": "tests",
    "description": "A toy.",
    "trainer": "support.toy_trainer:train",
    "task": "classification",
    "labels": ["no", "yes"],
    "data": {"source": "toy.csv", "time_column": "day", "label": "y", "inputs": ["x"]},
    "holdout": {"days": 100},
    "params": {"strength": 1.0},
    "requirements": ["scikit-learn"],
    "gates": [
        {"min_holdout_rows": 50},
        {"metric": "log_loss", "threshold": 0.69},
        {"metric": "log_loss", "against": "class_prior", "min_improvement": 0.01},
        {"metric": "log_loss", "against": "champion", "max_regression_abs": 0.01},
    ],
    "approval": {"approvers": ["amy"], "reason_min_length": 10, "expires_after": "1h"},
}

# The same, of a number; the country is for slices, and the model does not see it.
NUMBER_TOY: dict[str, Any] = {
    **TOY,
    "trainer": "support.toy_trainer:train_numbers",
    "task": "regression",
    "data": {"source": "numbers.csv", "time_column": "day", "label": "y", "inputs": ["x"]},
    "params": {},
    "gates": [{"metric": "mean_absolute_error", "against": "mean", "min_improvement": 0.1}],
}
del NUMBER_TOY["labels"]

# Each day is a list, whose rows are to be put in order.
RANKING_TOY: dict[str, Any] = {
    **NUMBER_TOY,
    "task": "ranking",
    "data": {**NUMBER_TOY["data"], "source": "lists.csv", "label": "relevance", "group": "list"},
    "gates": [{"metric": "ndcg", "against": "mean", "min_improvement": 0.1}],
}


def write_toy_rows(path: Path, first_day: str) -> None:
    """One row a day for 600 days; y follows x with noise."""
    draws = np.random.default_rng(7)
    x = draws.normal(size=600)
    y = np.where(x + draws.normal(scale=0.7, size=600) > 0, "yes", "no")
    day = pd.date_range(first_day, periods=600)
    pd.DataFrame({"day": day.strftime("%Y-%m-%d"), "x": x, "y": y}).to_csv(path, index=False)


def write_number_rows(folder: Path) -> None:
    """Four rows a day for 600 days; y and its relevance follow x with noise."""
    draws = np.random.default_rng(8)
    rows = 4 * 600
    day = pd.Series(np.repeat(pd.date_range("2024-01-01", periods=600), 4)).dt.strftime("%Y-%m-%d")
    x = draws.normal(size=rows)
    y = 10 + 2 * x + draws.normal(size=rows)
    table = pd.DataFrame({"day": day, "x": x, "y": y, "country": draws.choice(["A", "B", "C"], rows)})
    table.to_csv(folder / "numbers.csv", index=False)
    lists = table.assign(relevance=np.clip(np.round(y - 9), 0, 4).astype(int), list=day)
    lists.drop(columns="y").to_csv(folder / "lists.csv", index=False)
