"""The stored example of a model: does it predict it as when it was trained?"""

from __future__ import annotations

from typing import Any

import numpy as np
from mlflow.pyfunc import PyFuncModel

EXAMPLE_OUTPUT = "input_example_output"
_RELATIVE_TOLERANCE = 1e-6
_ABSOLUTE_TOLERANCE = 1e-9


def example_output(answer: Any) -> list[Any]:
    """Return a prediction as the plain JSON values that are stored beside the input example."""
    values: list[Any] = np.asarray(answer).tolist()
    return values


def example_problem(model: PyFuncModel) -> str:
    """Say how a model does not predict its stored input example as when it was trained; "" if it does."""
    expected = (model.metadata.metadata or {}).get(EXAMPLE_OUTPUT)
    if model.input_example is None or expected is None:
        return "has no input example with its output to prove itself with"
    found = example_output(model.predict(model.input_example))
    if _equal(np.asarray(expected), np.asarray(found)):
        return ""
    return f"predicts {found} for its input example, not {expected} as when trained"


def _equal(expected: np.ndarray[Any, Any], found: np.ndarray[Any, Any]) -> bool:
    if expected.shape != found.shape:
        return False
    if np.issubdtype(expected.dtype, np.number) and np.issubdtype(found.dtype, np.number):
        return np.allclose(expected, found, rtol=_RELATIVE_TOLERANCE, atol=_ABSOLUTE_TOLERANCE)
    return bool((expected == found).all())
