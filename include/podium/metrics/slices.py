"""The slices of a gate: which rows have which value, or are in which bin, of a column."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from podium.errors import NoSlices
from podium.model_file.metric_gate import Slices

MOST_SLICES = 100

Mask = npt.NDArray[np.bool_]


class Slice(NamedTuple):
    """Some of the holdout's rows.

    Attributes:
        name: Such as ``tournament = Friendly``.
        rows: Which, shape (n,).
    """

    name: str
    rows: Mask


def cut(slices: Slices, columns: pd.DataFrame) -> list[Slice]:
    """Cut rows into slices. Rows where the column is empty are a slice of their own.

    Args:
        slices: What the gate says.
        columns: The columns of the examples.

    Returns:
        In the order of the values, or as the gate lists them; without rows where a listed value is not there.

    Raises:
        NoSlices: There is no such column, it holds no numbers to bin, or too many values.
    """
    if slices.column not in columns:
        raise NoSlices(f"the examples have no column '{slices.column}'")
    column = columns[slices.column]
    empty = column.isna().to_numpy()
    found = _bins(slices, column) if slices.bins is not None else _values(slices, column)
    if empty.any() and slices.values is None:
        found.append(Slice(f"{slices.column} is empty", empty))
    return found


def _values(slices: Slices, column: pd.Series) -> list[Slice]:
    text, there = column.astype(str), column.notna()
    values = slices.values or sorted(set(text[there]))
    if len(values) > MOST_SLICES:
        raise NoSlices(
            f"column '{slices.column}' has {len(values):,} values; list some of them, or give bins"
        )
    # Compared by pandas: to NumPy a text is the same without the zero bytes at its end.
    return [
        Slice(f"{slices.column} = {value}", ((text == value) & there).to_numpy(dtype=bool))
        for value in values
    ]


def _bins(slices: Slices, column: pd.Series) -> list[Slice]:
    numbers = pd.to_numeric(column, errors="coerce").to_numpy(float)
    if np.isnan(numbers[column.notna().to_numpy()]).any():
        raise NoSlices(f"column '{slices.column}' holds values that are not numbers, so it has no bins")
    inner = _inner_edges(slices, numbers)
    edges = [-np.inf, *inner, np.inf]
    place = np.digitize(numbers, inner)
    known = ~np.isnan(numbers)
    found = [
        Slice(_bin_name(slices.column, low, high), (place == bin_) & known)
        for bin_, (low, high) in enumerate(pairwise(edges))
    ]
    # Edges that were given are asked for, also where no row is between them.
    return [part for part in found if part.rows.any() or isinstance(slices.bins, tuple)]


def _inner_edges(slices: Slices, numbers: npt.NDArray[np.float64]) -> list[float]:
    if isinstance(slices.bins, tuple):
        return list(slices.bins)
    known = numbers[np.isfinite(numbers)]
    shares = np.linspace(0, 1, int(slices.bins or 1) + 1)[1:-1]
    return sorted(set(np.quantile(known, shares).tolist())) if len(known) else []


def _bin_name(column: str, low: float, high: float) -> str:
    if np.isinf(low) and np.isinf(high):
        return f"{column} is a number"
    if np.isinf(low):
        return f"{column} < {high:g}"
    return f"{column} >= {low:g}" if np.isinf(high) else f"{low:g} <= {column} < {high:g}"
