"""What is wrong in a model file, in the words of the file: key, value, what is allowed."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from datetime import date
from typing import Any, NamedTuple, get_args, get_origin

from pydantic import BaseModel, ValidationError

from podium.model_file.gates import KINDS
from podium.model_file.scoring import VARIABLE
from podium.model_file.source import without_passwords
from podium.model_file.types import IMPORT_PATH, MODEL_NAME, WrongKey, nearest

_GATES = "gates"
_PROFILES = "profiles"
# What pydantic adds to the location of an error in the key of a mapping.
_OF_A_KEY = "[key]"
_LONGEST_VALUE = 80
# Somebody's data among the model files would be explained line by line.
MOST_PROBLEMS = 100

# The keys, and places in lists, that lead to a value.
Location = tuple[int | str, ...]


class Problem(NamedTuple):
    """A mistake in a model file.

    Attributes:
        location: The key that is wrong, as the file has it.
        text: "key: value: what is wrong".
    """

    location: Location
    text: str


def problems(error: ValidationError, root: type[BaseModel]) -> tuple[list[Problem], int]:
    """Return each mistake in a model file once, up to ``MOST_PROBLEMS``, and how many more there are.

    Args:
        error: What pydantic says.
        root: The class of the model file.
    """
    items = error.errors()
    wrong_keys = {item["loc"][:-1] for item in items if item["loc"][-1:] == (_OF_A_KEY,)}
    mistakes = [item for item in items if not _follows(item, wrong_keys)]
    return [_explain(item, root) for item in mistakes[:MOST_PROBLEMS]], len(mistakes[MOST_PROBLEMS:])


def _follows(item: Any, wrong_keys: Collection[Location]) -> bool:
    """True for what is only wrong because something else is: a list without its wrong items is too short."""
    if item["type"] == "too_short":
        return bool(len(item["input"]) >= item["ctx"]["min_length"])
    location = item["loc"][:-2] if item["loc"][-1:] == (_OF_A_KEY,) else item["loc"]
    return any(location[:length] in wrong_keys for length in range(1, len(location) + 1))


def _explain(item: Any, root: type[BaseModel]) -> Problem:
    location, kind, value = tuple(item["loc"]), item["type"], item["input"]
    if kind in ("extra_forbidden", "invalid_key"):
        return _unknown_key(location[:-1], value if kind == "invalid_key" else location[-1], root)
    if kind == "value_error":
        return _from_a_validator(item)
    if location[-1:] == (_OF_A_KEY,):
        mapping = _as_written(location[:-2])
        return Problem((*mapping, value), f"{key_text(mapping)}: key {shown_value(value)}: {_message(item)}")
    written = _as_written(location)
    if kind == "missing":
        wrong = "missing"
    elif kind == "union_tag_not_found" and isinstance(value, Mapping) and value:
        wrong = _no_kind(value)
    elif kind == "model_type":
        keys = ", ".join(sorted(_allowed_keys(root, location)))
        wrong = f"{shown_value(value)}: must be a mapping; allowed keys: {keys}"
    else:
        wrong = f"{shown_value(value)}: {_message(item)}"
    return Problem(written, f"{key_text(written)}: {wrong}")


def _unknown_key(section: Location, key: Any, root: type[BaseModel]) -> Problem:
    # Without quotes YAML reads some keys as a number or as true.
    name = key if isinstance(key, str) else shown_value(key)
    written = _as_written(section)
    if _is_gate(section) and name in KINDS:
        wrong = f"is a kind of gate of its own, as {section[-1]} is; make two gates of this one"
    else:
        allowed = sorted(_allowed_keys(root, section))
        wrong = f"unknown key; {nearest(name, allowed)}allowed: {', '.join(allowed)}"
    return Problem((*written, key), f"{key_text((*written, name))}: {wrong}")


def _from_a_validator(item: Any) -> Problem:
    """Tell what a validator of Podium's own raised, at the key that it blames."""
    error, value, location = item["ctx"]["error"], item["input"], _as_written(tuple(item["loc"]))
    for part in error.keys if isinstance(error, WrongKey) else ():
        location = (*location, part)
        known = isinstance(value, list | tuple) or (isinstance(value, Mapping) and part in value)
        value = value[part] if known else {}
    shown = "" if _is_section(value) else f" {shown_value(value)}:"
    return Problem(location, f"{key_text(location)}:{shown} {error}")


def _is_section(value: object) -> bool:
    """True for a mapping, or a list of them: too much to repeat."""
    if isinstance(value, list | tuple):
        return any(isinstance(item, Mapping) for item in value)
    return isinstance(value, Mapping | BaseModel)


_WORDS = {
    "tuple_type": "must be a list",
    "dict_type": "must be a mapping",
    "string_too_short": "must not be empty",
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    "finite_number": "must be a finite number",
    "union_tag_not_found": f"a gate is a mapping with one of the keys {', '.join(KINDS)}",
    "too_short": "needs at least {min_length}",
    "string_too_long": "must have at most {max_length} characters",
    "greater_than": "must be greater than {gt:g}",
    "greater_than_equal": "must be at least {ge:g}",
    "less_than": "must be less than {lt:g}",
    "less_than_equal": "must be at most {le:g}",
}


_PATTERNS = {
    IMPORT_PATH: "an import path such as trainers.my_model:train",
    MODEL_NAME: "lower-case words and digits joined by '-', such as soccer-match-outcome",
    VARIABLE: "the name of an environment variable, such as SHOP_DB_URL",
}


def _message(item: Any) -> str:
    kind, value, context = item["type"], item["input"], item.get("ctx", {})
    if kind in _WORDS:
        return _WORDS[kind].format(**context)
    if kind in ("literal_error", "enum"):
        allowed = re.findall(r"'([^']*)'", context["expected"])
        return f"{nearest(str(value), allowed)}allowed: {', '.join(allowed)}"
    if kind == "string_type":
        return "must be text" + _quotes(value)
    if kind == "string_pattern_mismatch":
        return f"must be {_PATTERNS[context['pattern']]}"
    return str(item["msg"])


def _quotes(value: object) -> str:
    if isinstance(value, bool):
        return ": write it in quotes (without them yes, no, on and off mean true and false)"
    return ": write it in quotes" if isinstance(value, int | float | date) else ""


def with_rest(told: list[str], more: int) -> list[str]:
    """Return what is told of a file's problems, and how many more there are."""
    return [*told, f"and {more} more problems"] if more else told


def shown_value(value: object) -> str:
    """Return a value about as the file has it."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, Mapping):
        return "{...}" if value else "{}"
    text = str(value) if isinstance(value, date) else repr(list(value) if isinstance(value, tuple) else value)
    # Airflow keeps what is wrong in a file, and shows it.
    text = without_passwords(text)
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}..."


def _no_kind(gate: Mapping[Any, Any]) -> str:
    hint = next((near for key in gate if (near := nearest(str(key), KINDS))), "")
    return f"no such kind of gate: {', '.join(map(str, gate))}; {hint}a gate has one of {', '.join(KINDS)}"


def _is_gate(location: Location) -> bool:
    """True for the location of a gate as pydantic gives it: with its place and its kind."""
    of_a_profile = len(location) == 5 and location[0] == _PROFILES
    return (len(location) == 3 or of_a_profile) and location[-3] == _GATES


def _as_written(location: Location) -> Location:
    """Leave out the kind of a gate, which pydantic names in the location and the file does not."""
    for length in (3, 5):
        if _is_gate(location[:length]):
            return location[: length - 1] + location[length:]
    return location


def key_text(location: Location) -> str:
    """Return the way to a key as people write it: ``gates[0].metric``."""
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def _allowed_keys(root: type[BaseModel], location: Location) -> list[str]:
    section: Any = root
    for place, part in enumerate(location):
        if _is_gate(location[: place + 1]):
            section = KINDS[str(part)]
        elif isinstance(part, str) or get_origin(section) is dict:
            section = _under(section, part)
    return [field.alias or name for name, field in section.model_fields.items()]


def _under(section: Any, key: int | str) -> Any:
    """Return what stands under a key: the class of a mapping, or the type of one with keys of the user's."""
    if get_origin(section) is dict:
        return _mapping(get_args(section)[1])
    field = next(field for name, field in section.model_fields.items() if key in (name, field.alias))
    return _mapping(field.annotation)


def _mapping(annotation: Any) -> Any:
    is_class = isinstance(annotation, type) and get_origin(annotation) is None
    if get_origin(annotation) is dict or (is_class and issubclass(annotation, BaseModel)):
        return annotation
    return next((found for part in get_args(annotation) if (found := _mapping(part))), None)
