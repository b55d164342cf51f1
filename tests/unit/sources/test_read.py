"""The partitions of a source: which files they are, and how they are called."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from podium.errors import DataError
from podium.sources.read import Source, list_partitions


def write(path: Path) -> None:
    """Write a table as the file's name says."""
    rows = pd.DataFrame({"x": [1.0, 2.0]})
    if path.suffix == ".parquet":
        rows.to_parquet(path, index=False)
    else:
        rows.to_csv(path, index=False)


def names(source: str, folder: Path, only: str = "*") -> list[str]:
    return [partition.name for partition in list_partitions(Source(source, folder), only)]


def test_each_file_of_a_folder_or_pattern_is_a_partition(tmp_path: Path) -> None:
    for place in ("in/day=1/a.csv", "in/day=2/a.parquet", "in/day=2/b.csv.gz", "in/_rejects/day=1.parquet"):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        write(tmp_path / place)
    (tmp_path / "in" / "notes.txt").write_text("no table")
    assert names("in", tmp_path) == ["day=1/a", "day=2/a", "day=2/b"]
    assert names("in", tmp_path, "day=2*") == ["day=2/a", "day=2/b"]
    assert names("in/*/a.*", tmp_path) == ["day=1/a", "day=2/a"]
    assert names("in/day=1/*.csv", tmp_path) == ["a"]
    assert names("in/day=2/b.csv.gz", tmp_path) == ["b"]
    write(tmp_path / "in" / "day=1" / "a.parquet")
    for source, only, message in (
        ("in", "*", "two partitions are called day=1/a, so one would replace the other"),
        ("in/day=2", "x*", "no partition is called x.; available: a, b"),
        ("in/*.csv", "*", "no file of .csv, .csv.gz, .parquet in"),
        ("away", "*", "there is no .*away"),
        ("in/notes.txt", "*", "notes.txt: allowed are .csv"),
    ):
        with pytest.raises(DataError, match=message):
            names(source, tmp_path, only)
