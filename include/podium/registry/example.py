"""The stored example of a model: does it predict it as when it was trained?

Run as a program, with the folder of a model, it tells in JSON what ``problem_in`` says. It needs MLflow and
``flavours`` alone, so that it can be run where nothing else of the project can be imported.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from podium.registry import flavours

# Imported late: skops is to come before it.
if TYPE_CHECKING:
    from mlflow.pyfunc import PyFuncModel

EXAMPLE_OUTPUT = "input_example_output"
ANSWER, ROWS = "answer", "rows"


def example_output(answer: Any) -> list[Any]:
    """Return a prediction as the plain JSON values that are stored beside the input example."""
    values: list[Any] = np.asarray(answer).tolist()
    return values


def example_problem(model: PyFuncModel, recorded: Mapping[str, Any] | None = None) -> str:
    """Say how a model does not predict its stored input example as when it was trained; "" if it does.

    Args:
        model: The model, loaded.
        recorded: The example of one that was made elsewhere (``podium.registry.recorded_example``).
    """
    if recorded is not None:
        return _problem(model, rows_of(model, recorded), recorded[ANSWER], "its example", "recorded")
    expected = (model.metadata.metadata or {}).get(EXAMPLE_OUTPUT)
    if model.input_example is None or expected is None:
        return "has no input example with an output to check it against"
    return _problem(model, model.input_example, expected, "its input example")


def rows_of(model: PyFuncModel, recorded: Mapping[str, Any]) -> Any:
    """Return what a model is asked with: rows on record, else the input example of its files."""
    columns = recorded.get(ROWS)
    if columns is None:
        return model.input_example
    return pd.DataFrame(
        {name: pd.Series(column["values"], dtype=column["type"]) for name, column in columns.items()}
    )


def _problem(model: PyFuncModel, rows: Any, expected: Any, what: str, when: str = "in training") -> str:
    found = example_output(model.predict(rows))
    if equal(np.asarray(expected), np.asarray(found), flavours.tolerance(model.metadata.flavors)):
        return ""
    return f"predicts {found} for {what}, not {expected} as {when}"


def equal(
    expected: np.ndarray[Any, Any], found: np.ndarray[Any, Any], tolerance: tuple[float, float]
) -> bool:
    """Tell whether answers are the same: numbers but for a relative and an absolute difference."""
    if expected.shape != found.shape:
        return False
    if np.issubdtype(expected.dtype, np.number) and np.issubdtype(found.dtype, np.number):
        relative, absolute = tolerance
        return np.allclose(expected, found, rtol=relative, atol=absolute)
    return bool((expected == found).all())


def problem_in(folder: str, gaps: str = "") -> str:
    """Say the same of the model in a folder, which may not even load.

    Args:
        folder: The model's.
        gaps: A folder with ``rows.parquet`` and ``answers.json``, which the model gave when it was trained:
            rows with gaps that MLflow's example cannot hold.
    """
    try:
        model = flavours.load(folder)
        problem = example_problem(model)
        if problem or not gaps:
            return problem
        answers = json.loads((Path(gaps) / "answers.json").read_text())
        return _problem(model, pd.read_parquet(Path(gaps) / "rows.parquet"), answers, "rows with gaps")
    except Exception as error:  # noqa: BLE001 - whatever it raises is what is told
        return f"does not load and predict its input example: {type(error).__name__}: {error}"


def check_no_requirements() -> None:
    """Spare MLflow the look at all installed packages, for a warning that nobody would read here.

    Private to it: https://github.com/mlflow/mlflow/tree/v3.17.2/mlflow/utils
    """
    from mlflow.utils import requirements_utils

    requirements_utils._MODULES_TO_PACKAGES = {}


if __name__ == "__main__":
    flavours.load_skops_for(Path(sys.argv[1]))
    check_no_requirements()
    print(json.dumps(problem_in(*sys.argv[1:])))  # noqa: T201 - its answer to whoever started it
