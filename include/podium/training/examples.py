"""Labelled examples, and how many rows of the source became some."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

import pandas as pd

from podium.errors import DataError


@dataclass(frozen=True)
class TrainingExamples:
    """Labelled examples, one row each, all with the same index.

    Attributes:
        inputs: The model's input columns, in the model file's order.
        label: What is to be predicted: a label as text, or a number.
        time: When the example became known; NaT where the model file names no time column.
        others: The other columns of the examples: for slices and own metrics, never for the model.
    """

    inputs: pd.DataFrame
    label: pd.Series
    time: pd.Series
    others: pd.DataFrame = field(default_factory=pd.DataFrame)

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.inputs)

    def by_part(self) -> dict[str, pd.DataFrame]:
        """Return all that they hold as tables."""
        known = pd.DataFrame({"label": self.label, "time": self.time})
        return {"inputs": self.inputs, "known": known, "others": self.others}

    def column(self, name: str) -> pd.Series:
        """Return an input or another column.

        Raises:
            DataError: There is none of this name; names those that there are.
        """
        for table in (self.inputs, self.others):
            if name in table:
                return table[name]
        there = ", ".join([*map(str, self.inputs), *map(str, self.others)])
        raise DataError(f"the examples have no column '{name}'; available: {there}. data.columns reads more")


@dataclass(frozen=True)
class DataReport:
    """How many rows of the source were used, and why the others were not.

    Attributes:
        read: Rows in the source.
        short: Rows of a csv with fewer fields than there are columns.
        later: At or after ``as_of``.
        undated: Without a time that any of ``data.time_formats`` can read (``data.undated: drop``).
        duplicated: The same as an earlier row (``data.duplicates: drop``).
        unlabelled: Without a label (``data.unlabelled: drop``).
        unknown_labels: With a label that the model file does not list (``data.unknown_labels: drop``).
        examples: Labelled examples in the end.
        counted: What else ``data.examples`` counted: it may set ``attrs["counted"]`` of what it returns to
            numbers by name.
    """

    read: int
    later: int
    undated: int
    duplicated: int
    unlabelled: int
    unknown_labels: int
    examples: int
    short: int = 0
    counted: Mapping[str, int] = field(default_factory=dict)

    def describe(self) -> str:
        """Say it in one sentence."""
        not_left_out = ("read", "examples", "counted")
        left_out = {name: count for name, count in asdict(self).items() if name not in not_left_out}
        sentences = f"{self.read:,} rows read, {_counts(left_out) or 'none'} left out"
        if counted := _counts(self.counted):
            sentences += f" ({counted})"
        return f"{sentences}, {self.examples:,} examples"


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in counts.items() if count)


@dataclass(frozen=True)
class DataWindow:
    """What one run trains on and is judged by.

    Attributes:
        version: sha256 of the values that were known at ``as_of``, of ``data.tables``, and of what
            ``data.examples`` made of them: same values, same version, in any order and however stored.
        train: Examples before the holdout.
        holdout: The newest days before ``as_of``, or a share of the rows; a trainer never sees them.
        as_of: The moment before which the run sees the world, UTC without a zone.
        report: What was left out.
        facts: What the source tells of itself; no part of the version.
    """

    version: str
    train: TrainingExamples
    holdout: TrainingExamples
    as_of: datetime
    report: DataReport
    facts: Mapping[str, Any] = field(default_factory=dict)
