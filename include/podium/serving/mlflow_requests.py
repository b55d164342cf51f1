"""Requests to a version whose signature is none of named, plain columns: MLflow reads them, within limits."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import pandas as pd
from mlflow.models import Model
from mlflow.pyfunc.scoring_server import _parse_json_data
from mlflow.types import Schema

from podium.errors import RequestRefused
from podium.serving.columns import check_rows, json_type, short

# `_parse_json_data` is private to MLflow: https://github.com/mlflow/mlflow/blob/v3.17.2/mlflow/pyfunc/scoring_server/__init__.py
# and so is `_is_signature_from_type_hint`: https://github.com/mlflow/mlflow/blob/v3.17.2/mlflow/models/model.py
_MAX_COLUMNS = 10_000
# A numpy array of texts gives each the room of the longest.
_MAX_TEXT_BYTES = 256 * 2**20
_BYTES_A_LETTER = 4


def format_of_records(metadata: Model | None) -> str:
    """Return the one of MLflow's formats that a plain list is, for a version."""
    if metadata is not None and metadata._is_signature_from_type_hint():
        return "inputs"
    schema = None if metadata is None else metadata.get_input_schema()
    return "instances" if schema is None or schema.is_tensor_spec() else "dataframe_records"


def read_by_mlflow(content: Mapping[str, Any], metadata: Model | None, max_rows: int) -> tuple[int, Any]:
    """Return the rows of one of MLflow's JSON formats, and how many they are.

    Raises:
        RequestRefused: They are too many, or do not fit the signature.
    """
    (sent,) = content.values()
    if not isinstance(sent, (list, dict)):
        raise RequestRefused(f"send a list or an object, not {json_type(sent)}")
    count = _count(sent)
    _check_limits(sent, count, max_rows)
    schema = None if metadata is None else metadata.get_input_schema()
    try:
        return count, _parse_json_data(dict(content), metadata, schema).data
    except Exception as error:
        raise _not_read(error) from error


def read_csv_by_mlflow(text: str, metadata: Model | None, max_rows: int) -> tuple[int, Any]:
    """Return the rows of a CSV, and how many they are.

    Raises:
        RequestRefused: They are too many, or do not fit the signature.
    """
    if text.partition("\n")[0].count(",") >= _MAX_COLUMNS:
        raise _too_many_columns()
    schema = None if metadata is None else metadata.get_input_schema()
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


def _check_limits(sent: list[Any] | dict[str, Any], count: int, max_rows: int) -> None:
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
    return RequestRefused(f"more than {_MAX_COLUMNS:,} columns, which is what one request may hold", 413)


def _not_read(error: Exception) -> RequestRefused:
    first_line = (str(getattr(error, "message", error)).strip().splitlines() or [type(error).__name__])[0]
    return RequestRefused(f"the rows do not fit the model's signature: {short(first_line, 300)}")
