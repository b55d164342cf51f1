"""Model files read from disk, one or a folder of them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from podium.errors import NotFound, SpecError
from podium.model_file.problems import problems
from podium.model_file.spec import ModelSpec


class _ModelFileLoader(yaml.SafeLoader):
    """A key that stands twice is an error (YAML takes the last one), and 1e-3 a number (in YAML 1.1 text)."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            name = key.value if isinstance(key, yaml.ScalarNode) else None
            if name is not None and name in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key '{name}' twice", key.start_mark)
            seen.add(name)
        return super().construct_mapping(node, deep)


_ModelFileLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def _yaml_problem(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    mark = getattr(error, "problem_mark", None)
    if mark is None:
        return str(error)
    return f"line {mark.line + 1}, column {mark.column + 1}: {getattr(error, 'problem', error)}"


def load_spec(path: Path) -> ModelSpec:
    """Read one model file.

    Raises:
        SpecError: The file is not YAML, or a key is unknown, missing or has a value that is not allowed.
    """
    try:
        text = path.read_text(encoding="utf-8")
        content = yaml.load(text, Loader=_ModelFileLoader)  # noqa: S506 - a SafeLoader
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise SpecError(path, [f"not a YAML file that can be read: {_yaml_problem(error)}"]) from error
    except OSError as error:
        raise SpecError(path, [f"cannot be read: {error.strerror}"]) from error
    if not isinstance(content, dict):
        raise SpecError(path, ["a model file is a mapping of keys, starting with name: ..."])
    try:
        return ModelSpec.model_validate(content)
    except ValidationError as error:
        raise SpecError(path, problems(error, ModelSpec)) from error


def load_specs(folder: Path) -> tuple[dict[str, ModelSpec], list[SpecError]]:
    """Read all model files of a folder, in the order of their names; see ``load_specs_of``."""
    return load_specs_of(sorted(folder.glob("*.yaml")))


def load_specs_of(files: Iterable[Path]) -> tuple[dict[str, ModelSpec], list[SpecError]]:
    """Read model files.

    Returns:
        The good models by name, and an error for each wrong file: one wrong file stops no other model.
    """
    specs: dict[str, ModelSpec] = {}
    paths: dict[str, Path] = {}
    errors: list[SpecError] = []
    for path in files:
        try:
            spec = load_spec(path)
        except SpecError as error:
            errors.append(error)
            continue
        if spec.name in specs:
            errors.append(SpecError(path, [f"name: '{spec.name}' is already used by {paths[spec.name]}"]))
            continue
        specs[spec.name], paths[spec.name] = spec, path
    return specs, errors


def find_spec(folder: Path, name: str) -> ModelSpec:
    """Read the model file of one model.

    Raises:
        NotFound: No good model file has this name.
    """
    specs, errors = load_specs(folder)
    if name in specs:
        return specs[name]
    known = ", ".join(specs) or "none"
    broken = "".join(f"\n{error}" for error in errors)
    raise NotFound(f"no model '{name}' in {folder}; there are: {known}{broken}")
