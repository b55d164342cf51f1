"""The hash that DVC has of a source, and whether what stands there now has it."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path

import yaml

from podium.errors import DataError

log = logging.getLogger(__name__)

# Of a folder DVC hashes a list of its files: https://dvc.org/doc/user-guide/project-structure/dvc-files
_FOLDER = ".dir"


def dvc_facts(home: Path, source: str) -> Mapping[str, Mapping[str, str]]:
    """Return what ``SOURCE.dvc`` has of a file or folder, and what is there; nothing without such a file.

    Returns:
        Under ``dvc``: ``file``, its ``md5``, and as ``found`` the md5 of what is there: another one if it
        was changed since.

    Raises:
        DataError: It is no such file.
    """
    path = home / f"{source.rstrip('/')}.dvc"
    if not path.is_file():
        return {}
    try:
        (out,) = yaml.safe_load(path.read_text(encoding="utf-8"))["outs"]
        md5 = str(out["md5"])
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path} is not a DVC file with one output and its md5") from error
    found = _md5_of(home / source)
    if found != md5:
        log.warning(
            "%s has the md5 %s, which is not that of %s: %s. `dvc add %s` renews it.",
            *(path.name, md5, source, found, source),
        )
    return {"dvc": {"file": path.name, "md5": md5, "found": found}}


def describe_dvc(facts: Mapping[str, str]) -> str:
    """Say which md5 was read, and the other one of a ``.dvc`` file that is not up to date."""
    if facts["found"] == facts["md5"]:
        return f"DVC md5 {facts['md5']}"
    return f"md5 {facts['found']}, which is not the {facts['md5']} of {facts['file']}"


def _md5_of(place: Path) -> str:
    if place.is_dir():
        files = sorted(path for path in place.rglob("*") if path.is_file())
        listed = [{"md5": _md5(path), "relpath": path.relative_to(place).as_posix()} for path in files]
        listed.sort(key=lambda one: one["relpath"])
        text = json.dumps(listed, sort_keys=True)
        return f"{hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()}{_FOLDER}"
    return _md5(place)


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
