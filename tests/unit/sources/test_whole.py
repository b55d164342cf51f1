"""Whole tables, as training reads them, and the same files as batch scoring reads them: one verdict."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
from dataclasses import replace
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from podium.errors import DataError
from podium.sources.parts import read_part
from podium.sources.read import Reader, Source, open_partition, the_only_partition
from podium.sources.whole import WholeTable, inferred, read_whole
from podium.training.data_version import content_digest


def whole(folder: Path, text: str | bytes, name: str = "rows.csv") -> WholeTable:
    data = text.encode() if isinstance(text, str) else text
    (folder / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return read_whole(Source(name, folder))


def scored(folder: Path, name: str = "rows.csv", rows: int = 2) -> tuple[dict[str, list[bytes]], list[int]]:
    """The rows that batch scoring would take, in chunks, and the numbers of those that it would reject."""
    source = Source(name, folder, chunk_rows=rows)
    with open_partition(source, the_only_partition(source), None) as reader:
        chunks = list(reader.chunks)
    rejected = [number for chunk in chunks for number, _ in chunk.unreadable]
    return pa.concat_tables([chunk.rows for chunk in chunks]).to_pydict(), rejected


ALLOCATOR = "ARROW_DEFAULT_MEMORY_POOL"
TRAILING = "room,out,hours\n21.5,6.0,7.5,\n20.9,5.0,12.0,\n21.1,4.0,3.0,\n"


@pytest.mark.parametrize("name", ["rows.csv", "rows.csv.gz"])
def test_an_empty_column_behind_the_header_is_left_out_and_counted(tmp_path: Path, name: str) -> None:
    table = whole(tmp_path, TRAILING, name)
    assert (table.short, table.dropped) == (0, 1)
    rows = inferred(table.rows, table.text)
    assert rows.to_dict("list") == {"room": [21.5, 20.9, 21.1], "out": [6, 5, 4], "hours": [7.5, 12, 3]}
    assert scored(tmp_path, name) == (
        {
            "room": [b"21.5", b"20.9", b"21.1"],
            "out": [b"6.0", b"5.0", b"4.0"],
            "hours": [b"7.5", b"12.0", b"3.0"],
        },
        [],
    )


@pytest.mark.parametrize(
    ("text", "dropped"),
    [
        ("a,b\n1,2,,\n3,4,,\n", 2),
        ("a,b,\n1,2,\n3,4,\n", 1),
        ("a,b,\n1,2\n3,4\n", 1),
        ("a,b,,\n1,2,,\n3,4,,\n", 2),
        ("\ufeffa,b\r\n1,2,\r\n\r\n3,4,\r\n", 1),
        ("a,b\r1,2\r3,4\r", 0),
        ("\n\na,b\n1,2\n\n3,4", 0),
    ],
)
def test_columns_stay_where_they_are_however_lines_end(tmp_path: Path, text: str, dropped: int) -> None:
    table = whole(tmp_path, text)
    assert inferred(table.rows, table.text).to_dict("list") == {"a": [1, 3], "b": [2, 4]}
    assert (table.dropped, scored(tmp_path)) == (dropped, ({"a": [b"1", b"3"], "b": [b"2", b"4"]}, []))


@pytest.mark.parametrize(
    ("text", "message", "rejected"),
    [
        (
            "a,b\n1,2\n3,4,5\n6,7\n8,9,9\n",
            r"rows.csv: row 2 has 3 fields, and there are 2 columns; 2 such",
            [2, 4],
        ),
        # R's row names: each row has one field more, and none is empty.
        ("a,b\nx,1,2\ny,3,4\n", r"row 1 has 3 fields, and there are 2 columns; 2 such rows", [1, 2]),
        # A separator in a text that nobody quoted, beside rows without one.
        ("a,b\nhello, world,\nhi,5\n", r"row 1 has 3 fields, .* 1 such rows.* The row: hello, world,", [1]),
        ("a,b\n1,2,\n3,4,\n5,6,7\n", r"row 1 has 3 fields, and there are 2 columns; 3 such rows", [1, 2, 3]),
    ],
)
def test_a_row_with_more_fields_is_refused_by_row_and_never_shifted(
    tmp_path: Path, text: str, message: str, rejected: list[int]
) -> None:
    with pytest.raises(DataError, match=message):
        whole(tmp_path, text)
    assert scored(tmp_path)[1] == rejected


def test_a_row_with_fewer_fields_is_counted_and_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    table = whole(tmp_path, "a,b,c\n1,2,3\n4,5\n\n7,8,9\n10\n")
    assert (table.short, table.rows["a"].tolist()) == (2, ["1", "7"])
    assert "rows.csv: row 2 has 2 fields, and there are 3 columns; 2 such rows are left out." in caplog.text
    assert scored(tmp_path) == ({"a": [b"1", b"7"], "b": [b"2", b"8"], "c": [b"3", b"9"]}, [2, 4])


def test_words_that_are_taken_as_missing_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        table = whole(tmp_path, "country,x\nNA,1\nDE,\nNA,null\n,NAN\n")
    assert table.rows["country"].isna().tolist() == [True, False, True, True]
    assert "rows.csv: words that are taken as missing: 2 of country (NA); 1 of x (null)." in caplog.text


@pytest.mark.parametrize("text", ['a,b\n1,2\n"3,4\n5,6\n7,8\n', 'a,b\n1,2\n3,"4\n5,6\n7,8\n'])
def test_a_quote_that_is_not_closed_swallows_no_rows(tmp_path: Path, text: str) -> None:
    with pytest.raises(DataError, match=r"rows.csv: a quote is opened in .*row.* and not closed"):
        whole(tmp_path, text)
    with pytest.raises(DataError, match=r"a quote is opened"):
        scored(tmp_path)


@pytest.mark.parametrize("before", ["", "3,4\n" * 2_000_000])
def test_a_quote_that_is_not_closed_in_a_long_file_is_told_too(tmp_path: Path, before: str) -> None:
    text = f'a,b\n1,2\n{before}"3,4\n' + "5,6\n" * 2_000_000
    with pytest.raises(
        DataError, match="rows.csv: (a row is longer than 4 MB: )?a quote is opened .*not closed"
    ):
        whole(tmp_path, text)


def test_a_quoted_text_may_go_on_over_lines_and_hold_quotes(tmp_path: Path) -> None:
    table = whole(tmp_path, 'a,b\n1,"two\nlines, ""x"""\n2,5" pipe\n"3","end\n"\n')
    assert table.rows["b"].tolist() == ['two\nlines, "x"', '5" pipe', "end\n"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b,a\n1,2,3\n", "rows.csv: column 'a' appears twice"),
        ("", "rows.csv cannot be read"),
        ("a,\u00e9\n1,2\n".encode("utf-16"), "rows.csv: the names of its columns are not in UTF-8"),
        (
            "a,b\n1,caf\u00e9\n".encode("latin-1"),
            r"rows.csv cannot be read: column b: b'caf\\xe9' is not a text in UTF-8",
        ),
    ],
)
def test_a_csv_that_cannot_be_read_is_named(tmp_path: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        whole(tmp_path, text)


def test_a_header_alone_is_a_table_without_rows(tmp_path: Path) -> None:
    table = whole(tmp_path, "a,b\n")
    assert (list(inferred(table.rows, table.text)), len(table.rows)) == (["a", "b"], 0)


def test_a_first_column_is_no_index_and_a_nameless_one_has_its_place_for_a_name(tmp_path: Path) -> None:
    pd.DataFrame({"x": ["p", "q"]}).to_csv(tmp_path / "rows.csv")
    table = read_whole(Source("rows.csv", tmp_path))
    assert table.rows.to_dict("list") == {"Unnamed: 0": ["0", "1"], "x": ["p", "q"]}
    assert list(scored(tmp_path)[0]) == ["Unnamed: 0", "x"]


def test_types_are_those_of_the_values_and_numbers_are_read_to_the_last_bit(tmp_path: Path) -> None:
    numbers = np.random.default_rng(0).normal(size=1000)
    pd.DataFrame({"x": numbers, "self": "NA", "n": range(1000)}).to_csv(tmp_path / "rows.csv", index=False)
    table = read_whole(Source("rows.csv", tmp_path))
    rows = inferred(table.rows, table.text)
    assert (rows["x"] == numbers).all()
    assert rows["self"].isna().all()
    assert rows["n"].dtype == np.int64


@pytest.mark.parametrize(
    ("index", "expected"),
    [
        (pd.Index(["p", "q", "r"], name="id"), ["p", "q", "r"]),
        (pd.RangeIndex(10, 16, 2, name="id"), [10, 12, 14]),
    ],
)
def test_a_named_index_of_a_parquet_file_is_a_column(
    tmp_path: Path, index: pd.Index, expected: list[object]
) -> None:
    pd.DataFrame({"x": [1, 2, 3]}, index=index).to_parquet(tmp_path / "rows.parquet")
    assert read_whole(Source("rows.parquet", tmp_path)).rows.to_dict("list") == {
        "x": [1, 2, 3],
        "id": expected,
    }
    assert scored(tmp_path, "rows.parquet")[0] == {"x": [1, 2, 3], "id": expected}


def test_an_unnamed_index_of_a_parquet_file_is_no_column(tmp_path: Path) -> None:
    pd.DataFrame({"x": [1, 2]}, index=["p", "q"]).to_parquet(tmp_path / "rows.parquet")
    assert list(read_whole(Source("rows.parquet", tmp_path)).rows) == ["x"]
    assert list(scored(tmp_path, "rows.parquet")[0]) == ["x"]


def write(path: Path, rows: pd.DataFrame) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows.to_parquet(path, index=False) if path.suffix == ".parquet" else rows.to_csv(path, index=False)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_folder_of_parts_is_one_table_and_its_folders_are_columns(tmp_path: Path, suffix: str) -> None:
    write(tmp_path / f"in/year=2024/city=K%C3%B6ln/a.{suffix}", pd.DataFrame({"x": [1, 2], "t": ["p", "q"]}))
    write(tmp_path / f"in/year=2025/city=07/a.{suffix}", pd.DataFrame({"t": ["r"], "x": [3]}))
    missing = "__HIVE_DEFAULT_PARTITION__"
    write(tmp_path / f"in/year=2025/city={missing}/b.{suffix}", pd.DataFrame({"x": [4], "t": ["s"]}))
    table = read_whole(Source("in", tmp_path))
    rows = inferred(table.rows, table.text)
    assert rows["x"].tolist() == [1, 2, 3, 4]
    assert rows["t"].tolist() == ["p", "q", "r", "s"]
    assert rows["year"].tolist() == [2024, 2024, 2025, 2025]
    assert rows["city"].isna().tolist() == [False, False, False, True]
    assert rows["city"].tolist()[:3] == ["K\u00f6ln", "K\u00f6ln", "07"]
    found, _ = scored(tmp_path, f"in/year=2025/city=07/a.{suffix}")
    assert (found["year"], found["city"]) == ([b"2025"], [b"07"])


def reader_of(folder: Path, name: str, wanted: list[str]) -> Reader:
    source = Source(name, folder)
    with open_partition(source, the_only_partition(source), wanted) as reader:
        return Reader(reader.columns, iter(list(reader.chunks)))


def test_of_a_folder_only_what_is_wanted_is_read(tmp_path: Path) -> None:
    write(tmp_path / "in/day=3/a.parquet", pd.DataFrame({"x": [1], "y": [2]}))
    reader = reader_of(tmp_path, "in/day=3/a.parquet", ["x"])
    assert (list(reader.columns), [chunk.rows.column_names for chunk in reader.chunks]) == (
        ["x", "y", "day"],
        [["x"]],
    )
    reader = reader_of(tmp_path, "in", ["day"])
    assert [chunk.rows.to_pydict() for chunk in reader.chunks] == [{"x": [1], "day": [b"3"]}]


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_key_that_is_a_column_too_must_say_the_same(tmp_path: Path, suffix: str) -> None:
    write(tmp_path / f"in/day=3/a.{suffix}", pd.DataFrame({"day": [3, 3], "x": [1, 2]}))
    assert inferred(read_whole(Source("in", tmp_path)).rows, ["day"] if suffix == "csv" else [])[
        "day"
    ].tolist() == [
        3,
        3,
    ]
    write(tmp_path / f"in/day=4/a.{suffix}", pd.DataFrame({"day": [4, 3], "x": [1, 2]}))
    with pytest.raises(DataError, match=r"day=4/a\.\w+: its folder says that day is '4', and its own column"):
        read_whole(Source("in", tmp_path))
    (tmp_path / f"in/day=4/a.{suffix}").unlink()
    write(tmp_path / f"in/day=5/day=6/a.{suffix}", pd.DataFrame({"x": [1]}))
    with pytest.raises(DataError, match="two of its folders say day=; one of them must go"):
        read_whole(Source("in", tmp_path))


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_parts_have_the_same_columns(tmp_path: Path, suffix: str) -> None:
    write(tmp_path / f"in/a.{suffix}", pd.DataFrame({"x": [1], "y": [1]}))
    write(tmp_path / f"in/b.{suffix}", pd.DataFrame({"x": [2]}))
    with pytest.raises(DataError, match=r"b\.\w+ has no column 'y', which .*a\.\w+ has"):
        read_whole(Source("in", tmp_path))
    write(tmp_path / f"in/b.{suffix}", pd.DataFrame({"x": [2], "y": [1], "z": [1]}))
    with pytest.raises(DataError, match=r"a\.\w+ has no column 'z', which .*b\.\w+ has"):
        read_whole(Source("in", tmp_path))


def test_parts_may_be_of_types_that_hold_each_other_and_of_no_others(tmp_path: Path) -> None:
    def part(name: str, column: pa.Array) -> None:
        (tmp_path / "in").mkdir(exist_ok=True)
        pq.write_table(pa.table({"x": column}), tmp_path / "in" / f"{name}.parquet")

    part("a", pa.array([1, 2]))
    part("b", pa.array([0.5, None]))
    part("c", pa.nulls(1))
    assert read_whole(Source("in", tmp_path)).rows["x"].dropna().tolist() == [1.0, 2.0, 0.5]
    part("a", pa.array(["p", "q"]).dictionary_encode())
    part("b", pa.array(["r"]).dictionary_encode())
    assert read_whole(Source("in", tmp_path)).rows["x"].tolist()[:3] == ["p", "q", "r"]
    part("b", pa.array(["r"]))
    assert read_whole(Source("in", tmp_path)).rows["x"].tolist()[:3] == ["p", "q", "r"]
    part("b", pa.array([date(2025, 1, 1)]))
    with pytest.raises(DataError, match=r"column x is string in .*a.parquet and date32.day. in .*b.parquet"):
        read_whole(Source("in", tmp_path))


def test_parts_between_which_others_fit_are_named_too(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name, column in {"a": pa.nulls(1), "b": pa.array([1]), "c": pa.array(["x"])}.items():
        pq.write_table(pa.table({"x": column}), tmp_path / "in" / f"{name}.parquet")
    with pytest.raises(DataError, match=r"column x is int64 in .*b.parquet and string in .*c.parquet"):
        read_whole(Source("in", tmp_path))


def test_no_whole_number_is_changed_by_parts_that_hold_floats(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name, column in {"a": pa.array([2**53 + 1]), "b": pa.array([0.5])}.items():
        pq.write_table(pa.table({"x": column}), tmp_path / "in" / f"{name}.parquet")
    with pytest.raises(DataError, match=r"from .*a.parquet to .*b.parquet have no types in common that hold"):
        read_whole(Source("in", tmp_path))


def test_the_numbers_of_rows_count_those_that_small_chunks_left_out(tmp_path: Path) -> None:
    day = pa.array([date(2025, 1, 1 + place % 3) for place in range(90)])
    rows = pa.table({"day": day, "x": list(range(90))})
    pq.write_table(rows, tmp_path / "rows.parquet", row_group_size=7)
    source = Source("rows.parquet", tmp_path, as_of=datetime(2025, 1, 3), time_column="day")
    table = read_whole(source)
    assert (table.later, table.rows.index.tolist()) == (30, table.rows["x"].tolist())


def test_a_name_that_a_parquet_file_has_twice_is_named(tmp_path: Path) -> None:
    pq.write_table(pa.table([[1], [2], [3]], names=["x", "y", "x"]), tmp_path / "rows.parquet")
    with pytest.raises(DataError, match=r"rows.parquet: column 'x' appears twice"):
        read_whole(Source("rows.parquet", tmp_path))


def test_csv_and_parquet_are_not_mixed(tmp_path: Path) -> None:
    write(tmp_path / "in/a.csv", pd.DataFrame({"x": [1]}))
    write(tmp_path / "in/b.parquet", pd.DataFrame({"x": [1]}))
    with pytest.raises(
        DataError, match=r"a.csv and .*b.parquet are parts of one source, and must be files of"
    ):
        read_whole(Source("in", tmp_path))


def test_row_groups_that_are_later_are_not_read_and_the_others_keep_their_places(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    days = pd.date_range("2025-01-01", periods=12)
    rows = pd.DataFrame({"day": [*days[6:9], *days[:3], *days[9:], *days[3:6]], "x": range(12)})
    rows.to_parquet(tmp_path / "rows.parquet", row_group_size=3)
    groups: list[int] = []
    read = pq.ParquetFile.read_row_group
    monkeypatch.setattr(
        pq.ParquetFile,
        "read_row_group",
        lambda file, group, **options: (groups.append(group), read(file, group, **options))[1],
    )
    source = Source("rows.parquet", tmp_path, as_of=datetime(2025, 1, 7), time_column="day")
    table = read_whole(source, ["x", "day"])
    assert groups == [1, 3]
    assert (table.rows["x"].tolist(), table.rows.index.tolist()) == (
        [3, 4, 5, 9, 10, 11],
        [3, 4, 5, 9, 10, 11],
    )
    assert table.later == 6
    with open_partition(replace(source, chunk_rows=2), the_only_partition(source), ["x", "day"]) as reader:
        chunks = list(reader.chunks)
    assert [number for chunk in chunks for number in chunk.numbers] == [4, 5, 6, 10, 11, 12]
    assert sum(chunk.later for chunk in chunks) == 6


@pytest.mark.parametrize("zone", [None, "UTC", "Asia/Tokyo"])
@pytest.mark.parametrize("unit", ["s", "ns"])
def test_moments_are_compared_in_utc_and_rows_without_one_stay(
    tmp_path: Path, zone: str | None, unit: str
) -> None:
    times = pd.Series(pd.to_datetime(["2025-01-06 00:00:00", None, "2025-01-05 23:59:59"])).dt.as_unit(unit)
    moments = times if zone is None else times.dt.tz_localize("UTC").dt.tz_convert(zone)
    for size in (1, 2, 9):
        pd.DataFrame({"day": moments, "x": range(3)}).to_parquet(
            tmp_path / "rows.parquet", row_group_size=size
        )
        source = Source("rows.parquet", tmp_path, as_of=datetime(2025, 1, 6), time_column="day")
        table = read_whole(source)
        assert (table.rows["x"].tolist(), table.later) == ([1, 2], 1)


def test_zones_that_differ_between_parts_are_brought_to_utc_and_none_is_made_up(tmp_path: Path) -> None:
    moments = pd.Series(pd.to_datetime(["2025-01-01 12:00"])).dt.tz_localize("UTC")
    for name, zone in (("a", "UTC"), ("b", "Asia/Tokyo"), ("c", "-05:00")):
        write(tmp_path / f"in/{name}.parquet", pd.DataFrame({"at": moments.dt.tz_convert(zone)}))
    assert read_whole(Source("in", tmp_path)).rows["at"].tolist() == [moments[0]] * 3
    write(tmp_path / "in/d.parquet", pd.DataFrame({"at": moments.dt.tz_localize(None)}))
    with pytest.raises(
        DataError, match=r"column at is timestamp.* in .*a.parquet and timestamp.* in .*d.parquet"
    ):
        read_whole(Source("in", tmp_path))


@pytest.mark.parametrize("place", [0, 4, -200])
def test_a_part_that_cannot_be_read_is_named(tmp_path: Path, place: int) -> None:
    for name in "abc":
        write(tmp_path / f"in/{name}.parquet", pd.DataFrame({"x": np.random.default_rng(0).normal(size=999)}))
    broken = tmp_path / "in" / "b.parquet"
    whole = broken.read_bytes()
    broken.write_bytes(whole[:place] + b"\xff" * 60 + whole[place:][60:] if place else whole[:-1])
    with pytest.raises(DataError, match=r"in/b\.parquet cannot be read"):
        read_whole(Source("in", tmp_path))


def test_only_wanted_columns_of_a_csv_are_kept_and_all_are_named(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("a,b,c\n1,2,3\n")
    table = read_whole(Source("rows.csv", tmp_path), ["c", "a", "z"])
    assert (table.rows.to_dict("list"), table.columns) == ({"a": ["1"], "c": ["3"]}, ("a", "b", "c"))


@pytest.mark.parametrize(
    "column",
    [
        pa.array([1, None, 3], pa.int16()),
        pa.array(["p", None, "p"]).dictionary_encode(),
        pa.array([Decimal("1.10"), None, Decimal("2.25")], pa.decimal128(9, 2)),
        pa.array([[1, 2], None, []], pa.list_(pa.int32())),
        pa.array([True, None, False]),
        pa.array([date(2025, 1, 1), None, date(2025, 1, 2)]),
    ],
    ids=lambda column: str(column.type),
)
def test_odd_types_are_read_and_have_one_version_over_parts_and_in_one_file(
    tmp_path: Path, column: pa.Array
) -> None:
    (tmp_path / "in").mkdir()
    pq.write_table(pa.table({"x": column}), tmp_path / "all.parquet")
    for place in (2, 0, 1):
        pq.write_table(pa.table({"x": column[place : place + 1]}), tmp_path / "in" / f"{2 - place}.parquet")
    one, parts = (read_whole(Source(source, tmp_path)).rows for source in ("all.parquet", "in"))
    assert content_digest({"": one}) == content_digest({"": parts})
    assert content_digest({"": one}) != content_digest({"": one.iloc[[0, 0, 0]]})


@pytest.mark.parametrize(("given", "taken"), [({}, "system"), ({ALLOCATOR: "mimalloc"}, "mimalloc")])
def test_arrow_gives_memory_back_unless_somebody_chose_another_allocator(
    given: dict[str, str], taken: str
) -> None:
    others = {name: value for name, value in os.environ.items() if name != ALLOCATOR}
    program = "import podium, pyarrow; print(pyarrow.default_memory_pool().backend_name)"
    done = subprocess.run(
        [sys.executable, "-c", program], env={**others, **given}, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == taken


def test_small_chunks_become_large_pieces(tmp_path: Path) -> None:
    csv = "".join(f"{place},{'x' * 90}\n" for place in range(100_000))
    (tmp_path / "rows.csv").write_text(f"n,text\n{csv}")
    source = replace(Source("rows.csv", tmp_path), chunk_rows=1000)
    part = read_part(source, the_only_partition(source), None)
    assert (len(part.rows), part.rows.column("text").num_chunks) == (100_000, 1)
