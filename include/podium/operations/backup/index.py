"""What a backup is on disk: a folder with dumps, objects under their sha256, and ``backup.json``, their list.

A folder is a backup from the moment when it has its name: before everything is written it is NAME.partial.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from podium.errors import PodiumError
from podium.ledger.events import canonical_json

INDEX = "backup.json"
_PARTIAL = ".partial"


class Dump(BaseModel):
    """The dump of one database, in the custom format of pg_dump: its file, size in bytes and sha256."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    database: str
    file: str
    size: int
    sha256: str


class StoredObject(BaseModel):
    """One object of the store: its key, size in bytes, sha256, and the headers that belong to it.

    Its bytes are in the file ``objects/<two digits>/<sha256>``: keys may be what no file may be called.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: str
    size: int
    sha256: str
    content_type: str = ""
    content_encoding: str = ""
    metadata: dict[str, str] = {}

    @property
    def file(self) -> str:
        """Where its bytes are in the backup."""
        return object_file(self.sha256)


class Index(BaseModel):
    """What ``backup.json`` says.

    Attributes:
        format: Of this file and its folder.
        made_at: When the databases were copied; all three as of one moment.
        versions: Of Podium, Airflow, MLflow, the ledger's schema and the Postgres server.
        ledger_events: How many events the ledger had.
        ledger_head: The hash of the last one.
        champions: By model.
        dumps: Of the databases.
        objects: Of the store.
        problems: What was not whole when it was copied, in sentences.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    made_at: datetime
    versions: dict[str, str]
    ledger_events: int
    ledger_head: str
    champions: dict[str, int]
    dumps: tuple[Dump, ...]
    objects: tuple[StoredObject, ...]
    problems: tuple[str, ...]

    def digest(self) -> str:
        """Return the sha256 of all of this: one name for exactly this backup."""
        return hashlib.sha256(canonical_json(self.model_dump(mode="json")).encode()).hexdigest()

    def size(self) -> int:
        """Return how many bytes a restore writes."""
        return sum(item.size for item in self.dumps) + sum(item.size for item in self.objects)


def object_file(digest: str) -> str:
    """Return where the bytes of this sha256 are in a backup."""
    return f"objects/{digest[:2]}/{digest}"


@contextmanager
def new_backup(folder: Path) -> Iterator[Path]:
    """Hold the folder to write a backup to; it gets its name at the end, or is removed.

    Raises:
        PodiumError: There is a folder of this name, or what an earlier try left.
    """
    partial = folder.with_name(folder.name + _PARTIAL)
    if folder.name.endswith(_PARTIAL):
        raise PodiumError(f"{folder}: choose another name: {_PARTIAL} marks an unfinished backup")
    if folder.exists():
        raise PodiumError(f"{folder} exists already: name a new folder")
    folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        partial.mkdir(mode=0o700)
    except FileExistsError as error:
        raise PodiumError(
            f"{partial} exists: another backup is being written, or one was killed. If none runs, remove it"
        ) from error
    try:
        yield partial
        if not (partial / INDEX).is_file():
            raise PodiumError(f"{partial} has no {INDEX}")
        os.sync()
        partial.rename(folder)
        os.sync()
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def write_index(folder: Path, index: Index) -> None:
    """Write ``backup.json``, with its own digest."""
    content = {**index.model_dump(mode="json"), "sha256": index.digest()}
    with private_file(folder / INDEX) as path:
        path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def read_index(folder: Path) -> Index:
    """Read what a backup says that it holds.

    Raises:
        PodiumError: It is no complete backup, or its index was changed.
    """
    path = folder / INDEX
    if folder.name.endswith(_PARTIAL):
        raise PodiumError(
            f"{folder} is not a complete backup: it was never finished. Remove it and make a new one"
        )
    if not path.is_file():
        raise PodiumError(f"{folder} is not a backup: it has no {INDEX}")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        said = content.pop("sha256")
        index = Index.model_validate(content)
    except (ValueError, ValidationError, KeyError, AttributeError) as error:
        raise PodiumError(
            f"{path} cannot be read: it was changed, or another version of Podium wrote it: {error}"
        ) from error
    if index.digest() != said:
        raise PodiumError(f"{path} was changed: its sha256 differs from the recorded one")
    return index


def verified_index(folder: Path, console: Console) -> Index:
    """Read every byte of a backup and compare it with the index.

    Raises:
        PodiumError: A file is missing or is not what was written; names the first ones.
    """
    index = read_index(folder)
    files: dict[str, Dump | StoredObject] = {item.file: item for item in index.objects}
    files.update({item.file: item for item in index.dumps})
    wrong = []
    with progress(console) as bars:
        task = bars.add_task("verify the backup", total=sum(item.size for item in files.values()))
        for name, item in files.items():
            if problem := _problem(folder / name, item):
                wrong.append(f"{name}{_of(item)} {problem}")
            bars.advance(task, item.size)
    if wrong:
        more = f"; and {len(wrong) - 5} more" if len(wrong) > 5 else ""
        raise PodiumError(
            f"{folder} is damaged, and nothing was restored from it: {'; '.join(wrong[:5])}{more}. Take "
            "another backup, or another copy of this one"
        )
    return index


@contextmanager
def private_file(path: Path) -> Iterator[Path]:
    """Make an empty file that only its owner can read, for whoever writes it then."""
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    yield path


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file, read in chunks."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def progress(console: Console) -> Progress:
    """Return bars of bytes, with what is left."""
    return Progress(
        TextColumn("{task.description:<24}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=console,
    )


def headers_of(answer: Mapping[str, object]) -> dict[str, object]:
    """Return what S3 says of an object besides its bytes, as ``StoredObject`` keeps it."""
    # How the bytes travelled when they were written; SeaweedFS keeps it.
    encodings = [part.strip() for part in str(answer.get("ContentEncoding") or "").split(",")]
    return {
        "content_type": answer.get("ContentType") or "",
        "content_encoding": ",".join(part for part in encodings if part not in ("", "aws-chunked")),
        "metadata": answer.get("Metadata") or {},
    }


def _problem(path: Path, item: Dump | StoredObject) -> str | None:
    if not path.is_file():
        return "is missing"
    if (size := path.stat().st_size) != item.size:
        return f"has {size:,} bytes, not {item.size:,}"
    return None if sha256_of(path) == item.sha256 else "was changed: its sha256 differs"


def _of(item: Dump | StoredObject) -> str:
    return f" ({item.key})" if isinstance(item, StoredObject) else ""
