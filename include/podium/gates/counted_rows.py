"""Rows of a window as they are counted on the bins of a version: what is in each bin, and what is broken.

It adds up over chunks and partitions, and holds no row: batch scoring counts so, and monitoring.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Self

import pandas as pd

from podium.gates.schema import SchemaFindings
from podium.ledger.served_counts import dense, sparse
from podium.metrics.bins import Bins, Counts, count, is_numeric, other_rows
from podium.metrics.reference import Column, add_counts
from podium.model_file.gates import SchemaGate
from podium.model_file.spec import ModelSpec

_MOST_NEW = 0.01
_MOST_RARE = 0.002


class CountedRows:
    """Some rows of a window, counted part by part.

    Args:
        spec: The model file; its gates ``schema`` say what the inputs must be.
        columns: The reference.

    Attributes:
        rows: How many rows.
        counts: By column; a column that some part lacks is left out.
    """

    def __init__(self, spec: ModelSpec, columns: Mapping[str, Column]) -> None:
        self.rows = 0
        self.counts: dict[str, Counts] = {}
        self._columns = columns
        self._schemas = [SchemaFindings(gate) for gate in _of_inputs(spec)]
        self._wrong: dict[str, str] = {}

    def add(self, frame: pd.DataFrame) -> None:
        """Count some rows: inputs, and what the version answered to them."""
        if not len(frame):
            return
        for schema in self._schemas:
            schema.add(frame)
        counts = {}
        for name, column in self._columns.items():
            if name not in frame:
                self._wrong.setdefault(name, f"column {name} is gone")
                continue
            values = frame[name]
            if wrong := _type_problem(name, column.bins, values):
                self._wrong.setdefault(name, wrong)
            counts[name] = count(column.bins, values)
        self._count(len(frame), counts)

    def take(self, later: Self) -> None:
        """Take what was counted of later rows, on the same bins by the same model file."""
        if not later.rows:
            return
        for schema, other in zip(self._schemas, later._schemas, strict=True):
            schema.take(other)
        for name, wrong in later._wrong.items():
            self._wrong.setdefault(name, wrong)
        self._count(later.rows, later.counts)

    def problems(self) -> tuple[str, ...]:
        """Say what is broken, by column; none if the rows are whole, or there are none."""
        if not self.rows:
            return ()
        said = [problem for schema in self._schemas for problem in schema.problems()]
        right = {name: counted for name, counted in self.counts.items() if name not in self._wrong}
        return (*self._wrong.values(), *category_problems(self._columns, right), *said)

    def content(self) -> dict[str, Any]:
        """Return it as plain JSON values; of a model file alone whose counts can be kept: ``adds_up``."""
        schemas = [schema.content() for schema in self._schemas]
        return {"rows": self.rows, "counts": sparse(self.counts), "wrong": self._wrong, "schemas": schemas}

    @classmethod
    def read(cls, spec: ModelSpec, columns: Mapping[str, Column], content: Mapping[str, Any]) -> Self:
        """Return what was kept.

        Raises:
            ValueError: The counts do not add up to the rows; other errors of Python, where it is no content.
        """
        found = cls(spec, columns)
        found.rows = int(content["rows"])
        found._wrong = {str(name): str(wrong) for name, wrong in content["wrong"].items()}
        pairs = zip(_of_inputs(spec), content["schemas"], strict=True)
        found._schemas = [SchemaFindings.read(gate, findings) for gate, findings in pairs]
        kept = content["counts"]
        if unknown := kept.keys() - columns.keys():
            raise ValueError(f"columns {', '.join(sorted(unknown))}")
        for name, column in columns.items():
            if name in kept:
                found.counts[name] = dense(name, kept[name], len(column.counts), found.rows)
        return found

    def _count(self, rows: int, counts: Mapping[str, Counts]) -> None:
        self.counts = add_counts(self.counts, counts) if self.rows else dict(counts)
        self.rows += rows


def adds_up(spec: ModelSpec) -> bool:
    """Whether what is counted of some rows can be kept: not if all values of a column must differ."""
    return not any(rule.unique for gate in _of_inputs(spec) for rule in gate.columns_schema.values())


def rules_of_inputs(spec: ModelSpec) -> list[dict[str, Any]]:
    """Return the rules of the schema gates about inputs as plain JSON values."""
    return [
        {name: rule.model_dump(mode="json") for name, rule in gate.columns_schema.items()}
        for gate in _of_inputs(spec)
    ]


def category_problems(columns: Mapping[str, Column], counts: Mapping[str, Counts]) -> tuple[str, ...]:
    """Say which columns have categories that their reference has not, by the counts alone.

    Columns whose reference has rare ones, too, are left to the question whether inputs moved.
    """
    said = []
    for name, counted in counts.items():
        bins, reference = columns[name].bins, columns[name].counts
        rows, new = int(counted.sum()), other_rows(bins, counted)
        has_rare = other_rows(bins, reference) > _MOST_RARE * reference.sum()
        if not has_rare and new > _MOST_NEW * rows:
            said.append(f"column {name}: {new:,} of {rows:,} rows have a category that its reference has not")
    return tuple(said)


def _type_problem(name: str, bins: Bins, column: pd.Series) -> str:
    if bins.known and is_numeric(column) != bins.numeric and column.notna().any():
        kinds = ("numbers", "texts") if bins.numeric else ("texts", "numbers")
        return f"column {name} holds {kinds[1]}, its reference {kinds[0]}"
    return ""


def _of_inputs(spec: ModelSpec) -> Iterator[SchemaGate]:
    """Yield the schema gates as far as they are of inputs: windows may have nothing else."""
    for gate in spec.gates:
        if isinstance(gate, SchemaGate):
            rules = {name: rule for name, rule in gate.columns_schema.items() if name in spec.data.inputs}
            if rules:
                yield gate.model_copy(update={"columns_schema": rules})
