"""Do columns hold what they should? Pandera checks rows batch by batch; the findings are added up."""

from __future__ import annotations

import operator
import re
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Self

import numpy as np
import pandas as pd
import pandera.pandas as pa
from pandera.errors import SchemaErrors

from podium.model_file.gates import ColumnRule, SchemaGate

_OF_TYPE = "of type "


def _is_number(column: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)


def _is_integer(column: pd.Series) -> bool:
    """Whole numbers, also where empty cells beside them made floats of them."""
    if pd.api.types.is_float_dtype(column):
        return bool((column % 1 == 0).all())
    return pd.api.types.is_integer_dtype(column)


_IS_TYPE: dict[str, Callable[[pd.Series], bool]] = {
    "number": _is_number,
    "integer": _is_integer,
    "text": pd.api.types.is_string_dtype,
    "boolean": pd.api.types.is_bool_dtype,
    "datetime": pd.api.types.is_datetime64_any_dtype,
}


class SchemaFindings:
    """What one schema gate finds in the batches of a holdout."""

    def __init__(self, gate: SchemaGate) -> None:
        self._rules = gate.columns_schema
        self._schema = pa.DataFrameSchema({name: _column(rule) for name, rule in self._rules.items()})
        self._rows = 0
        self._empty: Counter[str] = Counter()
        self._broken: Counter[tuple[str, str]] = Counter()
        self._hashes: dict[str, list[np.ndarray]] = {
            name: [] for name, rule in self._rules.items() if rule.unique
        }
        self._missing: set[str] = set()

    def add(self, batch: pd.DataFrame) -> None:
        """Check some rows."""
        self._rows += len(batch)
        self._missing |= set(self._rules) - set(batch.columns)
        there = batch[[name for name in self._rules if name in batch]]
        self._empty.update({str(name): int(there[name].isna().sum()) for name in there})
        for name, hashes in self._hashes.items():
            if name in there:
                hashes.append(pd.util.hash_array(there[name].dropna().to_numpy()))
        try:
            self._schema.select_columns(list(there.columns)).validate(there, lazy=True)
        except SchemaErrors as error:
            cases = error.failure_cases
            self._broken.update(zip(cases["column"], cases["check"], strict=True))

    def take(self, other: Self) -> None:
        """Take what was found in later rows, of the same gate."""
        self._rows += other._rows
        self._missing |= other._missing
        self._empty.update(other._empty)
        self._broken.update(other._broken)
        for name, hashes in self._hashes.items():
            hashes.extend(other._hashes[name])

    def content(self) -> dict[str, Any]:
        """Return what was found as plain JSON values; not of a rule ``unique``, which takes all values."""
        broken = [[name, check, count] for (name, check), count in self._broken.items()]
        return {
            "rows": self._rows,
            "empty": dict(self._empty),
            "broken": broken,
            "missing": sorted(self._missing),
        }

    @classmethod
    def read(cls, gate: SchemaGate, content: Mapping[str, Any]) -> Self:
        """Return the findings that were kept."""
        found = cls(gate)
        found._rows, found._missing = int(content["rows"]), set(content["missing"])
        found._empty.update({name: int(count) for name, count in content["empty"].items()})
        found._broken.update({(name, check): int(count) for name, check, count in content["broken"]})
        return found

    def problems(self) -> list[str]:
        """Say what is wrong, a sentence per column and rule; empty if nothing is."""
        said = [f"there is no column {name}" for name in sorted(self._missing)]
        if not self._rows:
            said.append("there are no rows")
        for name, rule in self._rules.items():
            empty = self._empty[name]
            if empty > rule.max_null_share * self._rows:
                said.append(f"{name} is empty in {empty:,} of {self._rows:,} rows")
        for (name, check), count in self._broken.items():
            # A type is of the whole column.
            where = "" if check.startswith(_OF_TYPE) else f" in {count:,} of {self._rows:,} rows"
            said.append(f"{name} is not {check}{where}")
        for name, hashes in self._hashes.items():
            values = np.concatenate(hashes) if hashes else np.empty(0)
            if doubles := len(values) - len(np.unique(values)):
                said.append(f"{name} repeats a value in {doubles:,} rows")
        return said


def _column(rule: ColumnRule) -> pa.Column:
    checks = []
    if rule.type is not None:
        checks.append(pa.Check(_has_type(_IS_TYPE[rule.type]), error=f"{_OF_TYPE}{rule.type}"))
    if rule.min is not None:
        checks.append(pa.Check(_each_number(partial(operator.le, rule.min)), error=f"at least {rule.min:g}"))
    if rule.max is not None:
        checks.append(pa.Check(_each_number(partial(operator.ge, rule.max)), error=f"at most {rule.max:g}"))
    if rule.allowed is not None:
        checks.append(pa.Check.isin(rule.allowed, error=f"one of {', '.join(map(str, rule.allowed))}"))
    if rule.pattern is not None:
        checks.append(pa.Check(_each_text(re.compile(rule.pattern)), error=f"like {rule.pattern}"))
    return pa.Column(checks=checks, nullable=True)


def _has_type(is_type: Callable[[pd.Series], bool]) -> Callable[[pd.Series], bool]:
    return lambda column: column.empty or is_type(column)


def _each_number(holds: Callable[[pd.Series], pd.Series]) -> Callable[[pd.Series], pd.Series]:
    """Of a column that holds no numbers, no row is within a bound."""
    return lambda column: holds(column) if _is_number(column) else pd.Series(False, index=column.index)


def _each_text(pattern: re.Pattern[str]) -> Callable[[pd.Series], pd.Series]:
    def fits(value: object) -> bool:
        return isinstance(value, str) and pattern.fullmatch(value) is not None

    return lambda column: column.map(fits).astype(bool)
