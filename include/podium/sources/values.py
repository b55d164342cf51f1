"""The one rule of what a value of each kind is, for columns of a table and texts of a csv.

``json_values`` is the same rule for JSON. Batch scoring, ``/predict`` and MLflow's protocol judge by it. What
does not fit is named, never changed:

- A number is exact: a whole number beyond what a float holds exactly is refused, as is a number too large.
- A whole number may be written ``3.0``, up to 2**53.
- 0 and 1 are flags. Nothing else is converted to one.
- A moment is a date, or a text in ISO 8601; with a zone it is brought to UTC. No number is one.
- What is no text is none. In a csv everything is text, and is read as the kind; so is text in a table.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from podium.sources.columns import WHOLE, InputColumn, Kind
from podium.sources.csv_file import MISSING

Mask = npt.NDArray[np.bool_]

# pandas' word for no moment, which is missing too where a table has texts.
NO_MOMENT = "NaT"
_MISSING_IN_TEXT = (*MISSING, NO_MOMENT)

MOMENT = pa.timestamp("ns")
_MOMENT_IN_UTC = pa.timestamp("ns", "UTC")
# The largest whole number up to which a float tells each from the next.
EXACT = {Kind.DOUBLE: 2**53, Kind.FLOAT: 2**24, Kind.LONG: 2**53, Kind.INTEGER: 2**53}
_DIGITS = r"\s*[+-]?[0-9]+\s*"
_INFINITY = r"(?i)\s*[+-]?inf(inity)?\s*"
_FLAGS = ("true", "false")

NO_TEXT_TOLD = (
    "is NA or another word for missing values, and a csv does not tell if it is meant as one: leave it empty"
)
NOTHING_NESTED = "is text, and a csv holds no list or object"
NO_MOMENT_BUT_A_NUMBER = "is a number, and no number is a moment"


@dataclass(frozen=True)
class Fault:
    """Values of a column that do not fit.

    Attributes:
        rows: Which they are.
        why: What is wrong with them, after the column's name; "" where there is no more to say than the kind.
    """

    rows: Mask
    why: str = ""


@dataclass
class Fitted:
    """A column in the type of its kind, null where there is no value or it does not fit."""

    array: pa.ChunkedArray
    faults: list[Fault] = field(default_factory=list)


def arrow_type(kind: Kind) -> pa.DataType:
    """Return Arrow's type of a column of a plain kind."""
    return pa.string() if kind is Kind.STRING else pa.from_numpy_dtype(kind.dtype)


def what_it_is_not(kind: Kind) -> str:
    """Say of a value that it does not fit."""
    return "is neither true nor false" if kind is Kind.BOOLEAN else f"is not a {kind.words}"


def fit(array: pa.ChunkedArray, column: InputColumn) -> Fitted:
    """Bring a column of a plain kind to its type.

    Args:
        array: As a source has it; what a csv has is bytes.
        column: What the model takes.
    """
    kind = column.kind
    if pa.types.is_dictionary(array.type):
        array = array.cast(array.type.value_type)
    if pa.types.is_float16(array.type):
        array = array.cast(pa.float32())
    if pa.types.is_null(array.type):
        return Fitted(array.cast(arrow_type(kind)))
    if is_bytes(array.type):
        return fit_csv(array, column)
    if pa.types.is_decimal(array.type) and _may_become(array.type, kind):
        # Arrow's own way to a float is off in the last bit.
        return fit_text(array.cast(pa.string()), kind)
    if not _is_text(array.type):
        return _fit_typed(array, kind)
    return Fitted(array.cast(pa.string())) if kind is Kind.STRING else fit_text(array, kind)


def fit_csv(array: pa.ChunkedArray, column: InputColumn) -> Fitted:
    """Read a column of a csv, in which an empty field is a missing value.

    What else means missing is that in a column of numbers, flags or moments. In one of texts it may be a
    text: it is one where the model's column has no gaps (required); elsewhere nobody can tell.
    """
    array, broken = _utf8(array)
    if column.kind is not Kind.STRING:
        fitted = fit_text(array, column.kind)
    else:
        fitted = Fitted(pc.if_else(pc.equal(array, ""), pa.scalar(None, pa.string()), array))
        words = pc.is_in(fitted.array, value_set=pa.array(MISSING[1:]))
        if not column.required and (unclear := mask(words)).any():
            fitted.faults.append(Fault(unclear, NO_TEXT_TOLD))
    if broken is not None:
        fitted.faults.insert(0, Fault(broken, what_it_is_not(Kind.STRING)))
    return fitted


def fit_text(array: pa.ChunkedArray, kind: Kind) -> Fitted:
    """Read texts as numbers, flags or moments; blanks around them do not count."""
    array = array.cast(pa.string())
    target = arrow_type(kind)
    try:
        values, bad = _read(array, kind), None
    except pa.ArrowInvalid:
        values, bad = _parsed(array, kind)
    faults = [] if bad is None else [Fault(bad)]
    if kind in EXACT and (lossy := _changed_by_reading(array, values, kind)) is not None:
        faults.append(lossy)
    return Fitted(values.cast(target), faults)


def readable(array: pa.ChunkedArray) -> tuple[pa.ChunkedArray, Mask | None]:
    """Return a csv's bytes as text, missing where pandas takes it so, and which rows are none in UTF-8."""
    array, broken = _utf8(array)
    missing = pc.is_in(array, value_set=pa.array(MISSING))
    return pc.if_else(missing, pa.scalar(None, pa.string()), array), broken


def count_padded(array: pa.ChunkedArray) -> int:
    """Return how many texts of a column have blanks around them."""
    if pa.types.is_dictionary(array.type):
        array = array.cast(array.type.value_type)
    if not _is_text(array.type) and not is_bytes(array.type):
        return 0
    padded = pc.or_(pc.starts_with(array, " "), pc.ends_with(array, " "))
    return int(pc.sum(padded).as_py() or 0)


def other_zone(array: pa.ChunkedArray) -> str:
    """Return the zone of a column of moments; "" where it has none, or UTC."""
    zone = str(array.type.tz or "") if pa.types.is_timestamp(array.type) else ""
    return "" if zone in ("UTC", "Etc/UTC", "Z", "+00:00") else zone


def mask(array: pa.Array | pa.ChunkedArray) -> Mask:
    """Return a column of true and false as numpy has it."""
    whole = array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
    found: Mask = np.asarray(whole.fill_null(False), dtype=bool)
    return found


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def is_bytes(kind: pa.DataType) -> bool:
    """True for what is read from a csv, where nothing tells an empty text from a missing one."""
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _utf8(array: pa.ChunkedArray) -> tuple[pa.ChunkedArray, Mask | None]:
    """Return bytes as text, and which are none."""
    if _is_text(array.type):
        return array, None
    try:
        return array.cast(pa.string()), None
    except pa.ArrowInvalid:
        return _each(array, pa.string(), lambda values: values.cast(pa.string()), lambda _: None)


def _read(texts: Any, kind: Kind) -> Any:
    """Read texts all at once; raises ArrowInvalid if one is none of the kind."""
    if kind is Kind.DATETIME:
        try:
            return texts.cast(MOMENT)
        except pa.ArrowInvalid:
            return texts.cast(_MOMENT_IN_UTC).cast(MOMENT)
    if kind in WHOLE and any(pc.any(pc.match_substring(texts, x)).as_py() for x in "xX"):
        raise pa.ArrowInvalid("0x10 is not a number elsewhere either")
    # As pandas and MLflow read it, rounded to a double first.
    return texts.cast(pa.float64() if kind is Kind.FLOAT else arrow_type(kind))


def _parsed(array: pa.ChunkedArray, kind: Kind) -> tuple[pa.ChunkedArray, Mask | None]:
    """The same of texts of which some are missing, padded or wrong."""
    target = pa.float64() if kind is Kind.FLOAT else arrow_type(kind)
    missing = pc.is_in(array, value_set=pa.array(_MISSING_IN_TEXT))
    array = pc.if_else(missing, pa.scalar(None, pa.string()), array)
    try:
        return _read(array, kind), None
    except pa.ArrowInvalid:
        return _each(array, target, lambda texts: _read(texts, kind), lambda text: _read_one(text, kind))


def _read_one(text: pa.Array, kind: Kind) -> pa.Array | None:
    """Read one padded text, a whole number that is written as 3.0, a flag that is written as 1.0."""
    text = pc.utf8_trim_whitespace(text)
    try:
        written = text[0].as_py()
        if (kind in WHOLE and not re.fullmatch(_DIGITS, written)) or (
            kind is Kind.BOOLEAN and written.lower() not in _FLAGS
        ):
            return _read_exactly(text.cast(pa.float64()), kind)
        return _read(pc.utf8_ltrim(text, "+") if kind in WHOLE else text, kind)
    except pa.ArrowInvalid:
        return None


def _read_exactly(number: pa.Array, kind: Kind) -> pa.Array | None:
    fitted = _fit_typed(pa.chunked_array([number]), kind)
    return None if fitted.faults else fitted.array.chunk(0)


def _changed_by_reading(texts: pa.ChunkedArray, values: pa.ChunkedArray, kind: Kind) -> Fault | None:
    """Find numbers that a float does not hold: whole ones that are not exact, and those too large for it."""
    if not pa.types.is_floating(values.type):
        return None
    found = mask(pc.greater_equal(pc.abs(values), EXACT[kind]))
    for place in np.flatnonzero(found).tolist():
        found[place] = _is_changed(texts[place].as_py(), values[place].as_py(), kind)
    return Fault(found, too_large(kind)) if found.any() else None


def _is_changed(text: str, value: float, kind: Kind) -> bool:
    if re.fullmatch(_DIGITS, text):
        return abs(int(text)) > EXACT[kind]
    with np.errstate(over="ignore"):
        return bool(np.isinf(kind.dtype.type(value))) and not re.fullmatch(_INFINITY, text)


def too_large(kind: Kind) -> str:
    """Say of a number that its kind does not hold it."""
    return f"is too large for {kind.with_article} to hold exactly"


def _fit_typed(array: pa.ChunkedArray, kind: Kind) -> Fitted:
    """Bring a column that is no text to a type, where no value changes."""
    target = arrow_type(kind)
    if pa.types.is_floating(array.type) and kind not in EXACT:
        # What pandas writes where a flag, text or moment is missing.
        array = pc.if_else(pc.is_nan(array), pa.scalar(None, array.type), array)
    if array.type == target:
        return Fitted(array)
    if not _may_become(array.type, kind):
        numbers = kind is Kind.DATETIME and _is_number(array.type)
        return _none_fits(array, target, NO_MOMENT_BUT_A_NUMBER if numbers else "")
    cast = _CASTS.get(kind, _cast_exactly)
    try:
        values, bad = cast(array, target), None
    except pa.ArrowInvalid:
        values, bad = _each(array, target, lambda values: cast(values, target), lambda _: None)
    faults = [] if bad is None else [Fault(bad)]
    if kind is Kind.FLOAT and (over := mask(pc.and_(pc.is_inf(values), pc.is_finite(array)))).any():
        faults.append(Fault(over, too_large(kind)))
    return Fitted(values, faults)


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def _may_become(found: pa.DataType, kind: Kind) -> bool:
    if kind is Kind.DATETIME:
        return bool(pa.types.is_timestamp(found) or pa.types.is_date(found))
    return kind is not Kind.STRING and _is_number(found)


def _cast_exactly(values: Any, target: pa.DataType) -> Any:
    """Cast numbers; raises ArrowInvalid where a whole one would not stay what it is."""
    found = values.type
    if pa.types.is_floating(found) and pa.types.is_floating(target):
        return values.cast(target, safe=False)
    if pa.types.is_floating(found):
        values = values.cast(pa.float64())
        _assert_at_most(values, 2**53)
    return values.cast(target)


def _cast_flags(values: Any, target: pa.DataType) -> Any:
    numbers = _cast_exactly(values, pa.int64())
    _assert_at_most(pc.subtract(pc.multiply(numbers, 2), 1), 1)
    return numbers.cast(target)


def _assert_at_most(values: Any, limit: int) -> None:
    if pc.any(pc.greater(pc.abs(values), limit)).as_py():
        raise pa.ArrowInvalid(f"beyond {limit}")


_CASTS: Mapping[Kind, Callable[[Any, pa.DataType], Any]] = {
    Kind.BOOLEAN: _cast_flags,
    Kind.DATETIME: lambda values, target: values.cast(target),
}


def _none_fits(array: pa.ChunkedArray, target: pa.DataType, why: str) -> Fitted:
    return Fitted(pa.chunked_array([pa.nulls(len(array), target)]), [Fault(mask(pc.is_valid(array)), why)])


def _each(
    array: pa.ChunkedArray,
    target: pa.DataType,
    cast: Callable[[Any], Any],
    last_try: Callable[[pa.Array], pa.Array | None],
) -> tuple[pa.ChunkedArray, Mask]:
    """Convert value by value, each different one once."""
    coded = array.combine_chunks().dictionary_encode()
    coded = coded.combine_chunks() if isinstance(coded, pa.ChunkedArray) else coded
    pieces = _halves(coded.dictionary, target, cast, last_try)
    fitted = pa.concat_arrays([values for values, _ in pieces]).take(coded.indices)
    codes = coded.indices.fill_null(0).to_numpy(zero_copy_only=False)
    bad = np.concatenate([wrong for _, wrong in pieces])[codes] & mask(pc.is_valid(coded.indices))
    return pa.chunked_array([fitted]), bad


def _halves(
    values: pa.Array,
    target: pa.DataType,
    cast: Callable[[Any], Any],
    last_try: Callable[[pa.Array], pa.Array | None],
) -> list[tuple[pa.Array, Mask]]:
    """Convert what can be, halving what cannot until single values are left."""
    try:
        return [(cast(values), np.zeros(len(values), dtype=bool))]
    except pa.ArrowInvalid:
        if len(values) == 1:
            one = last_try(values)
            return [(pa.nulls(1, target) if one is None else one, np.array([one is None]))]
    middle = len(values) // 2
    return [
        *_halves(values[:middle], target, cast, last_try),
        *_halves(values[middle:], target, cast, last_try),
    ]
