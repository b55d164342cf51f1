"""Requests to a version that has no signature, or one of type hints: MLflow reads them, within limits."""

from __future__ import annotations

import io
from typing import Any

import pandas as pd
from mlflow.models import Model
from mlflow.pyfunc.scoring_server import _parse_json_data
from mlflow.types import Schema

from podium.errors import RequestRefused
from podium.serving.columns import check_rows
from podium.sources.json_values import json_type, short

# `_parse_json_data` is private to MLflow: https://github.com/mlflow/mlflow/blob/v3.17.2/mlflow/pyfunc/scoring_server/__init__.py
# and so is `_is_signature_from_type_hint`: https://github.com/mlflow/mlflow/blob/v3.17.2/mlflow/models/model.py
# What clients send besides MLflow's JSON formats: a CSV, and the plain list of records of /predict.
CSV_TEXT, RECORDS = "csv", "records"
_MAX_COLUMNS = 10_000
# A numpy array of texts gives each the room of the longest.
_MAX_TEXT_BYTES = 256 * 2**20
_BYTES_A_LETTER = 4


def read_by_mlflow(form: str, content: Any, metadata: Model | None, max_rows: int) -> tuple[int, Any]:
    """Return the rows of a request, and how many they are.

    Args:
        form: ``CSV_TEXT``, ``RECORDS``, or one of MLflow's JSON formats.
        content: The text of a CSV; else the JSON.
        metadata: MLflow's description of the version.
        max_rows: Rows that one request may hold.

    Raises:
        RequestRefused: They are too many, or do not fit the signature.
    """
    schema = None if metadata is None else metadata.get_input_schema()
    if form == CSV_TEXT:
        return _read_csv(content, schema, max_rows)
    if not isinstance(content, (list, dict)):
        raise RequestRefused(f"send a list or an object, not {json_type(content)}")
    count = _count(content)
    check_limits(content, count, max_rows)
    of_hints = metadata is not None and from_type_hints(metadata)
    name = form if form != RECORDS else "inputs" if of_hints else "instances"
    try:
        return count, _parse_json_data({name: content}, metadata, schema).data
    except Exception as error:
        raise _not_read(error) from error


def from_type_hints(metadata: Model) -> bool:
    """Whether a signature was made of type hints, by which the model itself checks what it gets."""
    return bool(metadata._is_signature_from_type_hint())


def _read_csv(text: str, schema: Schema | None, max_rows: int) -> tuple[int, Any]:
    if text.partition("\n")[0].count(",") >= _MAX_COLUMNS:
        raise _too_many_columns()
    try:
        table = pd.read_csv(io.StringIO(text), dtype=_dtypes(schema), nrows=max_rows + 1)
    except Exception as error:
        raise _not_read(error) from error
    check_rows(len(table), max_rows)
    return len(table), table


def _dtypes(schema: Schema | None) -> Any:
    if schema is None:
        return None
    if schema.is_tensor_spec():
        return schema.numpy_types()[0]
    return dict(zip(schema.input_names(), schema.pandas_types(), strict=False))


def _count(sent: list[Any] | dict[str, Any]) -> int:
    if isinstance(sent, list):
        return len(sent)
    lists = [values for values in (sent.get("data"), *sent.values()) if isinstance(values, list)]
    return len(lists[0]) if lists else min(len(sent), 1)


def check_limits(sent: list[Any] | dict[str, Any], count: int, max_rows: int) -> None:
    """Make sure that rows without named columns are not too many, too wide or too long.

    Raises:
        RequestRefused: They are; states the limit.
    """
    check_rows(count, max_rows)
    rows = sent if isinstance(sent, list) else sent.get("data")
    widths = [len(row) for row in rows if isinstance(row, (list, dict))] if isinstance(rows, list) else []
    if isinstance(sent, dict):
        widths.append(len(sent))
    if max(widths, default=0) > _MAX_COLUMNS:
        raise _too_many_columns()
    if isinstance(sent, list) and isinstance(sent[0], dict):
        for place, record in enumerate(sent):
            if not isinstance(record, dict) or record.keys() != sent[0].keys():
                raise RequestRefused(f"row {place}: its columns differ from those of row 0")
    values, longest = _values_and_longest_text(sent)
    if values * longest * _BYTES_A_LETTER > _MAX_TEXT_BYTES:
        raise RequestRefused(
            f"{values:,} values beside a text of {longest:,} letters: send long texts one by one", 413
        )


def _values_and_longest_text(content: Any) -> tuple[int, int]:
    values, longest, left = 0, 0, [content]
    while left:
        value = left.pop()
        if isinstance(value, dict):
            left.extend(value.values())
        elif isinstance(value, list):
            left.extend(value)
        else:
            values += 1
            longest = max(longest, len(value)) if isinstance(value, str) else longest
    return values, longest


def _too_many_columns() -> RequestRefused:
    return RequestRefused(f"more than {_MAX_COLUMNS:,} columns, the limit of one request", 413)


def _not_read(error: Exception) -> RequestRefused:
    first_line = (str(getattr(error, "message", error)).strip().splitlines() or [type(error).__name__])[0]
    return RequestRefused(f"the rows do not fit the model's signature: {short(first_line, 300)}")
