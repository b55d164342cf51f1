"""scikit-learn's metrics, asked of stored answers."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from podium.errors import MetricUndefined
from podium.metrics.answers import Answers, Numbers
from podium.model_file.metric_names import SKLEARN_METRICS, TaskKind


class _Answered:
    """An estimator, as scikit-learn's scorers want one, that knows its answers already.

    Labels are their indices in the model file's order, so the second of two is the positive one.
    """

    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        self.classes_ = np.arange(len(answers.labels))

    def fit(self, *_: object) -> _Answered:
        return self

    def predict(self, _: object) -> Numbers:
        predictions = self._answers.predictions
        return np.asarray(predictions.argmax(axis=1)) if predictions.ndim == 2 else predictions

    def predict_proba(self, _: object) -> Numbers:
        return self._answers.predictions

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import ClassifierTags, RegressorTags, Tags, TargetTags

        classifies = self._answers.task is TaskKind.CLASSIFICATION
        return Tags(
            estimator_type="classifier" if classifies else "regressor",
            target_tags=TargetTags(required=True),
            classifier_tags=ClassifierTags() if classifies else None,
            regressor_tags=None if classifies else RegressorTags(),
        )


# Of two labels they look for the second, and scikit-learn answers zero where there is none to find.
_OF_THE_SECOND_LABEL = frozenset({"average_precision", "f1", "jaccard", "precision", "recall"})


def _sklearn_metric(metric: str, answers: Answers) -> float:
    from sklearn.metrics import get_scorer

    if metric not in SKLEARN_METRICS:
        raise MetricUndefined("there is no such metric")
    if metric in _OF_THE_SECOND_LABEL and len(answers.labels) == 2 and not answers.truth.any():
        raise MetricUndefined(f"no row has the label {answers.labels[1]}")
    with warnings.catch_warnings():
        # A label that nobody predicted counts as zero; scikit-learn says so each time.
        warnings.simplefilter("ignore")
        try:
            return float(get_scorer(metric)(_Answered(answers), answers.predictions, answers.truth))
        except ValueError as error:
            raise MetricUndefined(str(error)) from error
