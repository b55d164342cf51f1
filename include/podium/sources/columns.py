"""The columns that a model takes, from its signature: of which kind each is, and what its values must be."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from podium.errors import PodiumError

if TYPE_CHECKING:
    from mlflow.types import Schema


class Kind(StrEnum):
    """What a column holds, by MLflow's name of it.

    Attributes:
        dtype: numpy's type of its values as the model gets them; ``object`` for text.
        nullable: A value may be missing. Whole numbers and booleans have no value that means missing.
        words: What a value must be, without its article: ``whole number``.
    """

    dtype: np.dtype[Any]
    nullable: bool
    words: str

    def __new__(cls, name: str, dtype: str, nullable: bool, words: str) -> Self:
        """Make a kind of a line below."""
        kind = str.__new__(cls, name)
        kind._value_ = name
        kind.dtype, kind.nullable, kind.words = np.dtype(dtype), nullable, words
        return kind

    DOUBLE = "double", "float64", True, "number"
    FLOAT = "float", "float32", True, "number"
    LONG = "long", "int64", False, "whole number"
    INTEGER = "integer", "int32", False, "whole number"
    BOOLEAN = "boolean", "bool", False, "true or false"
    STRING = "string", "object", True, "text in UTF-8"
    DATETIME = "datetime", "datetime64[ns]", True, "moment"


_BY_NAME = {kind.value: kind for kind in Kind}


@dataclass(frozen=True)
class InputColumn:
    """An input column of a model.

    Attributes:
        name: Its name.
        kind: What it holds.
        required: Rows may not leave it out.
    """

    name: str
    kind: Kind
    required: bool = True


def columns_of(schema: Schema | None) -> tuple[InputColumn, ...]:
    """Return the input columns that a signature names, in the model's order.

    Raises:
        PodiumError: There is no signature, it names no columns, or one of them is of no kind that there is
            (bytes, arrays, objects): rows cannot be checked.
    """
    if schema is None or schema.is_tensor_spec() or not schema.has_input_names():
        raise PodiumError("the model has no signature that names its input columns; rows cannot be checked")
    # Arrays and objects have a type without a name.
    if other := [spec.name for spec in schema.inputs if getattr(spec.type, "name", "") not in _BY_NAME]:
        raise PodiumError(f"the model takes {', '.join(other)} as what no column of a table holds")
    return tuple(
        InputColumn(spec.name, _BY_NAME[spec.type.name], bool(spec.required)) for spec in schema.inputs
    )
