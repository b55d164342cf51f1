from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest

from podium.metrics.answers import label_indices
from podium.metrics.labels import spelling
from podium.metrics.predictions import in_label_order


@pytest.mark.parametrize(
    "labels", [["0", "1"], ["0.0", "1.0"], ["false", "true"], ["False", "True"]], ids=lambda one: one[0]
)
@pytest.mark.parametrize(
    "values",
    [
        [0, 1],
        [0.0, 1.0],
        [False, True],
        [np.float64(0), np.int8(1)],
        [np.False_, np.True_],
        [Decimal("0.0"), Decimal(1)],
        ["0", "1.0"],
        ["false", "TRUE"],
    ],
    ids=str,
)
def test_a_number_is_one_label_however_it_is_written(labels: list[str], values: list[Any]) -> None:
    assert list(map(spelling(labels), values)) == labels


@pytest.mark.parametrize(
    ("labels", "value", "expected"),
    [
        (["no", "yes"], 1, "1"),
        (["0", "1"], "01", "01"),
        (["1.1", "1.2"], "1.10", "1.10"),
        (["1.1", "1.2"], 1.1, "1.1"),
        (["0", "0.0"], "0", "0"),
        (["0", "0.0"], False, "False"),
        (["a", "True"], True, "True"),
        (["0", "1"], float("nan"), "nan"),
        (["0", "1"], "no", "no"),
    ],
)
def test_what_names_no_label_or_two_is_left_as_it_is(labels: list[str], value: Any, expected: str) -> None:
    assert spelling(labels)(value) == expected


def test_other_names_are_matched_by_value_too_and_exact_ones_first() -> None:
    spelled = spelling(["no", "yes"], {"0": "no", "1": "yes", "Ja ": "yes"})
    assert [spelled(value) for value in (0.0, True, "JA", "no", 2)] == ["no", "yes", "yes", "no", "2"]


def test_truth_and_answers_are_in_the_spelling_of_the_model_file() -> None:
    assert label_indices(pd.Series([1.0, 0, True], dtype=object), ["0", "1"]).tolist() == [1, 0, 1]
    found = in_label_order(np.array([[0.2, 0.8]]), ["1.0", "0.0"], ["0", "1"], rows=1)
    assert found.tolist() == [[0.8, 0.2]]
