"""Score rows with a registered version."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from mlflow.pyfunc import PyFuncModel

from podium.errors import PodiumError
from podium.metrics.measures import Numbers, Probabilities


def classes_of(model: PyFuncModel) -> tuple[str, ...]:
    """Return the labels that a model knows, in the order of its answers; none unless it classifies."""
    return tuple((model.metadata.metadata or {}).get("classes", ()))


def predict(model: PyFuncModel, inputs: pd.DataFrame, labels: Sequence[str]) -> Numbers:
    """Return what a model answers to rows.

    Returns:
        Shape (rows, labels), the probability of each label in the order of ``labels``; (rows,) without any.

    Raises:
        PodiumError: The model answers with another shape, or knows none of the labels.
    """
    answer = np.asarray(model.predict(inputs), dtype=np.float64)
    if labels:
        return in_label_order(answer, classes_of(model), labels, len(inputs))
    if answer.size != len(inputs):
        raise PodiumError(f"the model answered with shape {answer.shape}, not {(len(inputs),)}")
    return answer.reshape(len(inputs))


def in_label_order(
    answer: Probabilities, classes: Sequence[str], labels: Sequence[str], rows: int
) -> Probabilities:
    """Put the columns of a ``predict_proba`` answer, which follow ``classes``, into the order of ``labels``.

    A label that the model does not know has the probability zero. What it gives to labels that the model file
    no longer lists is left out.

    Raises:
        PodiumError: It knows none of the labels, or the shape is not (rows, classes).
    """
    if not set(classes) & set(labels):
        raise PodiumError(f"the model knows the labels {sorted(classes)}, the model file {sorted(labels)}")
    if answer.shape != (rows, len(classes)):
        raise PodiumError(f"the model answered with shape {answer.shape}, not {(rows, len(classes))}")
    ordered = np.zeros((rows, len(labels)))
    for place, label in enumerate(labels):
        if label in classes:
            ordered[:, place] = answer[:, list(classes).index(label)]
    return ordered
