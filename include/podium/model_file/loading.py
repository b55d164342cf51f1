"""Model files read from disk, one or a folder of them."""

from __future__ import annotations

import time
from collections import defaultdict
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
    """A good model file."""

    path: Path
    spec: ModelSpec


class _Found(NamedTuple):
    """What one file is: a model, or what is wrong with it.

    The name that it gives its model counts even if other keys are wrong; what is no name, no other file has.
    """

    claim: object
    line_of_name: int
    found: ModelSpec | SpecError


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
    found = {path: _as_before(path, stamps[path]) or _look(path) for path in files}
    for path, stamp in stamps.items():
        if stamp is not None and isinstance(found[path].found, ModelSpec):
            _READ[path] = _AsRead(stamp, found[path])
    good, wrong = _judge(found)
    return {name: file.spec for name, file in good.items()}, wrong


class _AsRead(NamedTuple):
    stamp: tuple[object, ...]
    file: _Found


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


def _as_before(path: Path, stamp: tuple[object, ...] | None) -> _Found | None:
    """Return what a file that has not changed was."""
    return _READ[path].file if path in _READ and _READ[path].stamp == stamp else None


def read_model_files(files: Iterable[Path]) -> tuple[dict[str, ModelFile], list[SpecError]]:
    """Read model files.

    Returns:
        The good models by name, and an error for each wrong file: one wrong file stops no other model. Two
        files of one model are both wrong, even if one of them has other mistakes: which of them counts is
        nothing to guess.
    """
    return _judge({path: _look(path) for path in files})


def _look(path: Path) -> _Found:
    """Read a file. Its text is dropped: many objects that stay slow down Python's garbage collections."""
    try:
        _check_suffix(path)
        document = read_document(path)
    except SpecError as error:
        return _Found(path, 0, error)
    name, line = document.content.get("name"), document.line(("name",))
    claim = name if isinstance(name, str) else path
    try:
        return _Found(claim, line, _parse(path, document))
    except SpecError as error:
        return _Found(claim, line, error)


def _judge(files: Mapping[Path, _Found]) -> tuple[dict[str, ModelFile], list[SpecError]]:
    claims: defaultdict[object, list[Path]] = defaultdict(list)
    for path, file in files.items():
        claims[file.claim].append(path)
    good: dict[str, ModelFile] = {}
    errors: dict[Path, SpecError] = {}
    for path, file in files.items():
        if isinstance(file.found, SpecError):
            errors[path] = file.found
        elif others := [other for other in claims[file.claim] if other != path]:
            errors[path] = SpecError(path, [_taken(file, others)])
        else:
            good[file.found.name] = ModelFile(path, file.found)
    return good, [errors[path] for path in sorted(errors)]


def _check_suffix(path: Path) -> None:
    if path.suffix != _SUFFIX:
        wanted = path.with_suffix(_SUFFIX).name
        raise SpecError(path, [f"is not read: a model file ends in {_SUFFIX}; rename it to {wanted}"])


def _taken(file: _Found, others: Iterable[Path]) -> str:
    also = ", ".join(map(str, others))
    name = f"line {file.line_of_name}: name: '{file.claim}'"
    return f"{name}: is also the name in {also}; neither is loaded until one is left"


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
