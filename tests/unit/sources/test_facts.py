"""What a source tells of itself, and that somebody who writes while rows are read is noticed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pytest

from podium.errors import DataError, SourceChanged
from podium.sources import parts
from podium.sources.chunks import Partition, Reader, Source
from podium.sources.dvc import dvc_facts
from podium.sources.facts import describe, identities
from podium.sources.read import list_partitions, open_partition
from podium.sources.whole import read_whole

ROWS = pd.DataFrame({"x": [1, 2]})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a", "b"):
        (tmp_path / "rows").mkdir(exist_ok=True)
        ROWS.to_parquet(tmp_path / "rows" / f"{name}.parquet")
    return tmp_path


CHANGES: dict[str, Callable[[Path], object]] = {
    "c.parquet was added": lambda rows: ROWS.to_parquet(rows / "c.parquet"),
    "b.parquet was removed": lambda rows: (rows / "b.parquet").unlink(),
    "a.parquet was written": lambda rows: pd.concat([ROWS, ROWS]).to_parquet(rows / "a.parquet"),
}


@pytest.mark.parametrize("said", CHANGES)
def test_a_source_that_changes_while_it_is_read_is_noticed(
    folder: Path, monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    @contextmanager
    def opened(source: Source, partition: Partition, wanted: Sequence[str] | None) -> Iterator[Reader]:
        with open_partition(source, partition, wanted) as reader:
            yield reader
        if partition.name == "b":
            CHANGES[said](folder / "rows")

    monkeypatch.setattr(parts, "open_partition", opened)
    with pytest.raises(SourceChanged, match=rf"rows changed while it was read: rows/{said}"):
        read_whole(Source("rows", folder))


def test_files_are_told_with_their_names_and_sizes(folder: Path) -> None:
    facts = read_whole(Source("rows", folder)).facts
    assert [one["file"] for one in facts["files"]] == ["rows/a.parquet", "rows/b.parquet"]
    assert facts["files"][0]["bytes"] == (folder / "rows" / "a.parquet").stat().st_size
    assert describe(facts).startswith("2 files, sha256 of their names and bytes ")
    assert "dvc" not in facts


@pytest.fixture
def tracked(tmp_path: Path) -> Path:
    """A file and a folder with the hashes that DVC 3.67 gave them."""
    (tmp_path / "rows" / "more").mkdir(parents=True)
    (tmp_path / "rows" / "_SUCCESS").write_text("")
    (tmp_path / "rows" / "a.csv").write_text("x\n1\n")
    (tmp_path / "rows" / "more" / "b.csv").write_text("x\n2\n")
    (tmp_path / "a.csv").write_bytes(b"x,y\r\n1,2\r\n")
    for name, md5 in (("a.csv", A_CSV), ("rows", ROWS_FOLDER)):
        (tmp_path / f"{name}.dvc").write_text(f"outs:\n- md5: {md5}\n  hash: md5\n  path: {name}\n")
    return tmp_path


A_CSV, ROWS_FOLDER = "ef4330228809c42919ada65a11393fd1", "1cbe697eac872e1809f31bf259e99bb1.dir"


@pytest.mark.parametrize(("name", "md5"), [("a.csv", A_CSV), ("rows/", ROWS_FOLDER)])
def test_the_hash_of_dvc_is_told_if_the_rows_have_it(tracked: Path, name: str, md5: str) -> None:
    assert describe(read_whole(Source(name, tracked), ["x"]).facts).endswith(f", DVC md5 {md5}")


@pytest.mark.parametrize("name", ["a.csv", "rows"])
def test_a_hash_of_dvc_that_the_rows_do_not_have_is_not_told_as_theirs(
    tracked: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    (tracked / ("a.csv" if name == "a.csv" else "rows/a.csv")).write_text("x,y\n3,4\n")
    said = describe({"files": [], **dvc_facts(tracked, name)})
    stale = A_CSV if name == "a.csv" else ROWS_FOLDER
    assert f"DVC md5 {stale}" not in said
    assert said.endswith(f", which is not the {stale} of {name}.dvc")
    assert f"{name}.dvc has the md5 {stale}, which is not that of {name}: " in caplog.text
    assert f"`dvc add {name}` renews it" in caplog.text


def test_what_is_no_dvc_file_is_told(folder: Path) -> None:
    (folder / "rows.dvc").write_text("md5: nothing")
    with pytest.raises(DataError, match=r"rows\.dvc is not a DVC file with one output and its md5"):
        read_whole(Source("rows", folder))


def test_one_part_is_told_by_its_version_and_many_by_a_digest() -> None:
    one = {"object": "s3://b/a.parquet", "bytes": 1, "etag": "e1", "version": None}
    assert describe({"objects": [one]}) == "object s3://b/a.parquet, etag e1"
    versioned = {**one, "version": "v1"}
    assert describe({"objects": [versioned]}) == "object s3://b/a.parquet, version v1"
    both, others = ([one, {**one, "object": "s3://b/b.parquet", "etag": etag}] for etag in ("e2", "e3"))
    assert describe({"objects": both}) != describe({"objects": others})
    assert describe({"delta": "rows", "version": 3}) == "Delta table rows, version 3"
    asked = {"query": "SELECT 1", "database": "SHOP", "as_of": "2025-01-01T00:00:00Z", "read_at": "now"}
    assert describe(asked) == "a query of SHOP (sha256 e004ebd5b553), read at now, as of 2025-01-01T00:00:00Z"


def test_the_identity_of_a_part_changes_with_what_is_in_it_alone(folder: Path) -> None:
    source = Source("rows", folder)
    parts_there = list_partitions(source)
    before = identities(source, parts_there)
    assert before.keys() == {"a", "b"}
    assert identities(source, parts_there[::-1]) == before
    pd.concat([ROWS, ROWS]).to_parquet(folder / "rows" / "a.parquet")
    after = identities(source, parts_there)
    assert (after["a"] != before["a"], after["b"] == before["b"]) == (True, True)
    (folder / "rows" / "a.parquet").unlink()
    with pytest.raises(DataError, match="a.parquet cannot be read"):
        identities(source, parts_there)


def test_a_version_of_a_delta_table_has_an_identity_and_a_query_has_none(folder: Path) -> None:
    table = Source("delta:rows", folder)
    first, second = (identities(table, [Partition("all", version)])["all"] for version in ("7", "8"))
    assert first != second
    assert identities(Source("sql:SELECT 1", folder, "URL"), [Partition("all", "")]) == {}
