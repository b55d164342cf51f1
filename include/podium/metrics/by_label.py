"""How a classification does on each of its labels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from podium.model_file.metric_names import TaskKind

# The shell's tables read LabelScore, and are to be there at once.
if TYPE_CHECKING:
    import numpy as np

    from podium.metrics.answers import Answers


@dataclass(frozen=True)
class LabelScore:
    """What became of one label; the likeliest label of a row is what it is answered with.

    Attributes:
        rows: Rows that have the label.
        recall: Share of them that are answered with it; NaN without such rows.
        precision: Share of the rows answered with it that have it; NaN where none is.
    """

    rows: int
    recall: float
    precision: float


def by_label(answers: Answers) -> dict[str, LabelScore]:
    """Return the scores of each label, in the model file's order; none unless it is a classification.

    A row whose probabilities are not all finite is answered with no label.
    """
    if answers.task is not TaskKind.CLASSIFICATION:
        return {}
    import numpy as np

    finite = np.isfinite(answers.predictions).all(axis=1)
    said = np.where(finite, answers.predictions.argmax(axis=1), -1)
    return {
        label: _score(answers.truth == place, said == place) for place, label in enumerate(answers.labels)
    }


def _score(true: np.ndarray, said: np.ndarray) -> LabelScore:
    hits, rows, answered = (int(each.sum()) for each in (true & said, true, said))
    return LabelScore(rows, hits / rows if rows else math.nan, hits / answered if answered else math.nan)
