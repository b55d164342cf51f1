"""The tests' smallest model: what its model file says, and its rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

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


def write_toy_rows(path: Path, first_day: str) -> None:
    """One row a day for 600 days; y follows x with noise."""
    draws = np.random.default_rng(7)
    x = draws.normal(size=600)
    y = np.where(x + draws.normal(scale=0.7, size=600) > 0, "yes", "no")
    day = pd.date_range(first_day, periods=600)
    pd.DataFrame({"day": day.strftime("%Y-%m-%d"), "x": x, "y": y}).to_csv(path, index=False)
