"""What using a model costs, measured side by side: machines differ, what one is to another differs less."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from time import perf_counter
from typing import NamedTuple

import numpy as np
import pandas as pd
from mlflow.pyfunc import PyFuncModel

from podium.gates.evidence import Cost

SINGLE_ROWS = 100
BATCH_ROWS = 10_000
BATCHES = 3


class Timed(NamedTuple):
    """A model, the rows that it takes (at least one), and what is known of its cost already."""

    model: PyFuncModel
    rows: pd.DataFrame
    cost: Cost


def measure_speed(models: Mapping[str, Timed]) -> dict[str, Cost]:
    """Time single rows and batches; the models take turns, so that what else the machine does hits all.

    Returns:
        By the same names, the costs with ``latency_p95`` and ``throughput``.
    """
    for timed in models.values():
        timed.model.predict(timed.rows.head(1))
    singles = [
        {name: _seconds(timed.model, _row(timed.rows, place)) for name, timed in models.items()}
        for place in range(SINGLE_ROWS)
    ]
    batches = [
        {name: _seconds(timed.model, timed.rows.head(BATCH_ROWS)) for name, timed in models.items()}
        for _ in range(BATCHES)
    ]
    return {
        name: replace(
            timed.cost,
            latency_p95=float(np.quantile([seconds[name] for seconds in singles], 0.95)),
            throughput=min(BATCH_ROWS, len(timed.rows)) / min(seconds[name] for seconds in batches),
        )
        for name, timed in models.items()
    }


def _row(rows: pd.DataFrame, place: int) -> pd.DataFrame:
    return rows.iloc[[place % len(rows)]]


def _seconds(model: PyFuncModel, rows: pd.DataFrame) -> float:
    start = perf_counter()
    model.predict(rows)
    return perf_counter() - start
