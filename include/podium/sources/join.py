"""Parts of one source as one table: columns and types must fit together."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import pyarrow as pa

from podium.errors import DataError
from podium.sources.parts import Part

_FIT = (pa.ArrowTypeError, pa.ArrowInvalid)


def joined(parts: Sequence[Part]) -> pa.Table:
    """Return the rows of all parts, in types that hold the values of all of them unchanged.

    Raises:
        DataError: Columns or types do not fit together; names two parts.
    """
    first = parts[0]
    for part in parts[1:]:
        _assert_alike(first, part)
    tables = [part.rows.select(first.rows.column_names) for part in parts]
    alike = _alike_in_type(tables, parts)
    try:
        return pa.concat_tables(alike, promote_options="permissive").unify_dictionaries()
    except _FIT as error:
        # Such as a whole number beyond what a float holds exactly, beside a part of floats.
        raise DataError(
            f"the parts from {first.at} to {parts[-1].at} have no types in common that hold all values: "
            f"{str(error).splitlines()[0]}"
        ) from error


def _assert_alike(first: Part, part: Part) -> None:
    if first.is_csv != part.is_csv:
        raise DataError(f"{first.at} and {part.at} are parts of one source, and must be files of one kind")
    mine, its = set(first.columns), set(part.columns)
    for one, other, more in ((part, first, mine - its), (first, part, its - mine)):
        if more:
            raise DataError(
                f"{one.at} has no column '{sorted(more)[0]}', which {other.at} has; parts of one source have "
                "the same columns"
            )


def _alike_in_type(tables: Sequence[pa.Table], parts: Sequence[Part]) -> list[pa.Table]:
    """Bring each column to a type that holds the values of all parts."""
    alike = list(tables)
    for place, name in enumerate(tables[0].column_names):
        if len({table.schema.field(name).type for table in alike}) == 1:
            continue
        if any(pa.types.is_dictionary(table.schema.field(name).type) for table in alike):
            alike = [_with_plain(table, place, name) for table in alike]
        alike = [_in_utc(table, place, name) for table in alike]
        _assert_one_type([table.schema.field(name) for table in alike], parts)
    return alike


def _assert_one_type(fields: Sequence[pa.Field], parts: Sequence[Part]) -> None:
    common = fields[0]
    for field, part in zip(fields, parts, strict=True):
        try:
            common = _common(common, field)
        except _FIT as error:
            other, at = next(
                (one, earlier.at) for one, earlier in zip(fields, parts, strict=True) if not _fits(one, field)
            )
            raise DataError(
                f"column {field.name} is {other.type} in {at} and {field.type} in {part.at}; parts of one "
                "source have the same types"
            ) from error


def _common(one: pa.Field, other: pa.Field) -> pa.Field:
    both = (pa.schema([field]) for field in (one, other))
    return pa.unify_schemas(list(both), promote_options="permissive").field(0)


def _fits(one: pa.Field, other: pa.Field) -> bool:
    try:
        _common(one, other)
    except _FIT:
        return False
    return True


def _with_plain(table: pa.Table, place: int, name: str) -> pa.Table:
    column = table.column(name)
    if not pa.types.is_dictionary(column.type):
        return table
    return table.set_column(place, name, column.cast(column.type.value_type))


def _in_utc(table: pa.Table, place: int, name: str) -> pa.Table:
    column = table.column(name)
    if not pa.types.is_timestamp(column.type) or column.type.tz is None:
        return table
    return table.set_column(place, name, column.cast(pa.timestamp(column.type.unit, "UTC")))


def as_frame(tables: list[pa.Table]) -> pd.DataFrame:
    """Turn the one table of a list into a frame, column by column; the list is empty then.

    Each column leaves Arrow's memory when pandas has it, so that no second table is in memory.
    """
    table, columns = tables.pop(), {}
    for name in table.column_names:
        columns[name] = table.column(name).to_pandas()
        table = table.drop_columns([name])
        pa.default_memory_pool().release_unused()
    return pd.DataFrame(columns, index=pd.RangeIndex(len(table)) if not columns else None, copy=False)
