"""From the model file's source to labelled examples: read, filter to what was known, split by time."""

from __future__ import annotations

import gzip
import hashlib
import importlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from podium.errors import DataError, PodiumError, TrainerError
from podium.metric_names import Task
from podium.spec import DataSpec, ModelSpec


@dataclass(frozen=True)
class TrainingExamples:
    """Labelled examples, one row each, all with the same index.

    Attributes:
        inputs: The model's input columns, in the model file's order.
        label: What is to be predicted: a label as text, or a number.
        time: When the example became known.
        others: The other columns of the examples: for slices and own metrics, never for the model.
    """

    inputs: pd.DataFrame
    label: pd.Series
    time: pd.Series
    others: pd.DataFrame = field(default_factory=pd.DataFrame)

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
    raw = _read(home / spec.data.source)
    if spec.data.time_column not in raw:
        raise _missing_column(spec.data.source, spec.data.time_column, raw)
    known = raw[_parse_time(raw[spec.data.time_column], spec.data) < moment].reset_index(drop=True)
    if _kind(home / spec.data.source) == ".csv":
        known = pd.read_csv(StringIO(known.to_csv(index=False)))
    typed = known.assign(**{spec.data.time_column: _parse_time(known[spec.data.time_column], spec.data)})
    examples = _examples(spec, typed)
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


@contextmanager
def trainer_errors(path: str) -> Iterator[None]:
    """Translate what a user's function raises; a broken function fails at once, an OSError may pass by.

    Raises:
        TrainerError: Names the function and what it raised.
    """
    try:
        yield
    except (PodiumError, OSError):
        raise
    except Exception as error:
        raise TrainerError(f"{path}: {type(error).__name__}: {error}") from error


def import_object(path: str) -> Callable[..., Any]:
    """Import what a model file names as ``module:function``.

    Raises:
        TrainerError: The module or the name is not there; says which.
    """
    module_name, _, name = path.partition(":")
    try:
        module = importlib.import_module(module_name)
    except (ImportError, SyntaxError) as error:
        raise TrainerError(
            f"'{path}' cannot be imported: {error}; trainers live in include/trainers/"
        ) from error
    if not callable(getattr(module, name, None)):
        raise TrainerError(f"'{path}': the module {module_name} has no function '{name}'")
    function: Callable[..., Any] = getattr(module, name)
    return function


def _read(path: Path) -> pd.DataFrame:
    """Read all rows; those of a csv as text, so that later rows cannot change the types of known ones."""
    if not path.is_file():
        raise DataError(f"data.source: there is no file {path}")
    if _kind(path) not in (".csv", ".parquet"):
        raise DataError(f"data.source: {path.name}: allowed are .csv, .csv.gz and .parquet")
    try:
        return pd.read_csv(path, dtype=str) if _kind(path) == ".csv" else pd.read_parquet(path)
    except (ValueError, EOFError, gzip.BadGzipFile) as error:
        raise DataError(f"data.source: {path} cannot be read: {error}") from error


def _kind(path: Path) -> str:
    return path.with_suffix("").suffix if path.suffix == ".gz" else path.suffix


def _parse_time(column: pd.Series, data: DataSpec) -> pd.Series:
    try:
        moments = pd.to_datetime(column, utc=True, format="ISO8601").dt.tz_localize(None)
    except (ValueError, TypeError) as error:
        raise DataError(f"{data.source}: column {data.time_column}: not an ISO 8601 date: {error}") from error
    if moments.isna().any():
        row = int(moments.isna().to_numpy().argmax())
        raise DataError(f"{data.source}: column {data.time_column}: row {row} is empty")
    return moments


def _examples(spec: ModelSpec, known: pd.DataFrame) -> TrainingExamples:
    data, examples = spec.data, known
    if data.examples is not None:
        with trainer_errors(data.examples):
            examples = import_object(data.examples)(known)
        if not isinstance(examples, pd.DataFrame):
            raise TrainerError(f"{data.examples} must return a DataFrame, not {type(examples).__name__}")
    where = data.examples or data.source
    needed = (data.time_column, data.label, *data.inputs, *([data.group] if data.group else []))
    for column in needed:
        if column not in examples:
            raise _missing_column(where, column, examples)
    label = examples[data.label]
    if label.isna().any():
        row = int(label.isna().to_numpy().argmax())
        raise DataError(f"{where}: column {data.label}: row {row} has no label")
    if data.group is not None and examples[data.group].isna().any():
        row = int(examples[data.group].isna().to_numpy().argmax())
        raise DataError(f"{where}: column {data.group}: row {row} belongs to no list")
    classifies = spec.task is Task.CLASSIFICATION
    return TrainingExamples(
        inputs=examples[list(data.inputs)],
        label=normalised_labels(label, data.label_map) if classifies else _numbers(label, where),
        time=examples[data.time_column],
        others=examples.drop(columns=list({data.time_column, data.label, *data.inputs})),
    )


def normalised_labels(label: pd.Series, label_map: Mapping[str, str]) -> pd.Series:
    """Return labels as text, under the names that the model file means; case does not matter in its map."""
    text = label.astype(str)
    if not label_map:
        return text
    meant = {name.strip().casefold(): label for name, label in label_map.items()}
    return text.str.strip().str.casefold().map(meant).fillna(text)


def _numbers(label: pd.Series, where: str) -> pd.Series:
    numbers = pd.to_numeric(label, errors="coerce").astype(float)
    if not np.isfinite(numbers.to_numpy()).all():
        row = int(np.argmin(np.isfinite(numbers.to_numpy())))
        raise DataError(f"{where}: column {label.name}: row {row} is no finite number: {label.iloc[row]!r}")
    return numbers


def _where(examples: TrainingExamples, mask: pd.Series) -> TrainingExamples:
    return TrainingExamples(
        inputs=examples.inputs[mask].reset_index(drop=True),
        label=examples.label[mask].reset_index(drop=True),
        time=examples.time[mask].reset_index(drop=True),
        others=examples.others[mask].reset_index(drop=True),
    )


def _content_digest(rows: pd.DataFrame) -> str:
    digest = hashlib.sha256(repr([*rows.dtypes.items()]).encode())
    digest.update(pd.util.hash_pandas_object(rows, index=False).to_numpy().tobytes())
    return digest.hexdigest()


def _missing_column(where: str, column: str, rows: pd.DataFrame) -> DataError:
    return DataError(f"{where}: no column '{column}'; there are: {', '.join(map(str, rows.columns))}")
