"""The columns that batch scoring writes: keys, answers, which version; and rejected rows as text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from podium.metrics.answers import Numbers
from podium.model_file.scoring import PROBABILITY
from podium.scoring.inputs import Reasons
from podium.sources.read import Chunk


def repeated(value: pa.Scalar, times: int) -> pa.Array:
    """Return a column of one value."""
    return pa.repeat(value, times)


def repeated_text(text: str, times: int) -> pa.Array:
    """Return a column of one text, which is there once."""
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(times, dtype=np.int8)), [text])


def carried(chunk: Chunk, keys: Sequence[str], good: Any) -> dict[str, Any]:
    """Return the row numbers and keys of the rows that were scored."""
    table = chunk.rows.select(list(keys))
    if not good.all():
        table = table.filter(pa.array(good))
    named = {key: readable(table.column(key)) for key in keys}
    return {**named, "row": pa.array(chunk.numbers[good])}


def answer_columns(answers: Numbers, labels: Sequence[str], prefix: str = "") -> dict[str, Any]:
    """Return a version's answers; of a classification the likeliest label, and each one's probability."""
    if not labels:
        return {f"{prefix}prediction": pa.array(answers)}
    places = pa.array(likeliest_label(answers), pa.int16())
    shares = np.ascontiguousarray(answers.T)
    return {
        f"{prefix}prediction": pa.DictionaryArray.from_arrays(places, pa.array(labels, pa.string())),
        **{f"{prefix}{PROBABILITY}{label}": pa.array(shares[place]) for place, label in enumerate(labels)},
    }


def likeliest_label(answers: Numbers) -> Any:
    """Return the place of the largest probability in each row."""
    return answers.argmax(axis=1) if len(answers) else np.zeros(0, dtype=np.int64)


def readable(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a csv's bytes as text, whatever they are; other columns as they are."""
    if not pa.types.is_binary(column.type):
        return column
    try:
        return column.cast(pa.string())
    except pa.ArrowInvalid:
        values = column.to_pylist()
        return pa.chunked_array(
            [pa.array([None if one is None else one.decode(errors="replace") for one in values], pa.string())]
        )


def rejects_table(chunk: Chunk, reasons: Reasons) -> pa.Table:
    """Return the rows that could not be scored: number, reason, and their columns as text."""
    places = sorted(reasons)
    table = chunk.rows.take(pa.array(places, pa.int64()))
    numbers = [*chunk.numbers[places].tolist(), *(number for number, _ in chunk.unreadable)]
    said = [*(reasons[place] for place in places), *(reason for _, reason in chunk.unreadable)]
    columns = {"row": pa.array(numbers, pa.int64()), "reason": pa.array(said, pa.string())}
    nothing = pa.nulls(len(chunk.unreadable), pa.string())
    for name in table.column_names:
        text = _as_text(table.column(name))
        own = f"{name}_" if name in columns else name
        columns[own] = pa.chunked_array([*text.chunks, nothing], pa.string())
    return pa.table(columns)


def _as_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    column = readable(column)
    try:
        return column.cast(pa.string())
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid):
        shown = [None if one is None else str(one) for one in column.to_pylist()]
        return pa.chunked_array([pa.array(shown, pa.string())])
