"""What a model answered on labelled rows, as plain arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from podium.errors import DataError
from podium.metrics.labels import spelling
from podium.model_file.metric_names import TaskKind

Indices = npt.NDArray[np.intp]
Numbers = npt.NDArray[np.float64]
Probabilities = Numbers


@dataclass(frozen=True)
class Answers:
    """What is true, and what one model answered.

    Attributes:
        task: The task.
        labels: The model file's labels; none but for a classification.
        truth: (n,), see the module.
        predictions: (n, k) or (n,), see the module.
        columns: Columns of the examples that gates ask for, (n, any).
        groups: Of a ranking: the list that each row belongs to, (n,).
    """

    task: TaskKind
    labels: Sequence[str]
    truth: npt.NDArray[Any]
    predictions: Numbers
    columns: pd.DataFrame = field(default_factory=pd.DataFrame)
    groups: npt.NDArray[Any] | None = None

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.truth)

    def subset(self, mask: npt.NDArray[np.bool_]) -> Answers:
        """Return some of the rows."""
        return replace(
            self,
            truth=self.truth[mask],
            predictions=self.predictions[mask],
            columns=self.columns[mask] if len(self.columns) else self.columns,
            groups=None if self.groups is None else self.groups[mask],
        )


def label_indices(label: pd.Series, labels: Sequence[str]) -> Indices:
    """Return the index of each row's label in ``labels``, shape (n,); a number is matched by its value.

    Raises:
        DataError: A row has a label that the model file does not list.
    """
    spelled = spelling(labels)
    values = label.astype(object)
    names = values.map({value: spelled(value) for value in values.unique()})
    indices = pd.Index(labels).get_indexer(pd.Index(names))
    if (indices < 0).any():
        row = int(np.argmax(indices < 0))
        raise DataError(f"label {label.iloc[row]!r} in row {label.index[row]}; allowed: {', '.join(labels)}")
    return indices


def true_values(task: TaskKind, label: pd.Series, labels: Sequence[str]) -> npt.NDArray[Any]:
    """Return what is true as the metrics want it: indices of labels, numbers or texts; shape (n,).

    Raises:
        DataError: A row has a label that the model file does not list.
    """
    if task is TaskKind.GENERATION:
        return label.to_numpy(object)
    return label_indices(label, labels) if labels else label.to_numpy(float)
