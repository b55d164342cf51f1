"""Model files read from disk, one or a folder of them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from pydantic import ValidationError

from podium.errors import NotFound, SpecError
from podium.model_file.document import Document, read_document
from podium.model_file.problems import problems
from podium.model_file.spec import ModelSpec


def load_spec(path: Path) -> ModelSpec:
    """Read one model file.

    Raises:
        SpecError: The file is not YAML, or a key is unknown, missing or has a value that is not allowed. Each
            problem names its line.
    """
    return _parse(path, read_document(path))


def _parse(path: Path, document: Document) -> ModelSpec:
    try:
        return ModelSpec.model_validate(document.content)
    except ValidationError as error:
        found, more = problems(error, ModelSpec)
        told = [f"line {document.line(location)}: {text}" for location, text in found]
        raise SpecError(path, [*told, f"and {more} more problems"] if more else told) from error


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
            document = read_document(path)
            spec = _parse(path, document)
        except SpecError as error:
            errors.append(error)
            continue
        if spec.name in specs:
            taken = f"name: '{spec.name}' is already used by {paths[spec.name]}"
            errors.append(SpecError(path, [f"line {document.line(('name',))}: {taken}"]))
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
