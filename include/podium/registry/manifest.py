"""The manifest of a version: path, size and sha256 of each of its files, made once when it is registered."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from podium.disk import assert_room, full_disk_named
from podium.errors import BytesChanged
from podium.names import version_name
from podium.registry.client import Registry

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class File:
    """One file of a model: its path in the model's folder, size in bytes and sha256."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """All files of a version, in the order of their paths."""

    files: tuple[File, ...]

    def digest(self) -> str:
        """Return the sha256 of the manifest's canonical JSON: one name for exactly these bytes."""
        return hashlib.sha256(json.dumps(self.as_json(), sort_keys=True).encode()).hexdigest()

    def as_json(self) -> list[dict[str, Any]]:
        """Return the files as plain JSON values."""
        return [asdict(file) for file in self.files]

    @classmethod
    def from_json(cls, files: list[Mapping[str, Any]]) -> Manifest:
        """Return the manifest that ``as_json`` wrote."""
        return cls(tuple(File(**file) for file in files))


def read_manifest(folder: Path) -> Manifest:
    """Make the manifest of a folder's files."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return Manifest(tuple(_read_file(folder, path) for path in files))


@contextmanager
def downloaded(
    registry: Registry, model: str, number: int, manifest: Manifest | None = None, within: Path | None = None
) -> Iterator[Path]:
    """Hold a copy of a version's files as they are in the store now, unverified.

    Args:
        registry: Has them.
        model: The registered model.
        number: The version.
        manifest: Of what is expected: so much room there must be before anything is copied.
        within: The folder for the copy; without it that of temporary files.

    Raises:
        NotFound: There is no such version.
        DiskFull: There is no room for the copy.
        Outage: The registry or the store did not answer.
    """
    doing = f"copying the files of {model} {version_name(number)}"
    with ExitStack() as held:
        with full_disk_named(doing, within, by_text=True):
            folder = Path(held.enter_context(TemporaryDirectory(prefix="podium-", dir=within)))
            if manifest is not None:
                assert_room(doing, folder.parent, [file.size for file in manifest.files])
            registry.download(model, number, folder)
        yield folder


def check_same(manifest: Manifest, folder: Path, what: str) -> None:
    """Make sure that a folder's files are exactly those of a manifest.

    Raises:
        BytesChanged: A file differs, is missing, or was added; names it.
    """
    if found := differences(manifest, read_manifest(folder)):
        raise BytesChanged(
            f"{what} is not what was registered: {'; '.join(found)}. Its "
            "bytes in the store were changed; restore them, or train a new version."
        )


def differences(expected: Manifest, found: Manifest) -> list[str]:
    """Say which files differ, are missing or were added, in the order of their paths; empty if none."""
    before = {file.path: file for file in expected.files}
    now = {file.path: file for file in found.files}
    said = []
    for path in sorted({*before, *now}):
        if path not in now:
            said.append(f"{path} is missing")
        elif path not in before:
            said.append(f"{path} was added")
        elif before[path] != now[path]:
            said.append(
                f"{path} differs ({now[path].size:,} bytes, sha256 {now[path].sha256[:12]}; registered with "
                f"{before[path].size:,} bytes, {before[path].sha256[:12]})"
            )
    return said


def _read_file(folder: Path, path: Path) -> File:
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return File(path.relative_to(folder).as_posix(), path.stat().st_size, digest)
