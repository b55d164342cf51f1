"""From the model file's source to labelled examples: read, filter to what was known, split by time."""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Any

import pandas as pd

from podium.errors import DataError, TrainerError
from podium.spec import DataSpec, ModelSpec


@dataclass(frozen=True)
class TrainingExamples:
    """Labelled examples, one row each, all with the same index.

    Attributes:
        inputs: The model's input columns, in the model file's order.
        label: The true label.
        time: When the example became known.
    """

    inputs: pd.DataFrame
    label: pd.Series
    time: pd.Series

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.inputs)


@dataclass(frozen=True)
class DataWindow:
    """What one run trains on and is judged by.

    Attributes:
        version: sha256 of the rows that were known at ``as_of``: same rows, same version.
        train: Examples before the holdout.
        holdout: The newest ``holdout.days`` before ``as_of``; a trainer never sees them.
        holdout_start: First moment of the holdout, UTC without a zone.
        as_of: The moment before which the run sees the world, UTC without a zone.
    """

    version: str
    train: TrainingExamples
    holdout: TrainingExamples
    holdout_start: datetime
    as_of: datetime


def load_window(spec: ModelSpec, as_of: datetime, home: Path) -> DataWindow:
    """Read the rows known at ``as_of`` and split them by time.

    Args:
        spec: The model file.
        as_of: With a zone; only rows with an earlier time are seen.
        home: The project's top folder, to which ``data.source`` is relative.

    Raises:
        DataError: The source or a column is missing, or the training or holdout window is empty.
    """
    moment = as_of.astimezone(UTC).replace(tzinfo=None)
    if spec.data.time_resolution == "day":
        moment = datetime.combine(moment, time.min)
    rows = _read(home / spec.data.source)
    if spec.data.time_column not in rows:
        raise _missing_column(spec.data.source, spec.data.time_column, rows)
    rows[spec.data.time_column] = _parse_time(rows[spec.data.time_column], spec.data)
    known = rows[rows[spec.data.time_column] < moment].reset_index(drop=True)
    examples = _examples(spec.data, known)
    start = moment - timedelta(days=spec.holdout.days)
    window = DataWindow(
        version=_content_digest(known),
        train=_where(examples, examples.time < start),
        holdout=_where(examples, examples.time >= start),
        holdout_start=start,
        as_of=moment,
    )
    for name, part in (("training", window.train), ("holdout", window.holdout)):
        if not len(part):
            raise DataError(
                f"{spec.name}: no {name} rows as of {moment.date()} (holdout starts {start.date()}; "
                f"{spec.data.source} has {len(known):,} rows before {moment.date()})"
            )
    return window


def import_object(path: str) -> Callable[..., Any]:
    """Import what a model file names as ``module:function``.

    Raises:
        TrainerError: The module or the name is not there; says which.
    """
    module_name, _, name = path.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise TrainerError(
            f"'{path}' cannot be imported: {error}; trainers live in include/trainers/"
        ) from error
    if not callable(getattr(module, name, None)):
        raise TrainerError(f"'{path}': the module {module_name} has no function '{name}'")
    function: Callable[..., Any] = getattr(module, name)
    return function


def _read(path: Path) -> pd.DataFrame:
    suffixes = [suffix for suffix in path.suffixes if suffix != ".gz"]
    if not path.is_file():
        raise DataError(f"data.source: there is no file {path}")
    if suffixes[-1:] == [".csv"]:
        return pd.read_csv(path)
    if suffixes[-1:] == [".parquet"]:
        return pd.read_parquet(path)
    raise DataError(f"data.source: {path.name}: allowed are .csv, .csv.gz and .parquet")


def _parse_time(column: pd.Series, data: DataSpec) -> pd.Series:
    try:
        moments = pd.to_datetime(column, utc=True, format="ISO8601").dt.tz_localize(None)
    except (ValueError, TypeError) as error:
        raise DataError(f"{data.source}: column {data.time_column}: not an ISO 8601 date: {error}") from error
    if moments.isna().any():
        row = int(moments.isna().to_numpy().argmax())
        raise DataError(f"{data.source}: column {data.time_column}: row {row} is empty")
    return moments


def _examples(data: DataSpec, known: pd.DataFrame) -> TrainingExamples:
    examples = known
    if data.examples is not None:
        try:
            examples = import_object(data.examples)(known)
        except ValueError as error:
            raise DataError(f"{data.examples}: {error}") from error
        if not isinstance(examples, pd.DataFrame):
            raise TrainerError(f"{data.examples} must return a DataFrame, not {type(examples).__name__}")
    for column in (data.time_column, data.label, *data.inputs):
        if column not in examples:
            raise _missing_column(data.examples or data.source, column, examples)
    return TrainingExamples(
        inputs=examples[list(data.inputs)], label=examples[data.label], time=examples[data.time_column]
    )


def _where(examples: TrainingExamples, mask: pd.Series) -> TrainingExamples:
    return TrainingExamples(
        inputs=examples.inputs[mask].reset_index(drop=True),
        label=examples.label[mask].reset_index(drop=True),
        time=examples.time[mask].reset_index(drop=True),
    )


def _content_digest(rows: pd.DataFrame) -> str:
    digest = hashlib.sha256(repr([*rows.dtypes.items()]).encode())
    digest.update(pd.util.hash_pandas_object(rows, index=False).to_numpy().tobytes())
    return digest.hexdigest()


def _missing_column(where: str, column: str, rows: pd.DataFrame) -> DataError:
    return DataError(f"{where}: no column '{column}'; there are: {', '.join(map(str, rows.columns))}")
