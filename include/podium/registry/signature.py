"""Can clients of one version use another one? Model signatures compared column by column."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

Signature = Mapping[str, Any]

# One value a row is a tensor or a column without a name, by how MLflow was told; clients get equal JSON.
_AS_COLUMN = {
    "float64": "double",
    "float32": "float",
    "int64": "long",
    "int32": "integer",
    "bool": "boolean",
    "str": "string",
}


def incompatibilities(served: Signature, offered: Signature) -> list[str]:
    """Say why clients that send what one version takes could not use another one; empty if they can.

    Args:
        served: The signature that clients know, as MLflow's ``ModelSignature.to_dict`` gives it.
        offered: The signature of the version that shall serve instead.

    A column that only the served version takes does no harm: MLflow drops what a signature does not name.
    """
    sent, wanted = columns_taken(served), columns_taken(offered)
    said = []
    for name, column in wanted.items():
        if name not in sent:
            if column.get("required", True):
                said.append(f"it needs {name}, which clients do not send")
        elif column.get("required", True) and not sent[name].get("required", True):
            said.append(f"it needs {name}, which clients may leave out")
        elif _type(sent[name]) != _type(column):
            said.append(f"it takes {name} as {_type(column)}, clients send {_type(sent[name])}")
    if _outputs(served) != _outputs(offered):
        said.append(f"it answers with {_outputs(offered)}, clients expect {_outputs(served)}")
    return said


def columns_taken(signature: Signature) -> dict[str, dict[str, Any]]:
    """Return the input columns of a signature by name, or by place where they have none."""
    listed = json.loads(signature.get("inputs") or "[]")
    return {str(column.get("name", place)): column for place, column in enumerate(listed)}


def _outputs(signature: Signature) -> list[str]:
    """Name the answer's parts in their order: clients find them by name, or by place where there is none."""
    listed = json.loads(signature.get("outputs") or "[]")
    if len(listed) == 1 and (kind := _of_one_column(listed[0])):
        return [kind]
    return [f"{column['name']}: {_type(column)}" if "name" in column else _type(column) for column in listed]


def _of_one_column(answer: Mapping[str, Any]) -> str | None:
    """Return the type of a column that is the same to clients as this tensor; None if there is none."""
    tensor = answer.get("tensor-spec", {})
    plain = "name" not in answer and tensor.get("shape") == [-1]
    return _AS_COLUMN.get(tensor["dtype"]) if plain else None


def _type(column: Mapping[str, Any]) -> str:
    """Name a column's type; of a tensor its dtype and shape, of arrays and objects all that is inside."""
    if tensor := column.get("tensor-spec"):
        return f"{tensor['dtype']}{tensor['shape']}"
    inside = {name: value for name, value in column.items() if name not in ("name", "required", "type")}
    return f"{column.get('type')}{json.dumps(inside, sort_keys=True) if inside else ''}"
