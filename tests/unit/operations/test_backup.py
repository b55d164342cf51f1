"""What counts as a backup on disk: complete, unchanged, and of programs that can be restored here."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import replace
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from podium.errors import PodiumError
from podium.ledger.chain import write_head
from podium.ledger.events import EventKind, NewEvent
from podium.ledger.store import Ledger
from podium.names import Tag
from podium.operations.backup import backup, databases
from podium.operations.backup.databases import Snapshot
from podium.operations.backup.index import (
    INDEX,
    Dump,
    Index,
    StoredObject,
    new_backup,
    object_file,
    verified_index,
    write_index,
)
from podium.operations.backup.objects import Store
from podium.settings import Settings

QUIET = Console(file=StringIO())
DUMP, MODEL = b"PGDMP of a ledger", b"weights"
NOWHERE = backup.BackupStores("postgresql://x@127.0.0.1:1/x", Store("http://127.0.0.1:1", "k", "s", "b"))


def stored(folder: Path, content: bytes, key: str) -> StoredObject:
    digest = hashlib.sha256(content).hexdigest()
    path = folder / object_file(digest)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return StoredObject(key=key, size=len(content), sha256=digest)


def write(folder: Path, **versions: str) -> Index:
    """A backup of one database and two objects of the same bytes, with keys that are no file names."""
    with new_backup(folder) as partial:
        (partial / "databases").mkdir()
        (partial / "databases" / "ledger.dump").write_bytes(DUMP)
        digest = hashlib.sha256(DUMP).hexdigest()
        index = Index(
            made_at=datetime(2026, 1, 2, tzinfo=UTC),
            versions={**backup._installed(), "postgres": "18.4", **versions},
            ledger_events=7,
            ledger_head="ab" * 32,
            champions={"toy": 3},
            dumps=(Dump(database="ledger", file="databases/ledger.dump", size=len(DUMP), sha256=digest),),
            objects=(stored(partial, MODEL, "1/a"), stored(partial, MODEL, "../../etc//x\n")),
            problems=(),
        )
        write_index(partial, index)
    return index


def test_what_was_written_is_read_and_private(tmp_path: Path) -> None:
    index = write(tmp_path / "b")
    assert verified_index(tmp_path / "b", QUIET) == index
    assert (tmp_path / "b").stat().st_mode & 0o77 == 0
    assert (tmp_path / "b" / INDEX).stat().st_mode & 0o77 == 0
    said = " ".join(backup.describe_backup(index).split())
    assert "toy v3" in said
    assert index.digest() in said


@settings(max_examples=60)
@given(data=st.data())
def test_a_flipped_bit_anywhere_is_refused_or_means_the_same(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("flipped") / "b"
    index = write(folder)
    path = data.draw(st.sampled_from(sorted(file for file in folder.rglob("*") if file.is_file())))
    content = bytearray(path.read_bytes())
    position = data.draw(st.integers(0, len(content) - 1))
    content[position] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(content)
    said = ""
    try:
        same = verified_index(folder, QUIET) == index
    except PodiumError as error:
        same, said = False, str(error)
    assert path.name in said or (same and path.name == INDEX)
    shutil.rmtree(folder)


def test_a_missing_or_cut_file_is_named_and_nothing_was_touched(tmp_path: Path) -> None:
    index = write(tmp_path / "b")
    file = tmp_path / "b" / index.objects[0].file
    file.write_bytes(MODEL[:-1])
    with pytest.raises(PodiumError, match=r"\(1/a\)|x\n\) has 6 bytes, not 7"):
        # Its stores cannot be reached: that comes later.
        backup.restore(NOWHERE, tmp_path / "b", QUIET)
    file.unlink()
    with pytest.raises(PodiumError, match="is missing"):
        backup.restore(NOWHERE, tmp_path / "b", QUIET)


def test_what_never_ended_is_no_backup(tmp_path: Path) -> None:
    write(tmp_path / "whole")
    shutil.copytree(tmp_path / "whole", tmp_path / "b.partial")
    with pytest.raises(PodiumError, match="never finished"):
        backup.restore(NOWHERE, tmp_path / "b.partial", QUIET)
    with pytest.raises(PodiumError, match="another backup is being written, or one was killed"):
        write(tmp_path / "b")
    shutil.rmtree(tmp_path / "b.partial")
    (tmp_path / "whole" / INDEX).unlink()
    with pytest.raises(PodiumError, match=r"is not a backup: it has no backup\.json"):
        backup.restore(NOWHERE, tmp_path / "whole", QUIET)


def test_a_backup_that_fails_leaves_nothing_and_takes_no_other_place(tmp_path: Path) -> None:
    with pytest.raises(PodiumError, match="exists already"):
        write(tmp_path)

    def write_half() -> None:
        with new_backup(tmp_path / "b") as partial:
            (partial / "something").write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert list(tmp_path.iterdir()) == []


def test_a_backup_of_newer_programs_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "b", mlflow="99.1")
    with pytest.raises(PodiumError, match=r"of mlflow 99\.1, and .* is installed here"):
        backup.restore(NOWHERE, tmp_path / "b", QUIET)


def test_what_copied_databases_say_is_read_off_the_record_once(own_ledger: Ledger) -> None:
    manifest = [{"path": "MLmodel", "size": 1, "sha256": "s"}]
    kept: list[Any] = [manifest, manifest, manifest, 5]
    for number, files in enumerate(kept, 1):
        own_ledger.append(NewEvent(EventKind.REGISTERED, "m", number, details={"manifest": files}))
    own_ledger.append(NewEvent(EventKind.PROMOTED, "m", 1))
    for number, kind in ((2, EventKind.DELETION_STARTED), (3, EventKind.DELETION_STARTED)):
        own_ledger.append(NewEvent(kind, "m", number))
    newest = own_ledger.append(NewEvent(EventKind.DELETION_FAILED, "m", 2))
    mlflow = sa.create_engine("sqlite://").connect()
    mlflow.execute(sa.text("CREATE TABLE registered_model_tags (name, key, value)"))
    mlflow.execute(sa.text("CREATE TABLE model_versions (name, version, storage_location, current_stage)"))
    heads = [("m", write_head(newest)), ("lost", write_head(replace(newest, hash="f" * 64, seq=99)))]
    for model, head in heads:
        told = {"model": model, "key": str(Tag.LEDGER_HEAD), "head": head}
        mlflow.execute(sa.text("INSERT INTO registered_model_tags VALUES (:model, :key, :head)"), told)
    for number in range(1, 5):
        row = {"number": number, "place": f"s3://b/{number}"}
        mlflow.execute(sa.text("INSERT INTO model_versions VALUES ('m', :number, :place, 'None')"), row)
    with own_ledger.engine.connect() as connection:
        facts = databases.read_facts(
            {"mlflow": Snapshot("mlflow", "s", mlflow), "ledger": Snapshot("ledger", "s", connection)}
        )
    assert facts.champions == {"m": 1}
    assert [one[:3] for one in facts.versions] == [("m", 1, "s3://b/1"), ("m", 2, "s3://b/2")]
    assert facts.problems == (
        "the ledger: the manifest of event 4 cannot be read",
        "the ledger: event 99 is not in it, although MLflow has it on record for lost",
    )


def test_the_command_names_what_is_not_set() -> None:
    with pytest.raises(PodiumError, match="PODIUM_POSTGRES_URL, AWS_SECRET_ACCESS_KEY not set"):
        backup.stores_of(
            Settings(AWS_ENDPOINT_URL="http://store", AWS_ACCESS_KEY_ID="k", PODIUM_BUCKET="mlflow")
        )
