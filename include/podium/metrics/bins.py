"""A column on fixed bins of a reference: counts that add up, and how far two sets of counts are apart.

Counts hold no row and no value. Those of two parts of a window add up to those of the window, so scoring
counts chunk by chunk, and servers in processes of their own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from podium.metrics.answers import Numbers

MOST_EDGES = 200
MOST_CATEGORIES = 200
# A text of fewer rows is no category: bins are kept, and what few rows have may be somebody's own.
LEAST_ROWS = 5

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Bins:
    """What the values of one column are counted on.

    Attributes:
        edges: Of numbers: a bin holds what is above one edge and at most the next; ascending.
        categories: Of anything else: its values as texts. Others have one bin together.
        scale: Of numbers: the standard deviation in the reference, 0 where all were equal.
    """

    edges: tuple[float, ...] = ()
    categories: tuple[str, ...] = ()
    scale: float = 0.0

    @property
    def numeric(self) -> bool:
        """Whether it holds numbers."""
        return not self.categories

    @property
    def known(self) -> bool:
        """Whether the reference has any value."""
        return bool(self.edges or self.categories)


def is_numeric(column: pd.Series) -> bool:
    """Whether a column is counted as numbers: numbers, flags and moments."""
    kind: Any = column.dtype
    if isinstance(kind, np.dtype):
        return kind.kind in "biufcM"
    kinds = (pd.api.types.is_datetime64_any_dtype, pd.api.types.is_bool_dtype, pd.api.types.is_numeric_dtype)
    return any(is_one(kind) for is_one in kinds)


def make_bins(column: pd.Series) -> Bins:
    """Return bins of about equally many rows of a reference; of texts one for each of the most frequent."""
    numbers = _numbers(column)
    if numbers is None:
        rows = _texts(column).value_counts()
        frequent = tuple(rows[rows >= LEAST_ROWS].index[:MOST_CATEGORIES])
        # Where none is frequent, all of them are others.
        return Bins(categories=frequent or ("",) * bool(len(rows)))
    there = numbers[np.isfinite(numbers)]
    if not len(there):
        return Bins()
    low, high = float(there.min()), float(there.max())
    if low == high:
        return Bins((float(np.nextafter(low, -np.inf)), low))
    edges = np.unique(np.quantile(there, np.linspace(0, 1, MOST_EDGES), method="lower"))
    return Bins(tuple(edges.tolist()), scale=float(there.std()))


def count(bins: Bins, column: pd.Series) -> Counts:
    """Count the rows of a column in each bin.

    Returns:
        Shape (bins + 1,): the last one counts missing values. Numbers where texts belong are other texts, and
        texts where numbers belong are missing: what type a column has is judged elsewhere.
    """
    if bins.numeric:
        return _count_numbers(np.asarray(bins.edges), _numbers(column), len(column))
    missing = column.isna().to_numpy()
    places = pd.Index(bins.categories).get_indexer(pd.Index(column.astype("string")))
    cells = len(bins.categories) + 1
    places = np.where(missing, cells, np.where(places < 0, cells - 1, places))
    return np.bincount(places, minlength=cells + 1).astype(np.int64)


def distance(bins: Bins, reference: Counts, counts: Counts) -> float:
    """Return how far the values of a window are from those of a reference; NaN where either has none.

    Of numbers the Wasserstein distance in standard deviations of the reference, of others the total
    variation. What lies beyond all of the reference counts as its largest value.
    """
    if bins.scale:
        return float(np.abs(_surplus(reference, counts)) @ _widths(bins))
    return float(np.abs(_shares(reference) - _shares(counts)).sum() / 2)


def shift(bins: Bins, reference: Counts, counts: Counts) -> float:
    """Return by how much the mean rose, in standard deviations; of what has no order the distance."""
    if bins.scale:
        return float(_surplus(reference, counts) @ _widths(bins))
    return distance(bins, reference, counts)


def share_missing(counts: Counts) -> float:
    """Return the share of missing values; NaN of no rows."""
    return float(counts[-1] / counts.sum()) if counts.sum() else float("nan")


def other_rows(bins: Bins, counts: Counts) -> int:
    """Return how many rows have a category that the reference has not."""
    return 0 if bins.numeric else int(counts[-2])


def _count_numbers(edges: Numbers, numbers: Numbers | None, rows: int) -> Counts:
    """Count by sorting, which takes a tenth of looking each number up."""
    ordered = np.empty(0) if numbers is None else np.sort(numbers)
    # What is no number comes last.
    known = int(np.searchsorted(ordered, np.nan))
    up_to = np.searchsorted(ordered[:known], edges, side="right")
    return np.append(np.diff([0, *up_to, known]), rows - known).astype(np.int64)


def _shares(counts: Counts) -> Numbers:
    """Return the share of the values in each bin; NaN of no values."""
    values = counts[:-1]
    return np.asarray(values / values.sum() if values.sum() else np.full(len(values), np.nan))


def _surplus(reference: Counts, counts: Counts) -> Numbers:
    """Return how much more of the values lie above each edge but the last."""
    return np.asarray(np.cumsum(_shares(reference) - _shares(counts))[:-2])


def _widths(bins: Bins) -> Numbers:
    return np.asarray(np.diff(bins.edges) / bins.scale)


def _numbers(column: pd.Series) -> Numbers | None:
    """Return numbers, flags and moments (seconds) as numbers; None of anything else."""
    if not is_numeric(column):
        return None
    if pd.api.types.is_datetime64_any_dtype(column.dtype):
        since = pd.to_datetime(column, utc=True) - pd.Timestamp(0, tz="UTC")
        return np.asarray(since.dt.total_seconds(), dtype=np.float64)
    if isinstance(column.dtype, np.dtype):
        return column.to_numpy(np.float64)
    return column.to_numpy(np.float64, na_value=np.nan)


def _texts(column: pd.Series) -> pd.Series:
    return column.dropna().astype("string")
