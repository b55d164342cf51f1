"""Models of one column of each kind that training rows have, read, trained and saved as the product does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd
from mlflow.pyfunc import PyFuncModel

from podium.model_file.spec import ModelSpec
from podium.registry.example import problem_in
from podium.registry.model_files import load_model
from podium.training.data import load_window
from podium.training.input_types import as_clients_send
from podium.training.saving import FromCode, save_model, usable
from support.every_kind import FINGERPRINT
from support.toy import NUMBER_TOY

ROWS = 12
# What a parquet file of training rows holds, two values and more of each; the type that clients send.
COLUMNS: Mapping[str, tuple[str, pd.Series]] = {
    "days": ("datetime", pd.Series([date(2025, 3, 1), date(1999, 12, 31)])),
    "days with gaps": ("datetime", pd.Series([date(2025, 3, 1), None])),
    "moments": ("datetime", pd.Series([datetime(2025, 3, 1, 6, 30), datetime(2001, 1, 1)])),
    "moments in a zone": (
        "datetime",
        pd.Series(pd.to_datetime(["2025-03-01T01:00+02:00", "2025-03-02T01:00+02:00"])),
    ),
    "decimals": ("double", pd.Series([Decimal("1.25"), Decimal("-7.50")])),
    "flags": ("boolean", pd.Series([True, False])),
    "flags with gaps": ("boolean", pd.Series([True, False, None])),
    "nullable flags": ("boolean", pd.Series([True, False, None], dtype="boolean")),
    "small whole numbers": ("integer", pd.Series([1, -128], dtype="int8")),
    "unsigned numbers": ("long", pd.Series([0, 4294967295], dtype="uint32")),
    "whole numbers": ("long", pd.Series([2**53 + 1, -5])),
    "whole numbers with gaps": ("double", pd.Series([17, None], dtype="Int64")),
    "short floats": ("float", pd.Series([0.1, -3.5], dtype="float32")),
    "floats with gaps": ("double", pd.Series([0.1, np.nan])),
    "texts": ("string", pd.Series(["a b", "é"])),
    "texts with gaps": ("string", pd.Series(["a", None])),
    "categories": ("string", pd.Series(["low", "high"], dtype="category")),
    "categories of numbers": ("long", pd.Series([3, 5], dtype="category")),
    "bytes": ("binary", pd.Series([b"\x00a", b"b"])),
}


@dataclass(frozen=True)
class Trained:
    """A model of the column ``c``.

    Attributes:
        model: As clients load it.
        values: Some training values as clients send them.
        answers: What the model answered to them when it was trained.
    """

    model: PyFuncModel
    values: list[Any]
    answers: list[float]


def train_on(kind: str, folder: Path) -> Trained:
    """Write rows with a column of a kind, read them as a training does, and save what it makes."""
    column = COLUMNS[kind][1]
    many = column.iloc[np.arange(ROWS) % len(column)].reset_index(drop=True)
    days = pd.date_range("2025-01-01", periods=ROWS)
    rows = pd.DataFrame({"day": days, "c": many, "y": np.arange(ROWS) * 1.0})
    rows.to_parquet(folder / "rows.parquet", index=False)
    data = {"source": "rows.parquet", "time_column": "day", "label": "y", "inputs": ["c"]}
    spec = ModelSpec.model_validate({**NUMBER_TOY, "data": data, "holdout": {"days": 2}})
    inputs = load_window(spec, datetime(2025, 1, ROWS + 1, tzinfo=UTC), folder).train.inputs
    (folder / "fingerprint.py").write_text(FINGERPRINT)
    with usable(FromCode(folder / "fingerprint.py"), classifies=False, requirements=["mlflow"]) as made:
        with mock.patch("podium.training.saving.prove", _prove_here):
            save_model(folder / "model", made, inputs, ["mlflow"], [])
        # A row with a flag is a column of flags, also where other rows have none.
        alone = [inputs.iloc[[place]].infer_objects() for place in range(len(column))]
        answered = [float(np.asarray(made.predict(row))[0]) for row in alone]
    sent = as_clients_send(inputs)["c"].astype(object)
    values = [_sent(value) for value in sent[: len(column)]]
    return Trained(load_model(folder / "model"), values, answered)


def _prove_here(folder: Path, gaps: Path | None = None) -> None:
    """The proof of a saved model, in this process: another one takes seconds to start."""
    assert problem_in(folder, gaps) == ""


def _sent(value: Any) -> Any:
    """What a client has of a value: Python's own."""
    if value is None or value is pd.NaT or value is pd.NA or value != value:
        return None
    return (
        value.to_pydatetime() if isinstance(value, pd.Timestamp) else getattr(value, "item", lambda: value)()
    )
