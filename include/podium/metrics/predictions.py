"""What models predict: asked of a loaded one, and as the columns of a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from podium.errors import DataError, PodiumError
from podium.metrics.answers import Numbers, Probabilities
from podium.metrics.labels import spelling

if TYPE_CHECKING:
    from mlflow.pyfunc import PyFuncModel


def classes_of(model: PyFuncModel) -> tuple[str, ...]:
    """Return the labels that a model knows, in the order of its answers; none unless it classifies."""
    return tuple((model.metadata.metadata or {}).get("classes", ()))


def labels_known(model: PyFuncModel) -> tuple[str, ...]:
    """Return the labels in the order of the probabilities: those that are noted, or the estimator's own."""
    estimator = _estimator(model)
    return classes_of(model) or (() if estimator is None else tuple(map(str, estimator.classes_)))


def predict(model: PyFuncModel, inputs: pd.DataFrame, labels: Sequence[str]) -> Numbers:
    """Return what a model answers to rows.

    Returns:
        Shape (rows, labels), the probability of each label in the order of ``labels``; (rows,) without any.

    Raises:
        PodiumError: The model answers with another shape, or knows none of the labels.
    """
    estimator = _estimator(model) if labels else None
    answer = model.predict(inputs) if estimator is None else estimator.predict_proba(inputs)
    answer = np.asarray(answer, dtype=np.float64)
    if labels:
        return in_label_order(answer, labels_known(model), labels, len(inputs))
    if answer.size != len(inputs):
        raise PodiumError(f"the model answered with shape {answer.shape}, not {(len(inputs),)}")
    return answer.reshape(len(inputs))


def _estimator(model: PyFuncModel) -> Any:
    """Return the classifier in a model that was logged elsewhere, which answers with labels as most do.

    None where there is none, and for one that notes the labels of its probabilities, as Podium's do.
    """
    if classes_of(model):
        return None
    try:
        estimator = model.get_raw_model()
    except (AttributeError, NotImplementedError):
        return None
    return estimator if hasattr(estimator, "predict_proba") and hasattr(estimator, "classes_") else None


def in_label_order(
    answer: Probabilities, classes: Sequence[str], labels: Sequence[str], rows: int
) -> Probabilities:
    """Put the columns of a ``predict_proba`` answer, which follow ``classes``, into the order of ``labels``.

    A number is matched by its value. A label that the model does not know has the probability zero. What it
    gives to labels that the model file no longer lists is left out.

    Raises:
        PodiumError: It knows none of the labels, or the shape is not (rows, classes).
    """
    spelled = spelling(labels)
    classes = [spelled(name) for name in classes]
    if not set(classes) & set(labels):
        raise PodiumError(f"the model knows the labels {sorted(classes)}, the model file {sorted(labels)}")
    if answer.shape != (rows, len(classes)):
        raise PodiumError(f"the model answered with shape {answer.shape}, not {(rows, len(classes))}")
    ordered = np.zeros((rows, len(labels)))
    for place, label in enumerate(labels):
        if label in classes:
            ordered[:, place] = answer[:, classes.index(label)]
    return ordered


# What monitoring calls the answers of a version.
ANSWER = "prediction"


def answer_streams(labels: Sequence[str], predictions: Numbers) -> pd.DataFrame:
    """Return what a version answers as columns to be counted: one per label, of two labels the second.

    Args:
        labels: In the order of the answers' columns; none unless it classifies.
        predictions: Shape (n, labels), or (n,) without labels.
    """
    if not labels:
        return pd.DataFrame({ANSWER: predictions.reshape(len(predictions))})
    places = range(1, 2) if len(labels) == 2 else range(len(labels))
    return pd.DataFrame({f"{ANSWER} {labels[place]}": predictions[:, place] for place in places})


# Between the name of a model and the label in the columns of the stored predictions.
_SEPARATOR = ":"


def prediction_columns(name: str, predictions: Numbers, labels: Sequence[str]) -> dict[str, Numbers]:
    """Return predictions as columns of a table: one per label (``ModelSpec.answer_columns``), or one."""
    if predictions.ndim == 1:
        return {name: predictions}
    return {f"{name}{_SEPARATOR}{label}": predictions[:, place] for place, label in enumerate(labels)}


def predictions_by_name(table: pd.DataFrame, labels: Sequence[str]) -> dict[str, Numbers]:
    """Return what ``prediction_columns`` made columns of, by name.

    Raises:
        DataError: They are of other labels.
    """
    if not labels:
        return {str(name): table[name].to_numpy(float) for name in table}
    suffix = f"{_SEPARATOR}{labels[0]}"
    names = [str(column).removesuffix(suffix) for column in table.columns[:: len(labels)]]
    of_labels = {name: [f"{name}{_SEPARATOR}{label}" for label in labels] for name in names}
    if [column for columns in of_labels.values() for column in columns] != list(map(str, table)):
        raise DataError(
            f"the kept answers ({', '.join(map(str, table))}) are not of the labels that the model file "
            f"lists: {', '.join(labels)}"
        )
    return {name: table[columns].to_numpy(float) for name, columns in of_labels.items()}
