"""Is the data whole? What is broken before anything else is judged."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pandas as pd

from podium.gates.schema import SchemaFindings
from podium.metrics.bins import Bins, Counts, is_numeric, other_rows
from podium.metrics.reference import Column
from podium.model_file.gates import SchemaGate
from podium.model_file.spec import ModelSpec

_MOST_NEW = 0.01
_MOST_RARE = 0.002


class Whole:
    """Looks at the rows of a window part by part.

    Args:
        spec: The model file; its gates ``schema`` say what the inputs must be.
        columns: The reference.
    """

    def __init__(self, spec: ModelSpec, columns: Mapping[str, Column]) -> None:
        self._columns = columns
        self._schemas = [SchemaFindings(gate) for gate in _of_inputs(spec)]
        self._wrong: dict[str, str] = {}
        self._rows = 0

    def add(self, frame: pd.DataFrame) -> None:
        """Look at some rows."""
        if frame.empty:
            return
        self._rows += len(frame)
        for schema in self._schemas:
            schema.add(frame)
        for name, column in self._columns.items():
            there = name in frame
            wrong = _type_problem(name, column.bins, frame[name]) if there else f"column {name} is gone"
            if wrong:
                self._wrong.setdefault(name, wrong)

    def problems(self, counts: Mapping[str, Counts]) -> tuple[str, ...]:
        """Say what is broken, by column; none if the rows are whole, or there are none.

        Args:
            counts: Of each column that is there, all rows.
        """
        if not self._rows:
            return ()
        said = [problem for schema in self._schemas for problem in schema.problems()]
        right = {name: counted for name, counted in counts.items() if name not in self._wrong}
        return (*self._wrong.values(), *category_problems(self._columns, right), *said)


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
    if bins.known and column.notna().any() and is_numeric(column) != bins.numeric:
        kinds = ("numbers", "texts") if bins.numeric else ("texts", "numbers")
        return f"column {name} holds {kinds[1]}, its reference {kinds[0]}"
    return ""


def _of_inputs(spec: ModelSpec) -> Iterator[SchemaGate]:
    """Yield the schema gates as far as they are of inputs: windows may have nothing else."""
    for gate in spec.gates:
        if isinstance(gate, SchemaGate):
            rules = {name: rule for name, rule in gate.columns_schema.items() if name in spec.data.inputs}
            yield gate.model_copy(update={"columns_schema": rules})
