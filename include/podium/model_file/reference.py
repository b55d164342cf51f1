"""What a model file may hold, for editors and documents: its JSON schema, its table of keys."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema

from podium.model_file.spec import ModelSpec

BEGIN = "<!-- keys: begin; written by podium.model_file.reference -->"
END = "<!-- keys: end -->"

_Schema = Mapping[str, Any]
_MOST_NAMES = 6
_PLURAL = {"text": "texts", "number": "numbers", "mapping": "mappings"}
_UNITS = ((timedelta(days=1), "d"), (timedelta(hours=1), "h"), (timedelta(minutes=1), "m"))


class _AsWritten(GenerateJsonSchema):
    """Defaults as a model file has them, and no titles that repeat a key in other letters."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002 - pydantic calls it
        return False

    def encode_default(self, dft: Any) -> Any:
        if isinstance(dft, timedelta):
            return next(
                (f"{dft // unit}{name}" for unit, name in _UNITS if not dft % unit), f"{dft.seconds}s"
            )
        if isinstance(dft, BaseModel):
            held = dft.model_dump(by_alias=True, exclude_none=True)
            return {name: self.encode_default(value) for name, value in held.items()}
        return super().encode_default(dft)


def json_schema() -> dict[str, Any]:
    """Return the JSON schema (draft 2020-12) of a model file.

    Every good model file is valid by it. It says nothing of rules between two keys, of cron expressions and
    of regular expressions, so some wrong files are valid too.
    """
    schema = ModelSpec.model_json_schema(schema_generator=_AsWritten)
    for section in schema["$defs"].values():
        del section["title"]
    return {"$schema": GenerateJsonSchema.schema_dialect, **schema, "title": "Model file of Podium"}


def key_table() -> str:
    """Return all keys of a model file as a table in Markdown; the keys of a gate are in docs/gates.md."""
    schema = json_schema()
    rows = _rows(schema, schema["$defs"], "", "required")
    return "\n".join(["| key | type | default | what it means |", "|---|---|---|---|", *rows])


def with_key_table(document: str) -> str:
    """Return a document with the table of keys between its two markers."""
    before, _, rest = document.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{key_table()}\n\n{END}{after}"


def _rows(section: _Schema, definitions: _Schema, prefix: str, required: str) -> Iterator[str]:
    for name, key in section["properties"].items():
        kind = _resolved(key, definitions)
        inner = _resolved(kind.get("additionalProperties") or {}, definitions)
        if "properties" in kind or "properties" in inner:
            nested, infix = (kind, "") if "properties" in kind else (inner, "NAME.")
            needed = required if name in section["required"] else f"required with `{name}`"
            yield from _rows({"required": [], **nested}, definitions, f"{prefix}{name}.{infix}", needed)
            continue
        default = required if name in section["required"] else _default(key.get("default"))
        meaning = key["description"]
        yield f"| `{prefix}{name}` | {_type(kind, definitions)} | {default} | {meaning} |"


def _resolved(key: _Schema, definitions: _Schema) -> _Schema:
    """Return what a key holds if it is not null."""
    kinds = [kind for kind in key.get("anyOf", ()) if kind != {"type": "null"}]
    if len(kinds) == 1:
        return _resolved(kinds[0], definitions)
    return definitions[key["$ref"].rpartition("/")[2]] if "$ref" in key else key


def _type(key: _Schema, definitions: _Schema) -> str:
    """Say in words what a key holds."""
    kind = _resolved(key, definitions)
    if "enum" in kind:
        names = [f"`{name}`" for name in kind["enum"]]
        return f"{', '.join(names[:-1])} or {names[-1]}" if len(names) <= _MOST_NAMES else "name"
    if "anyOf" in kind:
        single = [one for one in kind["anyOf"] if one.get("type") != "array"]
        kinds = dict.fromkeys(_type(one, definitions).removeprefix("whole ") for one in single)
        return ", ".join(reversed(kinds)) + (
            ", or a list of these" if len(single) < len(kind["anyOf"]) else ""
        )
    if kind.get("type") == "array":
        inner = _type(kind["items"], definitions)
        return f"list of {_PLURAL.get(inner, inner)}"
    if kind.get("type") == "object":
        return f"mapping of names to {_type(kind['additionalProperties'], definitions)}"
    if kind.get("type") == "string":
        examples = ", ".join(f"`{example}`" for example in kind.get("examples", ()))
        return f"text such as {examples}" if examples else "text"
    words = {
        "integer": "whole number",
        "number": "number",
        "boolean": "`true` or `false`",
        "null": "`null`",
    }
    return words.get(kind.get("type", ""), "mapping") + _bounds(kind)


def _bounds(kind: _Schema) -> str:
    words = {
        "minimum": "from",
        "exclusiveMinimum": "above",
        "maximum": "up to",
        "exclusiveMaximum": "and below",
    }
    return "".join(f" {word} {kind[name]:,}" for name, word in words.items() if name in kind)


def _default(value: object) -> str:
    if value in (None, [], {}):
        return "none"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, list):
        return f"`[{', '.join(map(str, value))}]`"
    return f"`{value}`" if isinstance(value, str) else f"{value:,}"
