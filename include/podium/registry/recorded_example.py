"""An example for a model that was made elsewhere: what it is asked, and what it answers, for the ledger."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
from mlflow.pyfunc import PyFuncModel

from podium.errors import PodiumError
from podium.registry.example import ANSWER, ROWS, example_output, example_problem, rows_of


def recorded_example(model: PyFuncModel, rows: pd.DataFrame | None) -> dict[str, Any]:
    """Ask a model for what it can be proved by later (``example_problem``), as plain JSON values.

    Args:
        model: The model, loaded.
        rows: What it is asked with if its files have no input example.

    Raises:
        PodiumError: There is nothing to ask it with, its answer cannot be recorded, or is another one when it
            is asked again.
    """
    recorded: dict[str, Any] = {}
    if model.input_example is None:
        if rows is None:
            raise PodiumError("has no input example, and there are no rows to ask it with")
        recorded[ROWS] = _as_json(rows)
    recorded[ANSWER] = example_output(model.predict(rows_of(model, recorded)))
    try:
        json.dumps(recorded, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise PodiumError(f"answers its example with what JSON cannot hold: {error}") from error
    if problem := example_problem(model, recorded):
        raise PodiumError(f"{problem}: a model whose answers change cannot prove itself")
    return recorded


def _as_json(rows: pd.DataFrame) -> dict[str, Any]:
    """Return each column with its type, in order; what has no value is null."""
    return {
        str(name): {"type": str(rows[name].dtype), "values": [_plain(value) for value in rows[name]]}
        for name in rows
    }


def _plain(value: Any) -> Any:
    if isinstance(value, pd.Timestamp):
        return None if value is pd.NaT else value.isoformat()
    if pd.api.types.is_scalar(value) and pd.isna(value):
        return None
    return value.item() if isinstance(value, np.generic) else value
