"""Which files of a model are pickles? Whoever loads one runs whatever code its maker put in."""

from __future__ import annotations

from pathlib import Path
from zipfile import BadZipFile, ZipFile

# By their first bytes: the protocols 2 to 5, whatever a file is called.
_FIRST_BYTES = tuple(bytes((0x80, protocol)) for protocol in range(2, 6))
# Compressed ones, and those of protocol 0, do not begin so.
_SUFFIXES = (".pkl", ".pickle", ".pth", ".pt", ".joblib", ".dill", ".cloudpickle")


def pickles_in(folder: Path) -> list[str]:
    """Return the paths of the files in a model's folder that are pickles, or archives of them; in order."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return [path.relative_to(folder).as_posix() for path in files if _is_pickle(path)]


def _is_pickle(path: Path) -> bool:
    with path.open("rb") as file:
        begins = file.read(4)
    return path.suffix in _SUFFIXES or begins.startswith(_FIRST_BYTES) or _holds_pickle(path, begins)


def _holds_pickle(path: Path, begins: bytes) -> bool:
    """Whether it is an archive as ``torch.save`` writes it."""
    if begins != b"PK\x03\x04":
        return False
    try:
        with ZipFile(path) as archive:
            return any(Path(name).name == "data.pkl" for name in archive.namelist())
    except BadZipFile:
        return False
