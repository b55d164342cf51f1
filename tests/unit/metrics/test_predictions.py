from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from podium.errors import PodiumError
from podium.metrics.predictions import classes_of, in_label_order, labels_known, predict


def model(answer: Any, classes: tuple[str, ...] = ()) -> Any:
    metadata = SimpleNamespace(metadata={"classes": list(classes)} if classes else None)
    return SimpleNamespace(predict=lambda _: answer, metadata=metadata)


ROWS = pd.DataFrame({"x": [1.0, 2.0]})


def test_columns_come_in_the_order_of_the_model_file() -> None:
    found = in_label_order(np.array([[0.1, 0.2, 0.7]]), ["c", "a", "b"], ["a", "b", "c"], rows=1)
    assert found.tolist() == [[0.2, 0.7, 0.1]]


def test_a_label_that_the_model_does_not_know_is_never_likely_and_one_unlisted_is_left_out() -> None:
    found = in_label_order(np.array([[0.4, 0.6]]), ["gone", "a"], ["a", "new"], rows=1)
    assert found.tolist() == [[0.6, 0.0]]


def test_a_model_of_other_labels_or_of_another_shape_cannot_be_scored() -> None:
    with pytest.raises(PodiumError, match=r"the model knows the labels \['b'\], the model file \['a'\]"):
        predict(model([[1.0], [1.0]], ("b",)), ROWS, ["a"])
    with pytest.raises(PodiumError, match=r"answered with shape \(1, 2\), not \(2, 2\)"):
        predict(model([[0.5, 0.5]], ("a", "b")), ROWS, ["a", "b"])
    with pytest.raises(PodiumError, match=r"answered with shape \(2, 2\), not \(2,\)"):
        predict(model(np.zeros((2, 2))), ROWS, ())


def test_numbers_are_one_per_row_also_where_they_stand_in_a_column() -> None:
    assert predict(model([[1], [2]]), ROWS, ()).tolist() == [1.0, 2.0]
    assert classes_of(model(0.0)) == ()


def test_of_a_model_that_was_logged_elsewhere_the_classifier_in_it_is_asked() -> None:
    estimator = SimpleNamespace(
        classes_=np.array([1, 0]), predict_proba=lambda rows: [[0.9, 0.1]] * len(rows)
    )
    plain = model(["1", "1"])
    plain.get_raw_model = lambda: estimator
    assert predict(plain, ROWS, ["0", "1"]).tolist() == [[0.1, 0.9], [0.1, 0.9]]
    assert (labels_known(plain), classes_of(plain)) == (("1", "0"), ())


def test_a_model_without_a_classifier_in_it_cannot_be_asked_for_labels() -> None:
    def none() -> None:
        raise NotImplementedError

    plain = model([[0.5, 0.5]] * 2)
    plain.get_raw_model = none
    with pytest.raises(PodiumError, match=r"the model knows the labels \[\]"):
        predict(plain, ROWS, ["a", "b"])
