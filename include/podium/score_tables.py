"""The columns that batch scoring writes: keys, answers, which version; and rejected rows as text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from podium.metrics import Numbers
from podium.score_sources import Chunk
from podium.scoring_spec import PROBABILITY


def repeated(value: pa.Scalar, times: int) -> pa.Array:
    """Return a column of one value."""
    return pa.repeat(value, times)


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
    likeliest = pa.array(labels, pa.string()).take(pa.array(likeliest_label(answers)))
    shares = {f"{prefix}{PROBABILITY}{label}": answers[:, place] for place, label in enumerate(labels)}
    return {f"{prefix}prediction": likeliest, **{name: pa.array(share) for name, share in shares.items()}}


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


def rejects_table(chunk: Chunk, reasons: Any) -> pa.Table:
    """Return the rows that could not be scored: number, reason, and their columns as text."""
    bad = reasons != ""
    table = chunk.rows.filter(pa.array(bad)) if bad.any() else chunk.rows.slice(0, 0)
    numbers = [*chunk.numbers[bad].tolist(), *(number for number, _ in chunk.unreadable)]
    said = [*reasons[bad].tolist(), *(reason for _, reason in chunk.unreadable)]
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
