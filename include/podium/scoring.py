"""Score rows with a registered version."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from mlflow.pyfunc import PyFuncModel

from podium.errors import PodiumError
from podium.metrics import Probabilities


def predict_probabilities(model: PyFuncModel, inputs: pd.DataFrame, labels: Sequence[str]) -> Probabilities:
    """Return the probability of each label for each row, shape (rows, labels), in the order of ``labels``.

    Raises:
        PodiumError: The model knows other labels, or answers with another shape.
    """
    classes = (model.metadata.metadata or {}).get("classes", [])
    answer = np.asarray(model.predict(inputs), dtype=np.float64)
    return in_label_order(answer, classes, labels, len(inputs))


def in_label_order(
    answer: Probabilities, classes: Sequence[str], labels: Sequence[str], rows: int
) -> Probabilities:
    """Put the columns of a ``predict_proba`` answer, which follow ``classes``, into the order of ``labels``.

    Raises:
        PodiumError: The labels differ, or the shape is not (rows, labels).
    """
    if sorted(classes) != sorted(labels):
        raise PodiumError(f"the model knows the labels {sorted(classes)}, the model file {sorted(labels)}")
    if answer.shape != (rows, len(labels)):
        raise PodiumError(f"the model answered with shape {answer.shape}, not {(rows, len(labels))}")
    return answer[:, [list(classes).index(label) for label in labels]]
