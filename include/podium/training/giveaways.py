"""Columns that give a label away, alone or together, and columns that only number the rows.

Nobody is asked: what is found may be right (a lagged price is near the price), so it is said and not removed.
Each rule asks how likely it is that unrelated columns look so, and says nothing where that may be chance.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from podium.metrics.measures import auc
from podium.text import one_line

Numbers = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]

_FEWEST_ROWS = 20
_SAMPLE = 10_000
_SAMPLE_OF_PAIRS = 2_000
_MOST_NUMBERS = 40
_MOST_TOGETHER = 3
# As large as a correlation of ranks, or an area under the curve, hardly is between what is not the same.
_NEAR = 0.999
# This share of all rows may have another label than a column says, and ten times it of the rarer labels.
_MOST_OTHERS = 0.005
# Of the label's variance; what rounding leaves.
_UNEXPLAINED = 1e-6
# Unrelated columns look so once in a thousand million tables.
_CHANCE = math.log(1e-9)
_LIKE_AN_ID = re.compile(r"(?:^|[\W_])(?:id|uuid|guid|key|number|nr|index)$")


@dataclass(frozen=True)
class Giveaway:
    """Something that a model should perhaps not see.

    Attributes:
        columns: Which inputs, one or a few together.
        what: What they do, as the end of a sentence that begins with them.
    """

    columns: tuple[str, ...]
    what: str

    def describe(self) -> str:
        """Say it in one sentence, without the dot."""
        return f"The input{'s' if len(self.columns) > 1 else ''} {named(self.columns)} {self.what}"


def named(columns: tuple[str, ...]) -> str:
    """Return the names of columns for a sentence of one line."""
    return " and ".join(f'"{one_line(name)}"' for name in columns)


def giveaways(inputs: pd.DataFrame, label: pd.Series, time: pd.Series, *, classes: bool) -> list[Giveaway]:
    """Return the columns that equal the label or tell it, those that number rows, and sums that give it.

    Args:
        inputs: The inputs (n rows), in the file's order.
        label: Their labels, n; a row without one says nothing.
        time: When each row became known, n.
        classes: The label is one of few, no number.
    """
    known = np.flatnonzero(label.notna().to_numpy())
    if len(known) < _FEWEST_ROWS:
        return []
    rows = _sampled(known, _SAMPLE)
    some, sampled = inputs.iloc[rows], label.iloc[rows]
    alone = list(_alone(some, sampled, classes=classes))
    numbering = list(_numbering(_without(inputs, alone), time))
    rest = _plain_numbers(_without(some, [*alone, *numbering]))
    return [*alone, *numbering, *_together(rest, sampled, classes=classes)]


def _without(inputs: pd.DataFrame, found: list[Giveaway]) -> pd.DataFrame:
    return inputs.drop(columns=[name for one in found for name in one.columns])


def _sampled(rows: npt.NDArray[np.intp], most: int) -> npt.NDArray[np.intp]:
    if len(rows) <= most:
        return rows
    return np.sort(np.random.default_rng(0).choice(rows, most, replace=False))


def _alone(inputs: pd.DataFrame, label: pd.Series, *, classes: bool) -> Iterator[Giveaway]:
    for name in map(str, inputs):
        column = inputs[name]
        told = _tells_class if classes else _tells_number
        there = column.notna().to_numpy()
        what = told(column[there], label[there]) if there.sum() >= _FEWEST_ROWS else ""
        if not what and not there.all() and _gaps_tell(there, label, classes=classes):
            what = f"tells the label by its gaps: where it is empty, {_shown(label)} is another one"
        if what:
            yield Giveaway((name,), what)


def _shown(label: pd.Series) -> str:
    return named((str(label.name),))


def _tells_class(column: pd.Series, label: pd.Series) -> str:
    values, classes = _codes(column), _codes(label)
    others = _others(values, classes)
    if others is not None:
        rows = f"{len(values) - others:,} of {len(values):,} rows"
        return f"tells the label alone: each of its {values.max() + 1:,} values goes with one label ({rows})"
    if not _is_number(column):
        return ""
    numbers = column.to_numpy(np.float64)
    if classes.max() == 1 and _log_chance(classes) < _CHANCE:
        area = auc(classes == 1, numbers)
        if max(area, 1 - area) >= _NEAR:
            return f"tells the label by a bound alone: area under its ROC curve {max(area, 1 - area):.4f}"
    return "tells the label by its ranges: each goes with one label" if _apart(numbers, classes) else ""


def _tells_number(column: pd.Series, label: pd.Series) -> str:
    numbers = label.to_numpy(np.float64)
    if _is_number(column) and column.nunique() > 2 and label.nunique() > 2:
        straight, ranks = abs(_correlation(column, label)), abs(_correlation(column.rank(), label.rank()))
        if ranks >= _NEAR or (straight >= _NEAR and ranks >= 0.99):
            return (
                f"nearly equals the label {_shown(label)}: correlation {straight:.4f}, of ranks {ranks:.4f}"
            )
    groups = _codes(column)
    if _apart(numbers, groups):
        return f"follows the label: each of its {groups.max() + 1:,} values is one range of {_shown(label)}"
    return ""


def _gaps_tell(there: npt.NDArray[np.bool_], label: pd.Series, *, classes: bool) -> bool:
    if classes:
        return _others(there.astype(np.int64), _codes(label)) is not None
    return _apart(label.to_numpy(np.float64), there.astype(np.int64))


def _is_number(column: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)


def _plain_numbers(inputs: pd.DataFrame) -> pd.DataFrame:
    return inputs[[name for name in inputs if _is_number(inputs[name])]].astype(np.float64)


def _codes(column: pd.Series) -> Codes:
    plain = column.map(repr) if column.dtype == np.object_ else column
    return np.asarray(pd.factorize(plain)[0], dtype=np.int64)


def _correlation(one: pd.Series, other: pd.Series) -> float:
    with np.errstate(all="ignore"):
        found = np.corrcoef(one.to_numpy(np.float64), other.to_numpy(np.float64))[0, 1]
    return float(found) if np.isfinite(found) else 0.0


def _log_chance(codes: Codes) -> float:
    """Return the log of one over the number of orders in which values can come."""
    counts = np.bincount(codes)
    return sum(math.lgamma(count + 1) for count in counts) - math.lgamma(len(codes) + 1)


def _others(values: Codes, classes: Codes) -> int | None:
    """Return how many rows have another class than most of their value; None if values tell no class."""
    kinds, rows = int(classes.max()) + 1, len(values)
    pairs, counts = np.unique(values * kinds + classes, return_counts=True)
    most = np.zeros(int(values.max()) + 1, dtype=np.int64)
    np.maximum.at(most, pairs // kinds, counts)
    others = rows - int(most.sum())
    smaller = rows - int(np.bincount(classes).max())
    if kinds < 2 or others > _MOST_OTHERS * rows or others > 10 * _MOST_OTHERS * smaller:
        return None
    # The ways to give each value a class, and each of the others another one, among all orders of classes.
    ways = len(most) * math.log(kinds) + others * math.log(rows * kinds)
    return others if ways + _log_chance(classes) < _CHANCE else None


def _apart(numbers: Numbers, groups: Codes) -> bool:
    """Tell whether groups do not overlap in a number, and it would be no chance."""
    count = len(np.unique(groups))
    if count < 2 or math.lgamma(count + 1) + _log_chance(groups) >= _CHANCE:
        return False
    order = np.lexsort((groups, numbers))
    changes = np.diff(groups[order]) != 0
    shared = changes & (numbers[order][1:] == numbers[order][:-1])
    return int(changes.sum()) == count - 1 and not shared.any()


def _numbering(inputs: pd.DataFrame, time: pd.Series) -> Iterator[Giveaway]:
    for name in map(str, inputs):
        column = inputs[name]
        if column.isna().any() or int(_codes(column).max(initial=-1)) + 1 < len(column):
            continue
        if isinstance(column.dtype, pd.StringDtype) or pd.api.types.infer_dtype(column) == "string":
            yield Giveaway((name,), f"is another text in each of {len(column):,} rows, as an id is")
        elif _is_number(column) and (what := _counts(name, column.to_numpy(np.float64), time)):
            yield Giveaway((name,), what)


def _counts(name: str, numbers: Numbers, time: pd.Series) -> str:
    if not np.isfinite(numbers).all() or (numbers % 1 != 0).any():
        return ""
    by_time = numbers[np.argsort(time.to_numpy(), kind="stable")]
    for order, values in (("file", numbers), ("time", by_time)):
        steps = np.diff(values)
        if (steps == steps[0]).all() or (order == "time" and ((steps > 0).all() or (steps < 0).all())):
            return (
                f"is a row number: its whole numbers are all different and count in the order of the {order}"
            )
    if np.ptp(numbers) < 2 * len(numbers):
        return (
            f"is a row number: its {len(numbers):,} whole numbers are all different and nearly without a gap"
        )
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).casefold()
    said = f"is another whole number in each of {len(numbers):,} rows, as an id is"
    return said if _LIKE_AN_ID.search(words) else ""


def _together(numbers: pd.DataFrame, label: pd.Series, *, classes: bool) -> list[Giveaway]:
    """Return what few columns give together: the smallest combinations only."""
    there = numbers.notna().mean() >= 0.8
    numbers = numbers.loc[:, there & np.isfinite(numbers.to_numpy(np.float64, na_value=0.0)).all(axis=0)]
    complete = numbers.notna().all(axis=1).to_numpy()
    numbers, label = numbers[complete], label[complete]
    numbers = numbers.loc[:, numbers.nunique() > 1]
    if len(numbers) < _FEWEST_ROWS or numbers.shape[1] < 2:
        return []
    found: list[Giveaway] = []
    if pd.api.types.is_numeric_dtype(label):
        numbers = _likeliest(numbers, label)
        found = [*_sums(numbers, label), *_products(numbers, label)]
    return found or (_bounds(numbers, label) if classes else [])


def _likeliest(numbers: pd.DataFrame, label: pd.Series) -> pd.DataFrame:
    if numbers.shape[1] <= _MOST_NUMBERS:
        return numbers
    near = pd.Series({name: abs(_correlation(numbers[name], label)) for name in numbers})
    likeliest = set(near.nlargest(_MOST_NUMBERS).index)
    return numbers[[name for name in numbers if name in likeliest]]


def _sums(numbers: pd.DataFrame, label: pd.Series) -> list[Giveaway]:
    target = label.to_numpy(np.float64)
    found = []
    for columns, weights in _exact(numbers, target):
        terms = [f"{weight:.4g} * {named((name,))}" for name, weight in zip(columns, weights, strict=True)]
        given = " + ".join(terms).replace("+ -", "- ")
        found.append(Giveaway(columns, f"give the label together: {given}"))
    return found


def _products(numbers: pd.DataFrame, label: pd.Series) -> list[Giveaway]:
    """The same of products, quotients and powers: sums of logarithms."""
    target = np.abs(label.to_numpy(np.float64))
    there = target > 0
    sizes = numbers[there].abs()
    sizes = sizes.loc[:, (sizes > 0).all() & (sizes.nunique() > 1)]
    if there.sum() < _FEWEST_ROWS or sizes.shape[1] < 2:
        return []
    found = []
    for columns, powers in _exact(np.log(sizes), np.log(target[there])):
        factors = [
            named((name,)) + ("" if abs(power - 1) < 0.01 else f"^{power:.3g}")
            for name, power in zip(columns, powers, strict=True)
        ]
        found.append(Giveaway(columns, f"give the label together: {' * '.join(factors)}, times a number"))
    return found


def _exact(numbers: pd.DataFrame, target: Numbers) -> list[tuple[tuple[str, ...], Numbers]]:
    """Return the smallest sets of columns of which a weighted sum is the target, with the weights."""
    values = numbers.to_numpy(np.float64)
    spread, own = values.std(axis=0), float(target.std())
    if not own > 0 or not (np.isfinite(spread) & (spread > 0)).all():
        return []
    scaled, aim = (values - values.mean(axis=0)) / spread, (target - target.mean()) / own
    products, shared = scaled.T @ scaled / len(aim), scaled.T @ aim / len(aim)
    found: list[tuple[tuple[int, ...], Numbers]] = []
    for size in range(2, _MOST_TOGETHER + 1):
        sets = np.array(list(combinations(range(values.shape[1]), size)), dtype=np.intp).reshape(-1, size)
        inverse = np.linalg.pinv(products[sets[:, :, None], sets[:, None, :]], rcond=1e-9, hermitian=True)
        weights = np.einsum("nij,nj->ni", inverse, shared[sets])
        explained = (weights * shared[sets]).sum(axis=1)
        for place in np.flatnonzero(1 - explained <= _UNEXPLAINED):
            chosen = tuple(map(int, sets[place]))
            if not any(set(fewer) <= set(chosen) for fewer, _ in found):
                found.append((chosen, weights[place] * own / spread[list(chosen)]))
    return [(tuple(str(numbers.columns[one]) for one in chosen), weights) for chosen, weights in found]


def _bounds(numbers: pd.DataFrame, label: pd.Series) -> list[Giveaway]:
    """Return the pairs of columns whose difference or sum tells a class, as goals of two teams do."""
    rows = _sampled(np.arange(len(numbers)), _SAMPLE_OF_PAIRS)
    classes = _codes(label.iloc[rows])
    values: dict[str, Any] = {
        str(name): numbers[name].to_numpy()[rows] for name in numbers.columns[:_MOST_NUMBERS]
    }
    found = []
    for one, other in combinations(values, 2):
        for sign, combined in (("-", values[one] - values[other]), ("+", values[one] + values[other])):
            if _apart(combined, classes):
                told = f"tell the label together: by bounds of {named((one,))} {sign} {named((other,))} alone"
                found.append(Giveaway((one, other), told))
    return found
