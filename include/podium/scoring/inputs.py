"""From rows of a source to what a model takes: each input column as the type that its signature names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from mlflow.pyfunc import PyFuncModel

from podium.errors import DataError
from podium.sources.columns import InputColumn, Kind, columns_of

Reasons = dict[int, str]
"""Why rows cannot be scored, by their places from 0; all others can."""

# What pandas takes for missing in a csv, as the models' training data is read.
_MISSING = (
    "#N/A|#N/A N/A|#NA|-1.#IND|-1.#QNAN|-NaN|-nan|1.#IND|1.#QNAN|<NA>|N/A|NA|NULL|NaN|None|n/a|nan|null"
)
MISSING_IN_CSV = ("", *_MISSING.split("|"))


@dataclass(frozen=True)
class InputColumns:
    """The input columns of a model, in its order."""

    columns: tuple[InputColumn, ...]

    @classmethod
    def of(cls, model: PyFuncModel) -> InputColumns:
        """Read a model's signature.

        Raises:
            PodiumError: It names no columns of kinds that are known, see ``columns_of``.
        """
        return cls(columns_of(model.metadata.get_input_schema()))

    @property
    def names(self) -> list[str]:
        """The names of the columns, in the model's order."""
        return [column.name for column in self.columns]

    def assert_there(self, there: Sequence[str], where: str) -> None:
        """Make sure that no column is missing.

        Raises:
            DataError: Names the columns that are.
        """
        if missing := [
            column.name for column in self.columns if column.required and column.name not in there
        ]:
            raise DataError(
                f"{where}: no column '{missing[0]}', which the model takes; there are: {_list(there)}"
            )

    def convert(self, rows: pa.Table) -> tuple[pd.DataFrame, Reasons]:
        """Bring rows to the model's types.

        Text (a csv's bytes, a database's decimals) is parsed; what pandas takes for missing in a csv is
        missing, but other text stays what it is where the model takes text. Numbers are only converted where
        no value changes.

        Args:
            rows: Has the required columns.

        Returns:
            The inputs of the rows that fit, in their order, and why each other row does not.
        """
        reasons: Reasons = {}
        arrays: dict[str, pa.ChunkedArray] = {}
        for column in self.columns:
            if column.name not in rows.column_names:
                continue
            array, bad = _converted(rows.column(column.name), _arrow_type(column.kind))
            _blame(reasons, bad, f"{column.name} {_wrong(column.kind)}")
            if not column.kind.nullable and array.null_count:
                _blame(reasons, _mask(pc.is_null(array)), f"{column.name} is missing")
            arrays[column.name] = array
        table = pa.table(arrays)
        return _frame(table.filter(pa.array(scorable(reasons, len(rows)))) if reasons else table), reasons


def scorable(reasons: Reasons, rows: int) -> npt.NDArray[np.bool_]:
    """Return which of so many rows have no reason against them."""
    good = np.ones(rows, dtype=bool)
    good[list(reasons)] = False
    return good


def take(reasons: Reasons, places: npt.NDArray[np.int64]) -> Reasons:
    """Return reasons against some of many rows by their places among the many.

    Args:
        reasons: By the places among the some.
        places: Where each of the some is among the many.
    """
    return {int(places[place]): reason for place, reason in reasons.items()}


def _arrow_type(kind: Kind) -> pa.DataType:
    """Return Arrow's type of a column of a kind."""
    return pa.string() if kind is Kind.STRING else pa.from_numpy_dtype(kind.dtype)


def _wrong(kind: Kind) -> str:
    return "is neither true nor false" if kind is Kind.BOOLEAN else f"is no {kind.words}"


def _frame(table: pa.Table) -> pd.DataFrame:
    # A copy: a model may write in its input, which Arrow's memory does not allow.
    frame: pd.DataFrame = table.to_pandas(split_blocks=True).copy()
    return frame


def _blame(reasons: Reasons, bad: npt.NDArray[np.bool_] | None, reason: str) -> None:
    """Note a reason for rows that have none yet."""
    for place in () if bad is None else np.flatnonzero(bad).tolist():
        reasons.setdefault(place, reason)


def _converted(
    array: pa.ChunkedArray, target: pa.DataType
) -> tuple[pa.ChunkedArray, npt.NDArray[np.bool_] | None]:
    """Return a column as a type, null where it cannot be, and which rows those are."""
    if pa.types.is_dictionary(array.type):
        array = array.cast(array.type.value_type)
    text = _is_text(array.type)
    if _is_bytes(array.type) and target == pa.string():
        return _parsed(array, target, _cast)
    if array.type == target:
        return array, None
    if not text and target in (pa.string(), pa.bool_()) and not pa.types.is_null(array.type):
        # A number is no text to a model that learned from text; as MLflow has it.
        return _none_fits(array, target)
    cast = _from_text if text else _cast
    try:
        return cast(array, target), None
    except pa.ArrowInvalid:
        return _parsed(array, target, cast) if text else _each(array, target, cast)
    except pa.ArrowNotImplementedError:
        return _none_fits(array, target)


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or _is_bytes(kind))


def _is_bytes(kind: pa.DataType) -> bool:
    """True for what is read from a csv, where nothing tells an empty text from a missing one."""
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _parsed(
    array: pa.ChunkedArray, target: pa.DataType, cast: Callable[..., pa.ChunkedArray]
) -> tuple[pa.ChunkedArray, npt.NDArray[np.bool_] | None]:
    """The same of text in which some values are missing, padded or wrong."""
    missing = pc.is_in(array, value_set=pa.array(MISSING_IN_CSV).cast(array.type))
    array = pc.if_else(missing, pa.scalar(None, array.type), array)
    try:
        return cast(array, target), None
    except pa.ArrowInvalid:
        return _each(array, target, cast)


def _each(
    array: pa.ChunkedArray, target: pa.DataType, cast: Callable[..., pa.ChunkedArray]
) -> tuple[pa.ChunkedArray, npt.NDArray[np.bool_]]:
    """Convert value by value, each different one once."""
    coded = array.combine_chunks().dictionary_encode()
    coded = coded.combine_chunks() if isinstance(coded, pa.ChunkedArray) else coded
    values, wrong = [], []
    for piece in _halves(coded.dictionary, target, cast):
        values.append(piece[0])
        wrong.append(piece[1])
    fitted = pa.concat_arrays(values).take(coded.indices)
    codes = coded.indices.fill_null(0).to_numpy(zero_copy_only=False)
    bad = np.concatenate(wrong)[codes] & _mask(pc.is_valid(coded.indices))
    return pa.chunked_array([fitted]), bad


def _halves(
    values: pa.Array, target: pa.DataType, cast: Callable[..., pa.Array]
) -> list[tuple[pa.Array, npt.NDArray[np.bool_]]]:
    """Convert what can be, halving what cannot until single values are left."""
    try:
        return [(cast(values, target), np.zeros(len(values), dtype=bool))]
    except pa.ArrowInvalid:
        if len(values) == 1:
            one = _last_try(values, target)
            return [(pa.nulls(1, target) if one is None else one, np.array([one is None]))]
    middle = len(values) // 2
    return [*_halves(values[:middle], target, cast), *_halves(values[middle:], target, cast)]


def _last_try(value: pa.Array, target: pa.DataType) -> pa.Array | None:
    """Read one padded value, and a whole number that is written as 3.0."""
    try:
        if _is_text(value.type):
            value = pc.utf8_trim_whitespace(value.cast(pa.string()))
            if pa.types.is_integer(target):
                value = value.cast(pa.float64())
        return value.cast(target)
    except pa.ArrowInvalid:
        return None


def _from_text(values: Any, target: pa.DataType) -> Any:
    return values.cast(pa.string()).cast(target)


def _cast(values: Any, target: pa.DataType) -> Any:
    if pa.types.is_floating(values.type) and target == pa.float32():
        return values.cast(target, safe=False)
    return values.cast(target)


def _none_fits(array: pa.ChunkedArray, target: pa.DataType) -> tuple[pa.ChunkedArray, npt.NDArray[np.bool_]]:
    return pa.chunked_array([pa.nulls(len(array), target)]), _mask(pc.is_valid(array))


def _mask(array: pa.Array | pa.ChunkedArray) -> npt.NDArray[np.bool_]:
    whole = array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
    found: npt.NDArray[np.bool_] = np.asarray(whole, dtype=bool)
    return found


def _list(names: Sequence[str]) -> str:
    return ", ".join(names) or "none"


def text_columns(rows: pa.Table) -> tuple[pd.DataFrame, Reasons]:
    """Return rows for a user's function: a csv's bytes as text, missing where pandas takes it so.

    Returns:
        All rows; and why some cannot be read, which then have missing values.
    """
    reasons: Reasons = {}
    columns: dict[str, pa.ChunkedArray] = {}
    for name in rows.column_names:
        column = rows.column(name)
        if pa.types.is_binary(column.type):
            column, bad = _parsed(column, pa.string(), _cast)
            _blame(reasons, bad, f"{name} {_wrong(Kind.STRING)}")
        columns[name] = column
    return _frame(pa.table(columns)), reasons
