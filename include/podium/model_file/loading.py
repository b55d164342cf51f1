"""Model files read from disk, one or a folder of them."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError

from podium.errors import NotFound, SpecError
from podium.model_file.document import Document, read_document
from podium.model_file.problems import problems, with_rest
from podium.model_file.spec import ModelSpec
from podium.settings import project_home

_SUFFIX = ".yaml"
# Whoever writes one of these means a model file.
_LIKE_A_MODEL_FILE = (_SUFFIX, ".yml")
# ``.m.yaml`` is hidden; Emacs locks as ``.#m.yaml`` and saves as ``#m.yaml#``, others as ``m.yaml~``.
_OF_AN_EDITOR = (".", "#")


class ModelFile(NamedTuple):
    """A good model file, with the lines of its keys."""

    path: Path
    document: Document
    spec: ModelSpec


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
        raise SpecError(path, with_rest(told, more)) from error


def model_files(folder: Path) -> list[Path]:
    """Return the model files of a folder, and what is meant as one, in the order of their names."""
    return sorted(
        path
        for path in folder.glob("*")
        if path.suffix.lower() in _LIKE_A_MODEL_FILE and not path.name.startswith(_OF_AN_EDITOR)
    )


def load_specs(folder: Path) -> tuple[dict[str, ModelSpec], list[SpecError]]:
    """Read all model files of a folder, in the order of their names; see ``load_specs_of``."""
    return load_specs_of(model_files(folder))


def load_specs_of(files: Iterable[Path]) -> tuple[dict[str, ModelSpec], list[SpecError]]:
    """Read model files; see ``read_model_files``. A good file is read again only if it has changed."""
    files, home = list(files), project_home()
    stamps = {path: _stamp(path, home) for path in files}
    specs = {path: _READ[path].spec for path in files if path in _READ and _READ[path].stamp == stamps[path]}
    read, errors = _read(path for path in files if path not in specs)
    claimed = Counter([*(spec.name for spec in specs.values()), *map(_claim, read.values())])
    taken = [path for path, spec in specs.items() if claimed[spec.name] > 1]
    also_read, also_wrong = _read(taken)
    good, wrong = _judge(read | also_read, errors | also_wrong)
    for file in good.values():
        specs[file.path] = file.spec
        if (stamp := stamps[file.path]) is not None:
            _READ[file.path] = _AsRead(stamp, file.spec)
    kept = {path: spec for path, spec in specs.items() if claimed[spec.name] == 1}
    return {kept[path].name: kept[path] for path in files if path in kept}, wrong


class _AsRead(NamedTuple):
    stamp: tuple[object, ...]
    spec: ModelSpec


# Good model files of this process; the API server asks for one model's at each answer.
_READ: dict[Path, _AsRead] = {}
# A file that was written just now can be written again within the clock's tick.
_SETTLED_SECONDS = 2.0


def _stamp(path: Path, home: Path) -> tuple[object, ...] | None:
    """Return what changes with a file, and with the place that its paths are relative to; None if unsure."""
    try:
        found = path.stat()
    except OSError:
        return None
    if abs(time.time() - found.st_mtime) < _SETTLED_SECONDS:
        return None
    return home, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def read_model_files(files: Iterable[Path]) -> tuple[dict[str, ModelFile], list[SpecError]]:
    """Read model files.

    Returns:
        The good models by name, and an error for each wrong file: one wrong file stops no other model. Two
        files of one model are both wrong, even if one of them has other mistakes: which of them counts is
        nothing to guess.
    """
    return _judge(*_read(files))


def _judge(
    read: Mapping[Path, Document], errors: dict[Path, SpecError]
) -> tuple[dict[str, ModelFile], list[SpecError]]:
    claims: defaultdict[object, list[Path]] = defaultdict(list)
    for path, document in read.items():
        claims[_claim(document)].append(path)
    good: dict[str, ModelFile] = {}
    for path, document in read.items():
        try:
            spec = _parse(path, document)
        except SpecError as error:
            errors[path] = error
            continue
        if others := [other for other in claims[spec.name] if other != path]:
            errors[path] = SpecError(path, [_taken(document, spec.name, others)])
        else:
            good[spec.name] = ModelFile(path, document, spec)
    return good, [errors[path] for path in sorted(errors)]


def _claim(document: Document) -> object:
    """Return the name that a file gives its model; what is no name, no other file has."""
    name = document.content.get("name")
    return name if isinstance(name, str) else id(document)


def _read(files: Iterable[Path]) -> tuple[dict[Path, Document], dict[Path, SpecError]]:
    read: dict[Path, Document] = {}
    errors: dict[Path, SpecError] = {}
    for path in files:
        try:
            _check_suffix(path)
            read[path] = read_document(path)
        except SpecError as error:
            errors[path] = error
    return read, errors


def _check_suffix(path: Path) -> None:
    if path.suffix != _SUFFIX:
        wanted = path.with_suffix(_SUFFIX).name
        raise SpecError(path, [f"is not read: a model file ends in {_SUFFIX}; rename it to {wanted}"])


def _taken(document: Document, name: str, others: Iterable[Path]) -> str:
    line, also = document.line(("name",)), ", ".join(map(str, others))
    return f"line {line}: name: '{name}': is also the name in {also}; neither is loaded until one is left"


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
    raise NotFound(f"no model '{name}' in {folder}; available: {known}{broken}")
