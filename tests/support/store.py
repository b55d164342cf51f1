"""The files of a version in the store, and what can happen to them there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from podium.services import Services
from support.mlflow_client import raw


def stored_files(services: Services, model: str, number: int) -> Path:
    """The folder of the store that holds a version's files."""
    source = raw(services.registry).get_model_version(model, str(number)).source
    if not source.startswith("models:/"):
        return Path(source.removeprefix("file://"))
    logged = raw(services.registry).get_logged_model(source.removeprefix("models:/"))
    return Path(logged.artifact_location.removeprefix("file://"))


@contextmanager
def changed_bytes(folder: Path, what: str) -> Iterator[None]:
    """Flip a byte of a model, remove a file of it, or add one; undone at the end."""
    there = [path for name in ("model.skops", "model.pkl") if (path := folder / name).is_file()]
    model, added = there[0], folder / "extra" / "code.py"
    whole = model.read_bytes()
    try:
        if what == "flipped":
            model.write_bytes(whole[:100] + bytes([whole[100] ^ 1]) + whole[101:])
        elif what == "missing":
            model.unlink()
        else:
            added.parent.mkdir()
            added.write_text("import this")
        yield
    finally:
        model.write_bytes(whole)
        added.unlink(missing_ok=True)
        if added.parent.is_dir():
            added.parent.rmdir()


# What is said of files that were changed in each way.
TAMPERED = {
    "flipped": r"model\.skops differs \(.* bytes, sha256 .*; registered with",
    "missing": r"model\.skops is missing",
    "added": r"extra/code\.py was added",
}
