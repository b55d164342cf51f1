"""The values that clients send, in the types of the columns; and what is said where they do not fit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa

from podium.errors import RequestRefused
from podium.sources.columns import NESTED, InputColumn, Kind
from podium.sources.json_values import Unfit, short, values_of
from podium.sources.values import NOTHING_NESTED, fit_csv, mask

_NAMES_SHOWN = 5
_COLUMNS_SHOWN = 50


Judge = Callable[[InputColumn, Sequence[Any]], Any]
"""Brings values to the kind of a column or raises ``Unfit``: ``values_of`` of JSON, ``texts_of`` of csv."""


def typed_values(column: InputColumn, values: Sequence[Any], judge: Judge) -> Any:
    """Return the values of a column in its type.

    Raises:
        RequestRefused: One is of another type, or null where the column has none; names the row.
    """
    try:
        return judge(column, values)
    except Unfit as error:
        raise RequestRefused(f"{_at(column, error.place)}: {short(error.why, 300)}") from error


def texts_of(column: InputColumn, texts: Sequence[str]) -> Any:
    """Return the values of a column of a CSV in its type; an empty field is a missing value.

    Raises:
        Unfit: One cannot be read as the column's type; names its place.
    """
    if column.kind in NESTED or column.kind is Kind.BINARY:
        return _json_of_texts(column, texts)
    fitted = fit_csv(pa.chunked_array([pa.array(texts, pa.string())]), column)
    wrong = [(int(fault.rows.argmax()), fault.why) for fault in fitted.faults if fault.rows.any()]
    if not column.nullable and fitted.array.null_count:
        wrong.append((int(mask(fitted.array.is_null()).argmax()), ""))
    if wrong:
        place, why = min(wrong)
        said = f" {why}" if why else f", not {column.kind.with_article}"
        raise Unfit(place, f"'{short(texts[place])}'{said}")
    return fitted.array.to_pandas()


def _json_of_texts(column: InputColumn, texts: Sequence[str]) -> Any:
    place = next((at for at, text in enumerate(texts) if text), None)
    if column.kind in NESTED and place is not None:
        raise Unfit(place, f"'{short(texts[place])}' {NOTHING_NESTED}")
    return values_of(column, [text or None for text in texts])


def _at(column: InputColumn, place: int) -> str:
    return f"column {short(column.name)}, row {place}"


def takes(columns: Sequence[InputColumn]) -> str:
    """Say what the model takes."""
    shown = ", ".join(f"{short(column.name)} ({column.kind})" for column in columns[:_COLUMNS_SHOWN])
    more = len(columns) - _COLUMNS_SHOWN
    return f"the model takes {shown} and {more} more" if more > 0 else f"the model takes {shown}"


def named(what: str, names: Sequence[Any]) -> str:
    """Name a few things; however many and long they are, the message stays short."""
    shown = ", ".join(short(name) for name in names[:_NAMES_SHOWN])
    more = f" and {len(names) - _NAMES_SHOWN:,} more" if len(names) > _NAMES_SHOWN else ""
    return f"{what}{'s' if len(names) > 1 else ''} {shown}{more}"


def check_rows(count: int, max_rows: int) -> None:
    """Make sure that a request has rows, and not too many.

    Raises:
        RequestRefused: It is not so; states the limit.
    """
    if count == 0:
        raise RequestRefused("no rows: send at least one")
    if count > max_rows:
        raise RequestRefused(
            f"more than {max_rows:,} rows, the limit of one request: send several requests", 413
        )
