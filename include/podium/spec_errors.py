"""What is wrong in a model file, in the words of the file: key, value, what is allowed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, get_args

from pydantic import BaseModel

from podium.gate_spec import KINDS, nearest
from podium.spec_types import IMPORT_PATH

_GATES = "gates"


def explain(item: Any, root: type[BaseModel]) -> str:
    """Return one pydantic error (of ``ValidationError.errors()``) as "key: value: what is wrong".

    Args:
        item: The error.
        root: The class of the model file.
    """
    location = tuple(item["loc"])
    kind, value = item["type"], item["input"]
    key = _key(_as_written(location))
    if kind == "extra_forbidden":
        allowed = sorted(_allowed_keys(root, location[:-1]))
        return f"{key}: unknown key; {nearest(str(location[-1]), allowed)}allowed: {', '.join(allowed)}"
    if kind == "missing":
        return f"{key}: missing"
    if kind == "union_tag_not_found":
        return f"{key}: {_no_kind(value)}"
    message = _message(item)
    if not location:
        return message
    shown = "" if isinstance(value, Mapping | BaseModel) else f" {value!r}:"
    return f"{key}:{shown} {message}"


def _message(item: Any) -> str:
    kind = item["type"]
    if kind == "string_pattern_mismatch" and item["ctx"]["pattern"] == IMPORT_PATH:
        return "must be an import path such as trainers.my_model:train"
    if kind == "string_pattern_mismatch":
        return "must be lower-case words and digits joined by '-', such as soccer-match-outcome"
    if kind == "too_short":
        return f"needs at least {item['ctx']['min_length']}"
    return str(item["msg"]).removeprefix("Value error, ")


def _no_kind(value: object) -> str:
    kinds = ", ".join(KINDS)
    if not isinstance(value, Mapping) or not value:
        return f"a gate is a mapping with one of {kinds}"
    hint = next((near for key in value if (near := nearest(str(key), KINDS))), "")
    return f"no such kind of gate: {', '.join(map(str, value))}; {hint}a gate has one of {kinds}"


def _as_written(location: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """Leave out the kind of a gate, which pydantic names in the location and the file does not."""
    in_gate = len(location) > 2 and location[0] == _GATES
    written = location[:2] + location[3:] if in_gate else location
    # Where a value may be of several types pydantic names the type that it tried.
    return tuple(part for part in written if not (isinstance(part, str) and ("[" in part or part in _TYPES)))


_TYPES = {"int", "float", "str", "bool", "constrained-int", "constrained-str"}


def _key(location: Iterable[int | str]) -> str:
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text or "model file"


def _allowed_keys(root: type[BaseModel], location: tuple[int | str, ...]) -> Iterable[str]:
    section: type[BaseModel] | None = root
    for place, part in enumerate(location):
        if place == 2 and location[0] == _GATES:
            section = KINDS[str(part)]
        elif section is not None and isinstance(part, str):
            field = next((f for name, f in section.model_fields.items() if part in (name, f.alias)), None)
            section = section if field is None else _section(field.annotation)
    return [] if section is None else [field.alias or name for name, field in section.model_fields.items()]


def _section(annotation: Any) -> type[BaseModel] | None:
    """Return the class of a key's value that has keys of its own, however it is wrapped."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := _section(part))), None)
