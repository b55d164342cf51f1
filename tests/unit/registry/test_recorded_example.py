"""What a model that was made elsewhere is asked, and which of its files are pickles."""

from __future__ import annotations

import json
import pickle
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from podium.errors import PodiumError
from podium.registry.example import example_problem, rows_of
from podium.registry.pickles import pickles_in
from podium.registry.recorded_example import recorded_example

ROWS = pd.DataFrame(
    {
        "number": [0.1 + 0.2, np.nan],
        "count": [3, 2**53 + 1],
        "flag": [True, False],
        "text": ["é", None],
        "day": pd.to_datetime(["2025-06-01T12:00:00.123456789", None]),
    }
)


def model(predict: Any, example: Any = None) -> Any:
    metadata = SimpleNamespace(metadata=None, flavors={})
    return SimpleNamespace(predict=predict, input_example=example, metadata=metadata)


def test_rows_come_back_from_the_record_as_they_were_to_the_last_bit() -> None:
    recorded = recorded_example(model(lambda rows: np.arange(len(rows))), ROWS)
    stored = json.loads(json.dumps(recorded, allow_nan=False))
    pd.testing.assert_frame_equal(rows_of(model(None), stored), ROWS)


def test_a_model_is_asked_its_own_example_and_its_rows_are_not_recorded() -> None:
    own = model(lambda rows: rows["x"].to_numpy() * 2, pd.DataFrame({"x": [1.0, 2.0]}))
    recorded = recorded_example(own, ROWS)
    assert recorded == {"answer": [2.0, 4.0]}
    assert example_problem(own, recorded) == ""
    changed = model(lambda rows: rows["x"].to_numpy() * 3, own.input_example)
    assert example_problem(changed, recorded) == (
        "predicts [3.0, 6.0] for its example, not [2.0, 4.0] as recorded"
    )


@pytest.mark.parametrize(
    ("predict", "said"),
    [
        (lambda rows: [np.nan] * len(rows), "what JSON cannot hold"),
        (lambda rows: np.random.default_rng().normal(size=len(rows)), "answers change cannot prove itself"),
    ],
)
def test_what_cannot_prove_a_model_later_is_refused(predict: Any, said: str) -> None:
    with pytest.raises(PodiumError, match=said):
        recorded_example(model(predict), ROWS)


def test_without_an_example_and_rows_there_is_nothing_to_ask() -> None:
    with pytest.raises(PodiumError, match="has no input example, and there are no rows"):
        recorded_example(model(len), None)


def test_pickles_are_found_by_their_bytes_whatever_they_are_called(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for protocol in range(2, 6):
        (tmp_path / "data" / f"weights-{protocol}.bin").write_bytes(pickle.dumps([1], protocol=protocol))
    (tmp_path / "model.joblib").write_bytes(b"x\x9c of a compressed one")
    with zipfile.ZipFile(tmp_path / "model.pth", "w") as archive:
        archive.writestr("archive/data.pkl", b"")
    with zipfile.ZipFile(tmp_path / "model.skops", "w") as archive:
        archive.writestr("schema.json", "{}")
    (tmp_path / "broken.zip").write_bytes(b"PK\x03\x04 and no more")
    (tmp_path / "MLmodel").write_text("flavors: {}")
    (tmp_path / "empty").touch()
    assert pickles_in(tmp_path) == [
        *(f"data/weights-{protocol}.bin" for protocol in range(2, 6)),
        "model.joblib",
        "model.pth",
    ]
