"""The rows of a Delta table: pinned to a version, and only what is wanted."""

from __future__ import annotations

import sys
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
from deltalake import write_deltalake

from podium.errors import DataError, Outage, PodiumError
from podium.sources.chunks import Source
from podium.sources.delta import _delta_errors
from podium.sources.read import list_partitions, open_partition
from podium.sources.whole import read_whole
from support.delta_tables import delete_by_vector, rename_columns, require

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


def test_every_kind_of_column_comes_as_it_was_written(tmp_path: Path) -> None:
    moments = [datetime(2025, 1, 1), datetime(2025, 2, 1), None]
    written = pa.table(
        {
            "Day": pa.array([date(2025, 1, 1), date(2025, 2, 1), None]),
            "at": pa.array(moments, pa.timestamp("us", "UTC")),
            "no zone": pa.array(moments, pa.timestamp("us")),
            "price": pa.array([Decimal("1.25"), None, Decimal("2.50")]),
            "tags": [["a"], [], None],
            "inside": pa.array([{"k": "v"}] * 3),
            'odd "name"': ["a", "b", None],
            "place": ["u", "v", "w"],
        }
    )
    write_deltalake(str(tmp_path / "kinds"), written, partition_by=["place"])
    for time in (None, "Day", "at", "no zone"):
        source = Source("delta:kinds", tmp_path, as_of=datetime(2025, 2, 1), time_column=time)
        with open_partition(source, list_partitions(source)[0], None) as reader:
            read = pa.concat_tables([chunk.rows for chunk in reader.chunks])
        expected = written if time is None else written.take([0, 2])
        assert read.sort_by("place").to_pylist() == expected.to_pylist()
        assert {name: str(read.schema.field(name).type) for name in written.column_names} == {
            name: str(written.schema.field(name).type).replace("item:", "element:")
            for name in written.column_names
        }


def test_rows_come_in_the_same_order_each_time(tmp_path: Path) -> None:
    for place in range(8):
        rows = pd.DataFrame({"x": range(place * 10_000, (place + 1) * 10_000)})
        write_deltalake(str(tmp_path / "many"), rows, mode="append")
    first, second = (read_whole(Source("delta:many", tmp_path)).rows["x"].tolist() for _ in range(2))
    assert first == second
    assert sorted(first) == list(range(80_000))


def test_rows_that_a_deletion_vector_deletes_are_not_read(home: Path) -> None:
    delete_by_vector(home / "sales", [1])
    assert read_whole(Source("delta:sales", home)).rows["x"].tolist() == [1, 3]


def test_columns_that_were_renamed_are_read_by_their_new_names(home: Path) -> None:
    rename_columns(home / "sales", {"x": "count"})
    table = read_whole(Source("delta:sales", home), ["count"])
    assert (table.columns, table.rows["count"].tolist()) == (("day", "count", "y"), [1, 2, 3])


def test_a_feature_that_cannot_be_read_is_refused_with_the_way_out(home: Path) -> None:
    require(home / "sales", ["typeWidening", "timestampNtz"])
    with pytest.raises(DataError, match=r"delta:sales cannot be read: .*TypeWidening.* through the database"):
        read_whole(Source("delta:sales", home))


def test_a_file_of_the_table_that_is_gone_or_broken_is_told(home: Path) -> None:
    (file,) = (home / "sales").glob("*.parquet")
    file.write_bytes(b"PAR1 nothing PAR1")
    with pytest.raises(DataError, match=rf"delta:sales cannot be read: .*{file.name}"):
        read_whole(Source("delta:sales", home))
    file.unlink()
    with pytest.raises(DataError, match=r"delta:sales cannot be read: .*not found"):
        read_whole(Source("delta:sales", home))


def test_a_store_that_does_not_answer_is_an_outage(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (
        ("ENDPOINT_URL", "http://127.0.0.1:1"),
        ("ACCESS_KEY_ID", "a"),
        ("SECRET_ACCESS_KEY", "b"),
    ):
        monkeypatch.setenv(f"AWS_{name}", value)
    with pytest.raises(Outage, match=r"^delta:s3://away/rows: the store did not answer: [^\x1b]+$"):
        list_partitions(Source("delta:s3://away/rows", home))


def test_a_store_that_ends_while_rows_are_read_is_an_outage_too() -> None:
    # As the query engine tells it.
    said = "External error: Object Store error: Generic S3 error: Error performing GET http://store/x"
    outage = pytest.raises(Outage, match="the store did not answer: .*Error performing GET")
    with outage, _delta_errors(Source("delta:s3://rows/x", Path())):
        raise pa.ArrowInvalid(said)


def test_what_is_no_table_and_a_package_that_is_not_there_are_told(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DataError, match="delta:away: there is no Delta table"):
        read_whole(Source("delta:away", home))
    monkeypatch.setitem(sys.modules, "deltalake", None)
    with pytest.raises(PodiumError, match="deltalake is not installed. Install it: .*requirements-delta.txt"):
        read_whole(Source("delta:sales", home))
