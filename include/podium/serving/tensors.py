"""Tensors that clients send: each value is judged by its kind, and each row has the signature's shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from mlflow.types import Schema

from podium.errors import RequestRefused
from podium.serving.columns import Judge
from podium.sources.columns import InputColumn, Kind
from podium.sources.json_values import Unfit, json_type, short
from podium.sources.values import too_large

# By numpy's letter and size; of whole numbers the range is looked at afterwards.
_KINDS: Mapping[str, Kind] = {
    "f8": Kind.DOUBLE,
    "f4": Kind.FLOAT,
    "f2": Kind.FLOAT,
    **{f"{letter}{size}": Kind.LONG for letter in "iu" for size in (1, 2, 4, 8)},
    "b1": Kind.BOOLEAN,
    "U0": Kind.STRING,
}


@dataclass(frozen=True)
class Tensor:
    """A tensor of a signature.

    Attributes:
        name: Its name, if it has one.
        dtype: numpy's type of its values.
        row: The shape of one row, -1 where any length goes.
        rows: How many there are; -1 for any number.
    """

    name: str | None
    dtype: np.dtype[Any]
    row: tuple[int, ...]
    rows: int = -1

    @property
    def column(self) -> InputColumn:
        """Its values as those of a column."""
        return InputColumn(self.name or "", _KINDS[_code(self.dtype)])


def tensors_of(schema: Schema) -> tuple[Tensor, ...] | None:
    """Return the tensors of a signature; None if one holds what JSON has no values for, such as bytes."""
    tensors = tuple(
        Tensor(spec.name, np.dtype(spec.type), tuple(spec.shape[1:]), spec.shape[0] if spec.shape else -1)
        for spec in schema.inputs
    )
    return tensors if all(_code(tensor.dtype) in _KINDS for tensor in tensors) else None


def tensor_of(tensor: Tensor, cells: Sequence[Any], judge: Judge) -> npt.NDArray[Any]:
    """Return a tensor of what a client sent.

    Args:
        tensor: What the version takes.
        cells: What was sent of each row.
        judge: Brings values to the kind of a column; raises ``Unfit``.

    Raises:
        RequestRefused: A row has another shape, or a value of another type; names the row.
    """
    if tensor.rows not in (-1, len(cells)):
        raise RequestRefused(f"{len(cells)} rows, and the model takes {tensor.rows}")
    if tensor.row == (1,):
        cells = [cell if isinstance(cell, list) else [cell] for cell in cells]
    shape = _shape_of(cells[0], tensor.row)
    leaves = [leaf for place, cell in enumerate(cells) for leaf in _row(tensor, place, cell, shape)]
    try:
        return _as_dtype(tensor, judge(tensor.column, leaves)).reshape(len(cells), *shape)
    except Unfit as error:
        row, place = divmod(error.place, max(int(np.prod(shape, dtype=int)), 1))
        raise RequestRefused(f"{_at(tensor, row)}, value {place}: {error.why}") from error


def _code(dtype: np.dtype[Any]) -> str:
    return "U0" if dtype.kind == "U" else f"{dtype.kind}{dtype.itemsize}"


def _at(tensor: Tensor, row: int) -> str:
    return f"row {row}" if tensor.name is None else f"column {short(tensor.name)}, row {row}"


def _shape_of(cell: Any, wanted: Sequence[int]) -> tuple[int, ...]:
    """Return the shape of each row: where the signature leaves a length open, that of the first."""
    shape = []
    for length in wanted:
        shape.append(len(cell) if length == -1 and isinstance(cell, list) else length)
        cell = cell[0] if isinstance(cell, list) and cell else None
    return tuple(shape)


def _row(tensor: Tensor, place: int, cell: Any, shape: Sequence[int]) -> list[Any]:
    """Return the values of one row, which must have the shape."""
    parts = [cell]
    for length in shape:
        for part in parts:
            if not isinstance(part, list) or len(part) != length:
                what = f"{len(part)} values" if isinstance(part, list) else json_type(part)
                raise RequestRefused(f"{_at(tensor, place)}: {what}, not a list of {length} values")
        parts = [one for part in parts for one in part]
    return parts


def _as_dtype(tensor: Tensor, values: Any) -> npt.NDArray[Any]:
    """Bring judged values to the type, which may be smaller than their kind."""
    if tensor.column.kind is Kind.STRING:
        if None in values:
            raise Unfit(list(values).index(None), "null, not a text")
        return np.asarray(values, dtype=tensor.dtype)
    wide = np.asarray(values)
    with np.errstate(over="ignore"):
        narrow: npt.NDArray[Any] = wide.astype(tensor.dtype)
    changed = narrow != wide if tensor.dtype.kind in "iu" else np.isinf(narrow) & np.isfinite(wide)
    if tensor.dtype.kind != "b" and changed.any():
        place = int(changed.argmax())
        raise Unfit(place, f"{wide[place]} {too_large(tensor.column.kind)} ({tensor.dtype})")
    return narrow
