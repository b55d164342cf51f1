"""The stored holdout, and what is kept of a validation on disk."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from podium.gates.evidence import Cost, Side, no_answers, read_sides, store_sides
from podium.metrics.predictions import prediction_columns, predictions_by_name
from podium.model_file.spec import ModelSpec
from podium.training import holdout
from podium.training.examples import DataWindow, TrainingExamples
from support.toy import TOY

ROWS = pd.DataFrame(
    {
        "number": [1.5, np.nan, 2.5, 1.5],
        "integer": [1, 2, 3, 1],
        "nullable": pd.array([1, None, 3, 1], dtype="Int64"),
        "text": ["a", None, "ü", "a"],
        "category": pd.Categorical(["a", "b", None, "a"]),
        "boolean": [True, False, True, True],
        "date": pd.to_datetime(["2025-01-01", "2025-01-02", None, "2025-01-01"]),
        "x": [1.0, 2.0, 3.0, 1.0],
    }
)


def spec(**changes: Any) -> ModelSpec:
    return ModelSpec.model_validate({**TOY, **changes})


def window(rows: pd.DataFrame, trained_on: pd.DataFrame | None = None) -> DataWindow:
    def examples(table: pd.DataFrame) -> TrainingExamples:
        return TrainingExamples(
            inputs=table[["x"]],
            label=pd.Series(["no"] * len(table)),
            time=pd.Series(pd.Timestamp("2025-01-01"), index=table.index),
            others=table.drop(columns="x"),
        )

    then = datetime(2025, 1, 1)
    return DataWindow("v", examples(rows if trained_on is None else trained_on), examples(rows), then, then)


def test_rows_come_back_in_their_order_so_many_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holdout, "BATCH_ROWS", 3)
    holdout.store_holdout(tmp_path, spec(), window(ROWS), {})
    found = list(holdout.batches(tmp_path))
    assert [len(batch) for batch in found] == [3, 1]
    assert pd.concat(found)["x"].tolist() == [1.0, 2.0, 3.0, 1.0]
    assert set(found[0]) == {*ROWS, "y", "day"}


@pytest.mark.parametrize("column", list(ROWS))
def test_a_row_has_the_same_print_in_training_and_in_the_stored_holdout(tmp_path: Path, column: str) -> None:
    gates = [*TOY["gates"], {"max_train_overlap": 0.1, "columns": [column]}]
    # Training rows are never stored: their prints are of the rows as they were read.
    holdout.store_holdout(tmp_path, spec(gates=gates), window(ROWS, ROWS.iloc[:3].reset_index(drop=True)), {})
    (stored,) = holdout.batches(tmp_path)
    trained_on = holdout.read_training_rows(tmp_path)
    prints = holdout.fingerprints(stored, [column])
    assert np.isin(prints, trained_on[(column,)]).all()
    assert np.isin(holdout.fingerprints(stored, ["x"]), trained_on[()]).all()
    assert prints[0] == prints[3] != prints[1]


prints = st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 3), max_size=10).map(
    lambda numbers: np.array(numbers, dtype=np.uint64)
)


@given(found=prints, trained_on=prints)
def test_rows_that_training_held_are_counted(
    found: holdout.Fingerprints, trained_on: holdout.Fingerprints
) -> None:
    assert holdout.shared(found, np.unique(trained_on)) == np.isin(found, trained_on).sum()


def test_columns_that_training_does_not_have_leave_no_prints(tmp_path: Path) -> None:
    gates = [*TOY["gates"], {"max_train_overlap": 0.1, "columns": ["elsewhere"]}]
    holdout.store_holdout(tmp_path, spec(gates=gates), window(ROWS), {})
    assert set(holdout.read_training_rows(tmp_path)) == {()}


names = st.lists(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=4), unique=True, max_size=3
)
labels = st.lists(
    st.sampled_from(["a", "b", ":", "a:b", "b:a", ":a", "x:b"]), min_size=2, max_size=4, unique=True
)


@given(names=names, labels=labels | st.just([]))
def test_predictions_are_found_again_whatever_models_and_labels_are_called(
    names: list[str], labels: list[str]
) -> None:
    draws = np.random.default_rng(0)
    models = {name: draws.uniform(size=(3, len(labels)) if labels else 3) for name in names}
    table: dict[str, Any] = {}
    for name, predictions in models.items():
        table |= prediction_columns(name, predictions, labels)
    # Not two pairs of a name and a label that make the same column, such as a, b:c and a:b, c.
    assume(len(table) == len(names) * max(len(labels), 1))
    found = predictions_by_name(pd.DataFrame(table, index=range(3)), labels)
    assert list(found) == names
    assert all((found[name] == models[name]).all() for name in names)


def test_baselines_come_back(tmp_path: Path) -> None:
    baselines = {"elo": np.full((4, 2), 0.5), "prior": np.full((4, 2), 0.25)}
    holdout.store_holdout(tmp_path, spec(), window(ROWS), baselines)
    found = holdout.read_baselines(tmp_path, ("no", "yes"))
    assert {name: answered.tolist() for name, answered in found.items()} == {
        name: answered.tolist() for name, answered in baselines.items()
    }


costs = st.none() | st.builds(
    Cost, st.floats(0, 9) | st.just(float("nan")), st.floats(0, 9), st.none() | st.floats(0, 9), st.none()
)


@given(
    labels=st.sampled_from([(), ("no", "yes"), ("a", "b", "c")]),
    rows=st.integers(0, 4),
    costs=st.tuples(costs, costs),
    broken=st.text(max_size=5),
)
def test_what_models_answered_comes_back_from_disk(
    labels: tuple[str, ...], rows: int, costs: tuple[Cost | None, Cost | None], broken: str
) -> None:
    answered = np.random.default_rng(0).normal(size=(rows, len(labels)) if labels else rows)
    signature = {"inputs": "[]", "outputs": None}
    sides = {
        "judged": Side(no_answers(rows, labels), labels[:1], {}, costs[0], broken),
        "champion": Side(answered, labels, signature, costs[1]),
    }
    with TemporaryDirectory() as folder:
        store_sides(Path(folder), sides, labels)
        found = read_sides(Path(folder), labels)
    assert list(found) == list(sides)
    for name, side in sides.items():
        assert found[name].predictions.shape == side.predictions.shape
        assert np.array_equal(found[name].predictions, side.predictions, equal_nan=True)
        # As text, since NaN is not equal to itself.
        assert repr(
            (found[name].classes, found[name].signature, found[name].cost, found[name].broken)
        ) == repr((side.classes, side.signature, side.cost, side.broken))


def test_rows_are_kept_as_clients_send_them() -> None:
    kept = holdout.rows(spec(), window(ROWS.assign(x=pd.Categorical(["a", "b", None, "a"]))).holdout)
    assert str(kept["x"].dtype) == "str"
    assert kept["x"].tolist()[:2] == ["a", "b"]
