"""Is the data whole? What is broken before anything else is judged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from podium.metrics.bins import MOST_CATEGORIES, Bins, Counts, is_numeric, other_rows

# Fewer rows than a tenth of the fewest of the past windows, or more than ten times the most.
_ROWS_APART = 10
# Where past windows had fewer, one without any is nothing unusual.
_MANY_ROWS = 30
_MOST_NEW = 0.01


def data_problems(
    bins: Mapping[str, Bins], frame: pd.DataFrame, counts: Mapping[str, Counts], past_rows: Sequence[int]
) -> tuple[str, ...]:
    """Say what is broken in the rows of a window, by column; none if they are whole.

    Args:
        bins: Of each column of the reference.
        frame: The rows, or some of them: their columns and types.
        counts: Of each column that is there, all rows.
        past_rows: How many rows the past windows had.
    """
    wrong = [row_problem(int(next(iter(counts.values())).sum()) if counts else len(frame), past_rows)]
    for name, binned in bins.items():
        wrong.append(
            _column_problem(name, binned, frame[name], counts[name])
            if name in frame
            else f"column {name} is gone"
        )
    return tuple(filter(None, wrong))


def row_problem(rows: int, past_rows: Sequence[int]) -> str:
    """Say that a window has far fewer or more rows than the past windows; "" if it has not."""
    if not past_rows:
        return ""
    least, most = min(past_rows), max(past_rows)
    far_fewer = least >= _MANY_ROWS and rows * _ROWS_APART < least
    if far_fewer or rows > most * _ROWS_APART:
        return f"{rows:,} rows; the {len(past_rows)} past windows had {least:,} to {most:,}"
    return ""


def _column_problem(name: str, bins: Bins, column: pd.Series, counts: Counts) -> str:
    if bins.known and column.notna().any() and is_numeric(column) != bins.numeric:
        kinds = ("numbers", "texts") if bins.numeric else ("texts", "numbers")
        return f"column {name} holds {kinds[1]}, its reference {kinds[0]}"
    rows, new = int(counts.sum()), other_rows(bins, counts)
    if 0 < len(bins.categories) < MOST_CATEGORIES and new > _MOST_NEW * rows:
        return f"column {name}: {new:,} of {rows:,} rows have a category that its reference has not"
    return ""
