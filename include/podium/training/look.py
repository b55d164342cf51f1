"""A look at the columns of a new table: what each holds, and which may be the label and the time.

What is only likely is asked for. Sure is what follows from the values, or from a name that means nothing
else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from podium.errors import DataError
from podium.model_file.metric_names import TaskKind
from podium.text import one_line
from podium.training.data import parse_times
from podium.training.input_types import for_the_trainer

NONE = "-"
# Tried in this order; of a text that two of day and month first fit, nobody knows which is meant.
_ISO = "ISO8601"
_FORMATS = (_ISO, "%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%Y%m%d", "%d/%m/%Y %H:%M", "%m/%d/%Y %H:%M")
_SURE_LABELS = ("label", "target", "y")
_SAMPLE = 10_000
_FEW_LABELS = 20
_MANY_TEXTS = 50
_LONGEST_EXAMPLE = 24
_NESTED = (list, dict, np.ndarray)


@dataclass(frozen=True)
class Column:
    """What a column holds.

    Attributes:
        name: Its name.
        kind: ``whole numbers``, ``numbers``, ``flags``, ``moments``, ``texts``, ``lists`` or ``nothing``.
        missing: Rows without a value.
        values: How many different ones there are; 0 of lists.
        example: A value, as text.
        formats: How its moments may be written; none if it holds none.
    """

    name: str
    kind: str
    missing: int
    values: int
    example: str
    formats: tuple[str, ...] = ()


@dataclass(frozen=True)
class Choice:
    """What is proposed.

    Attributes:
        what: A column or a task; ``-`` for no column.
        sure: Nobody needs to be asked.
        why: Why it is proposed, after its name.
        others: What else it may be.
    """

    what: str
    sure: bool
    why: str
    others: tuple[str, ...] = ()


def look(rows: pd.DataFrame) -> list[Column]:
    """Say what each column holds, from all rows; whether texts are moments from 10,000 of them."""
    return [_column(str(name), rows[name]) for name in rows]


def likely_label(columns: Sequence[Column], time: str) -> Choice:
    """Propose what to predict; only a column that is called label, target or y is sure."""
    possible = [one for one in columns if one.name != time and one.values > 1 and one.kind != "moments"]
    if not possible:
        raise DataError("no column has two different values: there is nothing to predict")
    sure = [one.name for one in possible if one.name.casefold() in _SURE_LABELS]
    names = tuple(one.name for one in possible)
    if len(sure) == 1:
        return Choice(sure[0], True, "its name says so", names)
    return Choice(names[-1], False, "the last column; only you know what is to be predicted", names)


def likely_time(columns: Sequence[Column]) -> Choice:
    """Propose the column that says when a row became known; sure is the only one with moments, or none."""
    moments = [one for one in columns if one.formats]
    names = (*(one.name for one in moments), NONE)
    if not moments:
        return Choice(NONE, True, "no column holds moments, so a share of the rows is held out", names)
    first = moments[0]
    if len(moments) > 1:
        why = f"the first of {len(moments)} columns with moments; take the one when all of a row was known"
        return Choice(first.name, False, why, names)
    if len(first.formats) > 1:
        why = f"the only column with moments, but day or month may come first: {' or '.join(first.formats)}"
        return Choice(first.name, False, why, names)
    if first.missing or first.kind in ("whole numbers", "numbers"):
        why = f"the only column with moments; {first.missing:,} rows have none" if first.missing else ""
        return Choice(first.name, False, why or "its numbers can be read as days", names)
    return Choice(first.name, True, "the only column with moments", names)


def likely_task(label: Column) -> Choice:
    """Propose the task; not sure of a few numbers, which may be names, and of many texts."""
    few = f"holds {label.values:,} different {label.kind}"
    both = (str(TaskKind.CLASSIFICATION), str(TaskKind.REGRESSION))
    if label.kind not in ("whole numbers", "numbers"):
        if label.values > _MANY_TEXTS:
            return Choice(both[0], False, f"{few}, which are many classes", both[:1])
        return Choice(both[0], True, few, both[:1])
    if label.values > _FEW_LABELS:
        return Choice(both[1], True, few, both)
    return Choice(both[0], label.values == 2, f"{few}; as numbers they would be a regression", both)


def unusable(rows: pd.DataFrame, columns: Sequence[Column]) -> dict[str, str]:
    """Return the columns that cannot be inputs, each with the reason."""
    found = {}
    for column in columns:
        if column.kind == "lists":
            found[column.name] = "holds lists or objects, which the linear model does not take"
        elif column.kind == "nothing":
            found[column.name] = "holds no value"
        elif column.values == 1 and not column.missing:
            found[column.name] = "holds one value only"
        else:
            try:
                for_the_trainer(rows[[column.name]], "")
            except DataError as error:
                found[column.name] = one_line(str(error)).removeprefix(f": input {column.name}: ")
    return found


def _column(name: str, values: pd.Series) -> Column:
    there = values.dropna()
    missing = len(values) - len(there)
    if not len(there):
        return Column(name, "nothing", missing, 0, "")
    example = one_line(str(there.iloc[0]))
    shown = example if len(example) <= _LONGEST_EXAMPLE else f"{example[:_LONGEST_EXAMPLE]}..."
    if any(isinstance(value, _NESTED) for value in there.iloc[:100]):
        return Column(name, "lists", missing, 0, shown)
    kind = _kind(there)
    return Column(name, kind, missing, int(there.nunique()), shown, _formats(there, kind))


def _kind(there: pd.Series) -> str:
    found = pd.api.types.infer_dtype(there, skipna=True)
    if found in ("boolean",):
        return "flags"
    if found in ("datetime64", "datetime", "date"):
        return "moments"
    if found == "integer":
        return "whole numbers"
    if found in ("floating", "decimal", "mixed-integer-float"):
        return "whole numbers" if (there.astype("float64") % 1 == 0).all() else "numbers"
    return "texts"


def _formats(there: pd.Series, kind: str) -> tuple[str, ...]:
    """Return the formats of which each reads all values: ISO 8601 alone where it does."""
    if kind == "moments":
        return (_ISO,)
    some = there.iloc[:: max(1, len(there) // _SAMPLE)].astype(str)
    if kind == "whole numbers":
        some = some.str.removesuffix(".0")
        days = some.str.fullmatch(r"(19|20|21)\d{6}").all() and parse_times(some, ["%Y%m%d"]).notna().all()
        return ("%Y%m%d",) if days else ()
    if kind != "texts":
        return ()
    fitting = [one for one in _FORMATS if parse_times(some, [one]).notna().all()]
    return tuple(fitting[:1] if fitting[:1] == [_ISO] else fitting)
