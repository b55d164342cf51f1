"""From rows of a source to what a model takes: each input column as the type that its signature names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
from mlflow.pyfunc import PyFuncModel

from podium.errors import ColumnGone, PodiumError
from podium.sources.columns import NESTED, InputColumn, Kind, columns_of
from podium.sources.json_values import Unfit, values_of
from podium.sources.values import (
    NOTHING_NESTED,
    count_padded,
    fit,
    is_bytes,
    mask,
    other_zone,
    readable,
    what_it_is_not,
)

Reasons = dict[int, str]
"""Why rows cannot be scored, by their places from 0; all others can."""


@dataclass(frozen=True)
class InputColumns:
    """The input columns of a model, in its order."""

    columns: tuple[InputColumn, ...]

    @classmethod
    def of(cls, model: PyFuncModel) -> InputColumns:
        """Read a model's signature.

        Raises:
            PodiumError: It names no columns, or one of bytes, which nothing tells from the text of a csv.
        """
        columns = columns_of(model.metadata.get_input_schema())
        if raw := [column.name for column in columns if column.kind is Kind.BINARY]:
            raise PodiumError(
                f"the model takes {', '.join(raw)} as bytes, which batch scoring does not support"
            )
        return cls(columns)

    @property
    def names(self) -> list[str]:
        """The names of the columns, in the model's order."""
        return [column.name for column in self.columns]

    def assert_there(self, there: Sequence[str], where: str) -> None:
        """Make sure that no column is missing.

        Raises:
            ColumnGone: Names the first one that is.
        """
        if missing := [
            column.name for column in self.columns if column.required and column.name not in there
        ]:
            raise ColumnGone(
                f"{where}: no column '{missing[0]}', which the model takes; available: {_list(there)}"
            )

    def convert(self, rows: pa.Table) -> tuple[pd.DataFrame, Reasons]:
        """Bring rows to the model's types.

        ``podium.sources.values`` says what a value of each kind is.

        Args:
            rows: Has the required columns.

        Returns:
            The inputs of the rows that fit, in their order, and why each other row does not.
        """
        reasons: Reasons = {}
        arrays: dict[str, pa.ChunkedArray] = {}
        nested: dict[str, list[Any]] = {}
        for column in self.columns:
            if column.name not in rows.column_names:
                continue
            array = rows.column(column.name)
            if column.kind in NESTED:
                nested[column.name] = _nested(column, array, reasons)
            else:
                arrays[column.name] = _plain(column, array, reasons)
        good = scorable(reasons, len(rows))
        table = pa.table(arrays)
        frame = _frame(table.filter(pa.array(good)) if reasons and arrays else table)
        for name, values in nested.items():
            frame[name] = _objects(values, good)
        return (frame[[name for name in self.names if name in frame]] if nested else frame), reasons

    def noted(self, rows: pa.Table) -> dict[str, int]:
        """Say what of the rows is scored, but may not be meant so, with how many rows it is so of."""
        said: dict[str, int] = {}
        for column in self.columns:
            if column.name not in rows.column_names:
                continue
            array = rows.column(column.name)
            said[f"{column.name} has blanks around it"] = count_padded(array)
            if column.kind is Kind.DATETIME and (zone := other_zone(array)):
                said[f"{column.name} is converted from {zone} to UTC"] = len(array) - array.null_count
        return {what: count for what, count in said.items() if count}


def _plain(column: InputColumn, array: pa.ChunkedArray, reasons: Reasons) -> pa.ChunkedArray:
    """Bring a column to its type, and note why rows cannot be scored."""
    fitted = fit(array, column)
    for fault in fitted.faults:
        _blame(reasons, fault.rows, f"{column.name} {fault.why or what_it_is_not(column.kind)}")
    # A column of no type at all holds nothing, and the model requires it.
    nothing = pa.types.is_null(array.type) and column.required
    if (nothing or not column.nullable) and fitted.array.null_count:
        _blame(reasons, mask(fitted.array.is_null()), f"{column.name} is missing")
    return fitted.array


def _nested(column: InputColumn, array: pa.ChunkedArray, reasons: Reasons) -> list[Any]:
    """Judge the lists and objects of a column one by one."""
    values: list[Any] = array.to_pylist(maps_as_pydicts="strict")
    if is_bytes(array.type):
        _blame(reasons, np.array([bool(text) for text in values]), f"{column.name} {NOTHING_NESTED}")
        values = [None] * len(values)
    for place, value in enumerate(values):
        try:
            values[place] = values_of(column, [value])[0]
        except Unfit as error:
            reasons.setdefault(place, f"{column.name} is {error.why}")
    return values


def _objects(values: list[Any], good: npt.NDArray[np.bool_]) -> pd.Series:
    return pd.Series([value for value, fits in zip(values, good, strict=True) if fits], dtype=object)


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


def _frame(table: pa.Table) -> pd.DataFrame:
    # A copy: a model may write in its input, which Arrow's memory does not allow.
    frame: pd.DataFrame = table.to_pandas(split_blocks=True).copy()
    return frame


def _blame(reasons: Reasons, bad: npt.NDArray[np.bool_] | None, reason: str) -> None:
    """Note a reason for rows that have none yet."""
    for place in () if bad is None else np.flatnonzero(bad).tolist():
        reasons.setdefault(place, reason)


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
        if is_bytes(column.type):
            column, bad = readable(column)
            _blame(reasons, bad, f"{name} {what_it_is_not(Kind.STRING)}")
        columns[name] = column
    return _frame(pa.table(columns)), reasons
