"""A look at a source reads no more rows than it must, and says which it has seen."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from deltalake import write_deltalake

from podium.sources import csv_file
from podium.sources.chunks import Source
from podium.sources.sample import read_sample
from podium.stack.layout import Layout
from support.database import execute


def rows(count: int, first: int = 0) -> pd.DataFrame:
    return pd.DataFrame({"x": range(first, first + count), "plan": ["a", "b"] * (count // 2)})


def written(table: pd.DataFrame, folder: Path, suffix: str) -> Source:
    write = {"csv": pd.DataFrame.to_csv, "parquet": pd.DataFrame.to_parquet}[suffix]
    write(table, folder / f"rows.{suffix}", index=False)
    return Source(f"rows.{suffix}", folder)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_of_a_small_source_all_rows_are_seen(tmp_path: Path, suffix: str) -> None:
    source = written(rows(10), tmp_path, suffix)
    sample = read_sample(source, 10)
    assert (sample.which, sample.rows["x"].tolist()) == ("", list(range(10)))
    assert str(sample.rows["x"].dtype) == "int64"


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_of_a_large_file_the_first_rows_are_seen(tmp_path: Path, suffix: str) -> None:
    source = written(rows(11_000), tmp_path, suffix)
    sample = read_sample(source, 10_000)
    assert (sample.which, sample.rows["x"].tolist()) == ("the first 10,000 rows", list(range(10_000)))


def test_of_many_parts_some_are_seen_from_the_first_to_the_last(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for place in range(250):
        rows(2, place * 2).to_csv(tmp_path / "in" / f"{place:03}.csv", index=False)
    sample = read_sample(Source("in", tmp_path), 200)
    assert sample.which == "200 rows, at most the first 2 of each of 100 of its 250 parts"
    assert sample.rows["x"].tolist()[:2] == [0, 1]
    assert sample.rows["x"].tolist()[-2:] == [498, 499]
    few = read_sample(Source("in/00[0-3].csv", tmp_path), 4)
    assert few.which == "4 rows, at most the first 1 of each of its 4 parts"
    assert read_sample(Source("in/00[0-3].csv", tmp_path), 8).which == ""


def test_of_a_large_csv_only_the_beginning_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_file, "_BLOCK_BYTES", 1000)
    # Whoever reads on comes to a row that stops every training.
    (tmp_path / "rows.csv").write_text("x\n" + "1\n" * 100_000 + "1,2,3\n")
    assert len(read_sample(Source("rows.csv", tmp_path), 100).rows) == 100


def test_a_query_and_a_delta_table_are_left_after_the_first_rows(
    tmp_path: Path, layout: Layout, empty_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = layout.database_url("ledger_owner", empty_database)
    monkeypatch.setenv("SHOP_DB_URL", url)
    execute(url, "CREATE TABLE shop AS SELECT x, 'name ' || x AS plan FROM generate_series(0, 999999) AS x")
    sample = read_sample(Source("sql:SELECT * FROM shop ORDER BY x", tmp_path, "SHOP_DB_URL"), 1000)
    assert (sample.which, sample.rows["x"].tolist()) == ("the first 1,000 rows", list(range(1000)))
    write_deltalake(str(tmp_path / "many"), rows(50_000))
    sample = read_sample(Source("delta:many", tmp_path), 1000)
    assert (sample.which, len(sample.rows)) == ("the first 1,000 rows", 1000)
