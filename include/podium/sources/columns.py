"""The columns that a model takes, from its signature: of which kind each is, and what its values must be.

``podium.sources.values`` judges values by kind, for batches and for requests alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
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
        nullable: A value may be missing, whatever the signature says of the column.
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

    @property
    def with_article(self) -> str:
        """Its name in a sentence."""
        return f"{'an' if self[0] in 'aio' else 'a'} {self}"

    DOUBLE = "double", "float64", True, "number"
    FLOAT = "float", "float32", True, "number"
    LONG = "long", "int64", False, "whole number"
    INTEGER = "integer", "int32", False, "whole number"
    BOOLEAN = "boolean", "bool", False, "true or false"
    STRING = "string", "object", True, "text in UTF-8"
    DATETIME = "datetime", "datetime64[ns]", True, "moment in ISO 8601"
    BINARY = "binary", "object", False, "text in base64"
    ARRAY = "array", "object", False, "list"
    OBJECT = "object", "object", False, "object"
    MAP = "map", "object", False, "object"
    ANY = "any", "object", True, "JSON"


WHOLE = frozenset((Kind.LONG, Kind.INTEGER))
NESTED = frozenset((Kind.ARRAY, Kind.OBJECT, Kind.MAP, Kind.ANY))
_BY_NAME = {kind.value: kind for kind in Kind}
_SPARK_VECTOR = "sparkml_vector"


@dataclass(frozen=True)
class InputColumn:
    """An input column of a model.

    Attributes:
        name: Its name.
        kind: What it holds.
        required: Rows may not leave it out.
        inside: Of arrays, objects and maps: what they hold, as the signature's JSON says it.
    """

    name: str
    kind: Kind
    required: bool = True
    inside: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def nullable(self) -> bool:
        """A value may be missing. Whole numbers have none that means missing, not even optional ones."""
        return self.kind.nullable or (not self.required and self.kind not in WHOLE)


def columns_of(schema: Schema | None) -> tuple[InputColumn, ...]:
    """Return the input columns that a signature names, in the model's order.

    Raises:
        PodiumError: There is no signature, or it names no columns: rows cannot be checked.
    """
    if schema is None or schema.is_tensor_spec() or not schema.has_input_names():
        raise PodiumError("the model has no signature that names its input columns; rows cannot be checked")
    return tuple(_column(spec.to_dict()) for spec in schema.inputs)


def columns_by_place(schema: Schema) -> tuple[InputColumn, ...]:
    """Return the input columns of a signature without names, named by their places from 0."""
    return tuple(_column({**spec.to_dict(), "name": str(place)}) for place, spec in enumerate(schema.inputs))


def _column(described: Mapping[str, Any]) -> InputColumn:
    """Read one column of a signature's JSON."""
    kind = kind_of(described)
    inside = described if kind in NESTED else {}
    return InputColumn(described["name"], kind, bool(described.get("required", True)), inside)


def items_of(array: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what the signature's JSON of an array says of its items; Spark's vectors are of doubles."""
    items: Mapping[str, Any] = array.get("items", {"type": Kind.DOUBLE})
    return items


def kind_of(described: Mapping[str, Any]) -> Kind:
    """Return the kind that a signature's JSON describes, of a column or of what is inside one.

    Raises:
        PodiumError: This MLflow has a kind that is not known here.
    """
    name = str(described["type"])
    if name == _SPARK_VECTOR:
        return Kind.ARRAY
    if name not in _BY_NAME:
        raise PodiumError(f"the model takes {described.get('name', 'a value')} as {name}, which is not known")
    return _BY_NAME[name]
