"""Score chunks of rows with one version: what can be scored is, and each other row has its reason."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
from mlflow.pyfunc import PyFuncModel

from podium.errors import DataError, Outage, PodiumError, TrainerError
from podium.metrics.answers import Numbers
from podium.metrics.predictions import predict
from podium.scoring.inputs import InputColumns, Reasons, scorable, take, text_columns
from podium.sources.read import Chunk


@dataclass(frozen=True)
class Preparation:
    """The model file's ``scoring.inputs``: its import path, and the function."""

    path: str
    function: Callable[[pd.DataFrame], pd.DataFrame]


_THE_MODEL = "the model"
_SAMPLE = 32
_LONGEST_REASON = 200


@dataclass(frozen=True)
class Readied:
    """A chunk whose rows are as the model takes them.

    Attributes:
        chunk: The rows as they came.
        inputs: The inputs of the rows that have no reason against them, in their order.
        reasons: Why each other row cannot be scored.
        noted: What is scored, but may not be meant so, with how many rows.
    """

    chunk: Chunk
    inputs: pd.DataFrame
    reasons: Reasons
    noted: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Scored:
    """A chunk with its answers.

    Attributes:
        readied: The chunk, and what the model was asked.
        reasons: Why rows could not be scored.
        answers: Of the rows that could, in their order: shape (rows, labels), or (rows,) without labels.
    """

    readied: Readied
    reasons: Reasons
    answers: Numbers

    @property
    def chunk(self) -> Chunk:
        """The rows as they came."""
        return self.readied.chunk

    @property
    def good(self) -> npt.NDArray[np.bool_]:
        """Which rows could be scored."""
        return scorable(self.reasons, len(self.chunk.numbers))


@dataclass
class Scorer:
    """One loaded version.

    Attributes:
        model: The model.
        labels: The model file's labels; none unless it classifies.
        preparation: From raw rows to inputs; without it the rows have the inputs.
        folder: Its verified files.
    """

    model: PyFuncModel
    labels: Sequence[str]
    preparation: Preparation | None = None
    folder: Path | None = None
    columns: InputColumns = field(init=False)
    _refuses_missing: dict[str, bool] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.columns = InputColumns.of(self.model)

    @property
    def wanted(self) -> list[str] | None:
        """The columns of the source that it needs; None for all of them."""
        return self.columns.names if self.preparation is None else None

    def ready(self, chunk: Chunk, where: str) -> Readied:
        """Bring the rows of a chunk to the model's inputs.

        Raises:
            DataError: A column is missing, or ``scoring.inputs`` raises at row after row.
            TrainerError: ``scoring.inputs`` does not keep to its protocol.
            Outage: It raises an OSError, which may pass by.
        """
        if self.preparation is None:
            self.columns.assert_there(chunk.rows.column_names, where)
            inputs, reasons = self.columns.convert(chunk.rows)
            return Readied(chunk, inputs, reasons, self.columns.noted(chunk.rows))
        frame, reasons = text_columns(chunk.rows)
        places = np.flatnonzero(scorable(reasons, len(frame)))
        made, said = _prepared(self.preparation, frame.iloc[places])
        reasons |= take(said, places)
        if made.empty:
            return Readied(chunk, made, reasons)
        table = _table(self.preparation.path, made)
        self.columns.assert_there(table.column_names, self.preparation.path)
        inputs, said = self.columns.convert(table)
        reasons |= take(said, np.flatnonzero(scorable(reasons, len(frame))))
        return Readied(chunk, inputs, reasons)

    def score(self, readied: Readied) -> Scored:
        """Answer the rows of a chunk.

        Raises:
            DataError: The model raises at row after row, so that something else than rows must be wrong.
            Outage: It raises an OSError, which may pass by.
        """
        answers, said = self._answers(readied.inputs)
        places = np.flatnonzero(scorable(readied.reasons, len(readied.chunk.numbers)))
        return Scored(readied, readied.reasons | take(said, places), answers)

    def _answers(self, inputs: pd.DataFrame) -> tuple[Numbers, Reasons]:
        said: Reasons = {}
        try:
            with _errors_of_rows(_THE_MODEL):
                answers = self._predict(inputs)
        except _Raised:
            said = self._missing(inputs)
            places = np.flatnonzero(scorable(said, len(inputs)))
            pieces, more = _piecewise(self._predict, inputs.iloc[places], _THE_MODEL)
            said |= take(more, places)
            answers = np.concatenate([self._predict(inputs.head(0)), *pieces])
        finite = np.isfinite(answers) if answers.ndim == 1 else np.isfinite(answers).all(axis=1)
        if not finite.all():
            places = np.flatnonzero(scorable(said, len(inputs)))[~finite]
            said |= dict.fromkeys(places.tolist(), "the model's answer is not a finite number")
            answers = answers[finite]
        return answers, said

    def _predict(self, inputs: pd.DataFrame) -> Numbers:
        if inputs.empty:
            return np.zeros((0, len(self.labels)) if self.labels else 0)
        return predict(self.model, inputs, self.labels)

    def _missing(self, inputs: pd.DataFrame) -> Reasons:
        """Blame a missing value where the model does not take it: where a good row fails without it."""
        said: Reasons = {}
        missing = inputs.isna()
        suspects = [str(name) for name in inputs if missing[name].any()]
        if not suspects:
            return said
        good = self._good_row(inputs[~missing.any(axis=1)])
        for name in suspects:
            if name not in self._refuses_missing and good is not None:
                self._refuses_missing[name] = _raises(
                    self._predict, good.assign(**{name: _nothing(good[name])})
                )
            if self._refuses_missing.get(name):
                for place in np.flatnonzero(missing[name].to_numpy()).tolist():
                    said.setdefault(place, f"{name} is missing")
        return said

    def _good_row(self, complete: pd.DataFrame) -> pd.DataFrame | None:
        rows = (complete.iloc[[place]] for place in range(min(len(complete), 20)))
        return next((row for row in rows if not _raises(self._predict, row)), None)


def _prepared(preparation: Preparation, frame: pd.DataFrame) -> tuple[pd.DataFrame, Reasons]:
    """Call the user's function; a row that it leaves out or cannot read has a reason against it."""
    frame = frame.reset_index(drop=True)

    def call(rows: pd.DataFrame) -> pd.DataFrame:
        made = preparation.function(rows.copy())
        _assert_protocol(preparation.path, rows, made)
        return made

    pieces, reasons = _piecewise(call, frame, preparation.path)
    made = pd.concat(pieces) if pieces else frame.head(0)
    places = made.index.to_numpy(dtype=np.int64)
    for place in set(range(len(frame))).difference(places.tolist(), reasons):
        reasons[place] = f"left out by {preparation.path}"
    return made, reasons


def _piecewise(
    call: Callable[[pd.DataFrame], Any], rows: pd.DataFrame, who: str
) -> tuple[list[Any], Reasons]:
    """Call with all rows, and where that raises with each half, until the rows that raise stand alone.

    Raises:
        DataError: It raises at each of some rows from all over a large chunk: something else must be wrong.
    """
    try:
        with _errors_of_rows(who):
            return [call(rows)] if len(rows) else [], {}
    except _Raised as error:
        if len(rows) > _SAMPLE**2:
            _assert_some_pass(call, rows.iloc[:: len(rows) // _SAMPLE], str(error))
        return _halves(call, rows, who)


def _halves(call: Callable[[pd.DataFrame], Any], rows: pd.DataFrame, who: str) -> tuple[list[Any], Reasons]:
    try:
        with _errors_of_rows(who):
            return [call(rows)], {}
    except _Raised as error:
        if len(rows) == 1:
            return [], {0: str(error)}
    middle = len(rows) // 2
    first, said = _halves(call, rows.iloc[:middle], who)
    second, more = _halves(call, rows.iloc[middle:], who)
    return [*first, *second], said | {middle + place: why for place, why in more.items()}


def _assert_some_pass(call: Callable[[pd.DataFrame], Any], sample: pd.DataFrame, reason: str) -> None:
    if all(_raises(call, sample.iloc[[place]]) for place in range(len(sample))):
        raise DataError(f"row after row cannot be scored: {reason}")


def _raises(call: Callable[[pd.DataFrame], Any], rows: pd.DataFrame) -> bool:
    try:
        with _errors_of_rows(_THE_MODEL):
            call(rows)
    except _Raised:
        return True
    return False


class _Raised(Exception):
    """A model or a user's function cannot do with some rows; says what it raised, in one line."""


@contextmanager
def _errors_of_rows(who: str) -> Iterator[None]:
    """Tell rows that cannot be scored from a part that does not answer, and from a broken protocol."""
    try:
        yield
    except (PodiumError, MemoryError):
        raise
    except OSError as error:
        raise Outage(f"{who} raises {type(error).__name__}: {error}") from error
    except Exception as error:
        said = f"{who} raises {type(error).__name__}: {error}"
        raise _Raised(said.splitlines()[0][:_LONGEST_REASON]) from error


def _assert_protocol(path: str, rows: pd.DataFrame, made: object) -> None:
    if not isinstance(made, pd.DataFrame):
        raise TrainerError(f"{path} must return a DataFrame, not {type(made).__name__}")
    if not made.index.isin(rows.index).all() or made.index.has_duplicates:
        raise TrainerError(
            f"{path} must return at most one row of inputs for each row that it gets, with its index"
        )
    if not made.index.is_monotonic_increasing:
        raise TrainerError(f"{path} must keep the order of the rows")


def _table(path: str, made: pd.DataFrame) -> pa.Table:
    try:
        return pa.Table.from_pandas(made, preserve_index=False)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise TrainerError(f"{path} returned a column of several types: {error}") from error


def _nothing(column: pd.Series) -> Any:
    """Return a column of missing values of the same type."""
    return column.where(np.zeros(len(column), dtype=bool))
