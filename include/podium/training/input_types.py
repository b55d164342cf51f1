"""The types of the model's inputs: the trainer gets what a client's row becomes.

A client sends JSON or a row of a file, and MLflow makes of it what the model's signature says: numbers, text,
true or false, moments. What training data holds beyond that (days, decimals, flags with gaps, ...) is brought
to one of these before the trainer sees it. Categories are carried, and asked for as what they hold.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from podium.errors import DataError

_MOMENT = np.dtype("datetime64[ns]")
# As MLflow has them: a small whole number is of 32 bits.
_WHOLE: dict[str, np.dtype[Any]] = {
    **dict.fromkeys(("int8", "int16", "uint8", "uint16"), np.dtype("int32")),
    "uint32": np.dtype("int64"),
}
# What pandas calls the values of a column of objects.
_NUMBERS = ("integer", "floating", "mixed-integer-float")
_NOT_SENT = ", which no client can send; make it text or numbers in data.examples"
_NO_KIND = {
    "time": "times of day",
    "timedelta": "durations",
    "timedelta64": "durations",
    "period": "periods",
    "interval": "intervals",
    "complex": "complex numbers",
    "mixed-integer": "numbers beside other values",
}
# What MLflow has beside single values; such columns are left as they are.
_NESTED = {"list", "dict", "ndarray"}


def for_the_trainer(inputs: pd.DataFrame, where: str) -> tuple[pd.DataFrame, list[str]]:
    """Return the inputs as the trainer gets them, and what was converted: a sentence for each such column.

    Args:
        inputs: The model's input columns.
        where: What they are of, for messages.

    Raises:
        DataError: A column holds what no client can send, such as durations; names it.
    """
    columns, said = {}, []
    for name in inputs:
        try:
            columns[name], told = _converted(inputs[name])
        except pd.errors.OutOfBoundsDatetime as error:
            what = f"{error}; moments are of the years 1678 to 2261. Make it missing in data.examples"
            raise DataError(f"{where}: input {name}: {what}") from error
        except DataError as error:
            raise DataError(f"{where}: input {name}: {error}") from error
        if told:
            said.append(f"input {name}: {told}")
    return pd.DataFrame(columns, index=inputs.index), said


def as_clients_send(inputs: pd.DataFrame) -> pd.DataFrame:
    """Return rows that a trainer got as a client would send them: of a category only what it holds."""
    categories = category_columns(inputs)
    if not categories:
        return inputs
    plain = {name: _like(inputs[name], np.asarray(inputs[name])) for name in categories}
    columns = {name: _converted(plain[name])[0] if name in plain else inputs[name] for name in inputs}
    return pd.DataFrame(columns, index=inputs.index)


def category_columns(inputs: pd.DataFrame) -> list[str]:
    """Return the columns that are categories."""
    return [str(name) for name in inputs if isinstance(inputs[name].dtype, pd.CategoricalDtype)]


def flags_with_gaps(inputs: pd.DataFrame) -> list[str]:
    """Return the columns of true and false that have gaps."""
    objects = inputs.columns[[kind == np.object_ for kind in inputs.dtypes]]
    return [name for name in objects if pd.api.types.infer_dtype(inputs[name], skipna=True) == "boolean"]


def _converted(column: pd.Series) -> tuple[pd.Series, str]:
    """Return a column in a type that MLflow carries, and what was done; "" if nothing that matters."""
    kind = column.dtype
    if isinstance(kind, pd.ArrowDtype):
        plain = pa.Array.from_pandas(column).to_pandas().set_axis(column.index)
        return _converted(plain.rename(column.name))
    if isinstance(kind, pd.CategoricalDtype):
        if kind.categories.dtype == bool:
            return _of_objects(_like(column, np.asarray(column, dtype=object)))
        return column, "categories; clients send what they hold"
    if isinstance(kind, pd.DatetimeTZDtype):
        return _moments(column)
    if isinstance(kind, pd.StringDtype):
        return column.astype("str"), ""
    if kind == "boolean":
        return _flags(column)
    if pd.api.types.is_extension_array_dtype(kind) and pd.api.types.is_numeric_dtype(kind):
        return _with_gaps(column)
    return _of_numpy(column)


def _of_numpy(column: pd.Series) -> tuple[pd.Series, str]:
    kind = column.dtype
    if kind.kind == "M":
        return column.astype(_MOMENT), ""
    if kind.name in _WHOLE:
        return column.astype(_WHOLE[kind.name]), ""
    if kind.name == "uint64":
        if len(column) and column.max() > np.iinfo(np.int64).max:
            raise DataError(f"{column.max()} is larger than a whole number of 64 bits")
        return column.astype(np.int64), ""
    if kind.name == "float16":
        return column.astype(np.float32), ""
    if kind.kind in "biuf":
        return column, ""
    return _of_objects(column)


def _of_objects(column: pd.Series) -> tuple[pd.Series, str]:
    """The same of values that pandas has no type of its own for."""
    found = pd.api.types.infer_dtype(column, skipna=True)
    if found in _NO_KIND:
        raise DataError(f"{_NO_KIND[found]}{_NOT_SENT}")
    if convert := _CONVERSIONS.get(found):
        return convert(column)
    types = {type(value).__name__ for value in column.dropna()}
    if found != "bytes" and types - _NESTED:
        raise DataError(f"{' beside '.join(sorted(types))}{_NOT_SENT}")
    return column, ""


def _flags(column: pd.Series) -> tuple[pd.Series, str]:
    if not column.isna().any():
        return column.astype(bool), ""
    # pandas has no type for it that MLflow takes; a client's null is None among these.
    values = [None if gap else bool(value) for value, gap in zip(column, column.isna(), strict=True)]
    return _like(
        column, np.array(values, dtype=object)
    ), "true and false with gaps; clients send null for them"


def _with_gaps(column: pd.Series) -> tuple[pd.Series, str]:
    if column.isna().any():
        return _like(column, column.to_numpy(np.float64, na_value=np.nan)), ""
    return _of_numpy(_like(column, column.to_numpy()))


def _days(column: pd.Series) -> tuple[pd.Series, str]:
    return pd.to_datetime(column).astype(_MOMENT), "days, taken as moments at midnight"


def _moments(column: pd.Series) -> tuple[pd.Series, str]:
    return pd.to_datetime(column, utc=True).dt.tz_localize(None).astype(_MOMENT), "moments, taken in UTC"


def _decimals(column: pd.Series) -> tuple[pd.Series, str]:
    return _like(column, pd.to_numeric(column).astype(np.float64)), "decimals, taken as numbers"


def _numbers(column: pd.Series) -> tuple[pd.Series, str]:
    return _of_numpy(pd.to_numeric(column))


def _nothing(column: pd.Series) -> tuple[pd.Series, str]:
    return _like(column, np.full(len(column), np.nan)), "no value at all, taken as numbers"


def _text(column: pd.Series) -> tuple[pd.Series, str]:
    return column.astype("str"), ""


def _like(column: pd.Series, values: Any) -> pd.Series:
    return pd.Series(values, index=column.index, name=column.name)


_CONVERSIONS: dict[str, Callable[[pd.Series], tuple[pd.Series, str]]] = {
    "boolean": _flags,
    "date": _days,
    "datetime": _moments,
    "datetime64": _moments,
    "decimal": _decimals,
    "empty": _nothing,
    "string": _text,
    **dict.fromkeys(_NUMBERS, _numbers),
}
