from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from podium.data import load_window
from podium.errors import DataError, PodiumError, TrainerError
from podium.spec import ModelSpec, load_spec

AS_OF = datetime(2025, 6, 1, tzinfo=UTC)


def test_rows_are_split_by_time_and_none_is_from_the_future(toy_spec: ModelSpec, tmp_path: Path) -> None:
    window = load_window(toy_spec, AS_OF, tmp_path)
    assert window.holdout.time.max() == pd.Timestamp("2025-05-31")
    assert window.holdout.time.min() == pd.Timestamp("2025-02-21") == window.holdout_start
    assert window.train.time.max() == pd.Timestamp("2025-02-20")
    assert len(window.holdout) == 100


@pytest.mark.parametrize(("resolution", "newest"), [("day", "2025-05-31"), ("moment", "2025-06-01")])
def test_a_day_that_is_not_over_is_not_known(
    toy_file: Callable[..., Path], toy_spec: ModelSpec, tmp_path: Path, resolution: str, newest: str
) -> None:
    spec = load_spec(toy_file(name=toy_spec.name, data__time_resolution=resolution))
    window = load_window(spec, AS_OF.replace(hour=6), tmp_path)
    assert window.holdout.time.max() == pd.Timestamp(newest)


def test_the_data_version_is_of_the_rows_known_then(toy_spec: ModelSpec, tmp_path: Path) -> None:
    first = load_window(toy_spec, AS_OF, tmp_path).version
    rows = pd.read_csv(tmp_path / "toy.csv")
    later = pd.DataFrame({"day": ["2026-01-01"], "x": ["unknown"], "y": [None]})
    pd.concat([rows, later]).to_csv(tmp_path / "toy.csv", index=False)
    assert load_window(toy_spec, AS_OF, tmp_path).version == first
    rows.loc[3, "x"] += 1e-9
    rows.to_csv(tmp_path / "toy.csv", index=False)
    assert load_window(toy_spec, AS_OF, tmp_path).version != first


def test_parquet_is_read_as_csv_is(
    toy_file: Callable[..., Path], toy_spec: ModelSpec, tmp_path: Path
) -> None:
    pd.read_csv(tmp_path / "toy.csv").to_parquet(tmp_path / "toy.parquet")
    spec = load_spec(toy_file(data__source="toy.parquet"))
    assert load_window(spec, AS_OF, tmp_path).train.inputs.equals(
        load_window(toy_spec, AS_OF, tmp_path).train.inputs
    )


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"data__source": "none.csv"}, DataError, "data.source: there is no file .*none.csv"),
        ({"data__source": "toy.xlsx"}, DataError, "toy.xlsx: allowed are .csv, .csv.gz and .parquet"),
        ({"data__time_column": "date"}, DataError, "toy.csv: no column 'date'; there are: day, x, y"),
        ({"data__time_column": "y"}, DataError, "column y: not an ISO 8601 date"),
        ({"data__label": "z"}, DataError, "toy.csv: no column 'z'; there are: day, x, y"),
        ({"data__inputs": ["x", "w"]}, DataError, "toy.csv: no column 'w'"),
        ({"holdout__days": 9999}, DataError, "no training rows as of 2025-06-01"),
        ({"data__examples": "support.toy_trainer:nothing"}, TrainerError, "has no function 'nothing'"),
        ({"data__examples": "no_such_module:f"}, TrainerError, "cannot be imported: No module named"),
    ],
)
def test_unusable_data_is_explained(
    toy_file: Callable[..., Path],
    toy_spec: ModelSpec,
    tmp_path: Path,
    changes: dict[str, Any],
    error: type[PodiumError],
    message: str,
) -> None:
    (tmp_path / "toy.xlsx").touch()
    spec = load_spec(toy_file(**changes))
    with pytest.raises(error, match=message):
        load_window(spec, AS_OF, tmp_path)


@pytest.mark.parametrize("content", [b"", b"day,x,y\n1,2,3,4,5\n", b"\x1f\x8bnot gzip"])
def test_a_file_that_is_no_table_is_named(toy_spec: ModelSpec, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "toy.csv").write_bytes(content)
    with pytest.raises(DataError, match="toy.csv"):
        load_window(toy_spec, AS_OF, tmp_path)


def test_numbers_may_be_labels(toy_file: Callable[..., Path], toy_spec: ModelSpec, tmp_path: Path) -> None:
    rows = pd.read_csv(tmp_path / "toy.csv")
    rows.assign(y=(rows.y == "yes").astype(int)).to_csv(tmp_path / "toy.csv", index=False)
    spec = load_spec(toy_file(name=toy_spec.name, labels=["0", "1"]))
    assert set(load_window(spec, AS_OF, tmp_path).train.label) == {"0", "1"}


def test_a_missing_label_is_named(toy_spec: ModelSpec, tmp_path: Path) -> None:
    rows = pd.read_csv(tmp_path / "toy.csv")
    rows.loc[5, "y"] = None
    rows.to_csv(tmp_path / "toy.csv", index=False)
    with pytest.raises(DataError, match="column y: row 5 has no label"):
        load_window(toy_spec, AS_OF, tmp_path)


def test_a_missing_time_is_named(toy_spec: ModelSpec, tmp_path: Path) -> None:
    rows = pd.read_csv(tmp_path / "toy.csv")
    rows.loc[5, "day"] = None
    rows.to_csv(tmp_path / "toy.csv", index=False)
    with pytest.raises(DataError, match="column day: row 5 is empty"):
        load_window(toy_spec, AS_OF, tmp_path)
