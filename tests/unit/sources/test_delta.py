"""The rows of a Delta table: pinned to a version, and only what is wanted."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path

import pandas as pd
import pytest
from deltalake import write_deltalake

from podium.errors import DataError, PodiumError
from podium.settings import PROJECT_ROOT
from podium.sources.chunks import Source
from podium.sources.delta import INSTALL
from podium.sources.read import list_partitions, open_partition
from podium.sources.whole import read_whole

ROWS = pd.DataFrame(
    {"day": pd.to_datetime(["2025-01-01", "2025-02-01", None]), "x": [1, 2, 3], "y": ["a", "b", None]}
)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    write_deltalake(str(tmp_path / "sales"), ROWS)
    return tmp_path


def test_a_table_is_read_at_the_version_that_was_listed(home: Path) -> None:
    source = Source("delta:sales", home)
    (pinned,) = list_partitions(source)
    write_deltalake(str(home / "sales"), ROWS, mode="append")
    with open_partition(source, pinned, None) as reader:
        assert sum(len(chunk.rows) for chunk in reader.chunks) == 3
    table = read_whole(source)
    assert (len(table.rows), table.facts) == (6, {"delta": "sales", "version": 1})


def test_only_known_rows_and_wanted_columns_are_read(home: Path) -> None:
    source = Source("delta:sales", home, as_of=datetime(2025, 2, 1), time_column="day")
    table = read_whole(source, ["x"])
    assert table.rows.to_dict("list") == {"x": [1, 3]}
    assert table.columns == ("day", "x", "y")


def test_what_is_no_table_and_a_package_that_is_not_there_are_told(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DataError, match="delta:away: there is no Delta table"):
        read_whole(Source("delta:away", home))
    monkeypatch.setitem(sys.modules, "deltalake", None)
    with pytest.raises(PodiumError, match="the package deltalake is not installed: .venv/bin/uv pip install"):
        read_whole(Source("delta:sales", home))
    assert (PROJECT_ROOT / INSTALL.split()[-1]).is_file()
