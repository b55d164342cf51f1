from __future__ import annotations

import copy
import re
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from podium.errors import DataError, PodiumError, SpecError, TrainerError
from podium.model_file.loading import load_spec
from podium.model_file.spec import ModelSpec
from podium.training.data import load_window, parse_times
from podium.training.new_model import NewModel, write_model
from support import toy_trainer

AS_OF = datetime(2025, 6, 1, tzinfo=UTC)


def test_rows_are_split_by_time_and_none_is_from_the_future(toy_spec: ModelSpec, tmp_path: Path) -> None:
    window = load_window(toy_spec, AS_OF, tmp_path)
    assert window.holdout.time.max() == pd.Timestamp("2025-05-31")
    assert window.holdout.time.min() == pd.Timestamp("2025-02-21")
    assert window.train.time.max() == pd.Timestamp("2025-02-20")
    assert len(window.holdout) == 100


@pytest.mark.parametrize(("resolution", "newest"), [("day", "2025-05-31"), ("moment", "2025-06-01")])
def test_a_day_that_is_not_over_is_not_known(
    toy_file: Callable[..., Path], toy_spec: ModelSpec, tmp_path: Path, resolution: str, newest: str
) -> None:
    spec = load_spec(toy_file(name=toy_spec.name, data__time_resolution=resolution))
    window = load_window(spec, AS_OF.replace(hour=6), tmp_path)
    assert window.holdout.time.max() == pd.Timestamp(newest)


def test_the_data_version_is_of_the_rows_known_then(toy_spec: ModelSpec, tmp_path: Path) -> None:
    first = load_window(toy_spec, AS_OF, tmp_path).version
    rows = pd.read_csv(tmp_path / "toy.csv")
    later = pd.DataFrame({"day": ["2026-01-01"], "x": ["unknown"], "y": [None]})
    pd.concat([rows, later]).to_csv(tmp_path / "toy.csv", index=False)
    assert load_window(toy_spec, AS_OF, tmp_path).version == first
    rows.loc[3, "x"] += 1e-9
    rows.to_csv(tmp_path / "toy.csv", index=False)
    assert load_window(toy_spec, AS_OF, tmp_path).version != first


def test_parquet_is_read_as_csv_is(
    toy_file: Callable[..., Path], toy_spec: ModelSpec, tmp_path: Path
) -> None:
    pd.read_csv(tmp_path / "toy.csv").to_parquet(tmp_path / "toy.parquet")
    spec = load_spec(toy_file(data__source="toy.parquet"))
    assert load_window(spec, AS_OF, tmp_path).train.inputs.equals(
        load_window(toy_spec, AS_OF, tmp_path).train.inputs
    )


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"data__source": "none.csv"}, DataError, "data.source: there is no file .*none.csv"),
        ({"data__time_column": "date"}, DataError, "toy.csv: no column 'date'; available: day, x, y"),
        (
            {"data__time_column": "y"},
            DataError,
            "column y: row 0 'no' is not a moment in ISO8601; 600 such rows",
        ),
        ({"data__label": "z"}, DataError, "toy.csv: no column 'z'; available: day, x, y"),
        ({"data__inputs": ["x", "w"]}, DataError, "toy.csv: no column 'w'"),
        ({"holdout__days": 9999}, DataError, "no training rows as of 2025-06-01"),
        ({"data__examples": "support.toy_trainer:nothing"}, TrainerError, "has no function 'nothing'"),
        ({"data__examples": "support.toy_trainer:with_a_column_twice"}, TrainerError, "the column 'x' twice"),
        ({"data__examples": "no_such_module:f"}, TrainerError, "cannot be imported: No module named"),
    ],
)
def test_unusable_data_is_explained(
    toy_file: Callable[..., Path],
    toy_spec: ModelSpec,
    tmp_path: Path,
    changes: dict[str, Any],
    error: type[PodiumError],
    message: str,
) -> None:
    (tmp_path / "toy.xlsx").touch()
    spec = load_spec(toy_file(**changes))
    with pytest.raises(error, match=message):
        load_window(spec, AS_OF, tmp_path)


@pytest.mark.parametrize("content", [b"", b"day,x,y\n1,2,3,4,5\n", b"\x1f\x8bnot gzip"])
def test_a_file_that_is_no_table_is_named(toy_spec: ModelSpec, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "toy.csv").write_bytes(content)
    with pytest.raises(DataError, match="toy.csv"):
        load_window(toy_spec, AS_OF, tmp_path)


def test_numbers_may_be_labels(toy_file: Callable[..., Path], toy_spec: ModelSpec, tmp_path: Path) -> None:
    rows = pd.read_csv(tmp_path / "toy.csv")
    rows.assign(y=(rows.y == "yes").astype(int)).to_csv(tmp_path / "toy.csv", index=False)
    spec = load_spec(toy_file(name=toy_spec.name, labels=["0", "1"]))
    assert set(load_window(spec, AS_OF, tmp_path).train.label) == {"0", "1"}


def test_a_missing_label_is_named(toy_spec: ModelSpec, tmp_path: Path) -> None:
    rows = pd.read_csv(tmp_path / "toy.csv")
    rows.loc[5, "y"] = None
    rows.to_csv(tmp_path / "toy.csv", index=False)
    with pytest.raises(DataError, match="column y: row 5 has no label"):
        load_window(toy_spec, AS_OF, tmp_path)


def test_a_missing_time_is_named(toy_spec: ModelSpec, tmp_path: Path) -> None:
    rows = pd.read_csv(tmp_path / "toy.csv")
    rows.loc[5, "day"] = None
    rows.to_csv(tmp_path / "toy.csv", index=False)
    with pytest.raises(DataError, match="column day: row 5 is empty"):
        load_window(toy_spec, AS_OF, tmp_path)


WARTS = [
    "id,title,severity,reported",
    "1,crash on save,HIGH,2025-01-02",
    "1,crash on save,HIGH,2025-01-02",
    "2,wrong colour,minor,03/01/2025",
    "3,no severity,,2025-01-04",
    "4,who knows,banana,2025-01-05",
    "5,no date,Major,someday",
    "6,from the future,Major,2031-01-01",
    *(
        f"{number},bug {number},{('blocker', 'major', 'low')[number % 3]},2025-02-03"
        for number in range(7, 40)
    ),
]
FORGIVING = {
    "labels": ["Critical", "Major", "Minor"],
    "data": {
        "source": "bugs.csv",
        "time_column": "reported",
        "time_formats": ["ISO8601", "%d/%m/%Y"],
        "label": "severity",
        "label_map": {
            "high": "Critical",
            "blocker": "Critical",
            "major": "Major",
            "minor": "Minor",
            "low": "Minor",
        },
        "inputs": ["title"],
        "undated": "drop",
        "unlabelled": "drop",
        "unknown_labels": "drop",
        "duplicates": "drop",
    },
    "holdout": {"share": 0.3},
}


@pytest.fixture
def bugs(toy_file: Callable[..., Path], tmp_path: Path) -> Callable[..., ModelSpec]:
    """A source with every wart, and a model file that forgives them, with changes."""
    (tmp_path / "bugs.csv").write_text("\n".join(WARTS), encoding="utf-8-sig")

    def spec(**changes: Any) -> ModelSpec:
        return load_spec(toy_file(**{**copy.deepcopy(FORGIVING), **changes}))

    return spec


def test_every_wart_is_counted_and_none_crashes(bugs: Callable[..., ModelSpec], tmp_path: Path) -> None:
    window = load_window(bugs(), AS_OF, tmp_path)
    assert asdict(window.report) == {
        "read": 40,
        "short": 0,
        "later": 1,
        "undated": 1,
        "duplicated": 1,
        "unlabelled": 1,
        "unknown_labels": 1,
        "examples": 35,
        "counted": {},
    }
    assert window.report.describe() == (
        "40 rows read, 1 later, 1 undated, 1 duplicated, 1 unlabelled, 1 unknown labels left out, 35 examples"
    )
    together = pd.concat([window.train.label, window.holdout.label])
    assert set(together) == {"Critical", "Major", "Minor"}
    dated = pd.concat([window.train.time, window.holdout.time])
    assert pd.Timestamp("2025-01-03") in set(dated)
    assert set(window.train.others) == {"id"}


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("undated", "column reported: row 5 'someday' is not a moment in ISO8601 or %d/%m/%Y; 1 such rows"),
        ("unlabelled", "row 2 has no label; 1 such rows. data.unlabelled: drop leaves them out"),
        ("unknown_labels", "row 2 has the label 'banana'; 1 such rows. data.unknown_labels: drop leaves"),
    ],
)
def test_a_wart_that_the_file_does_not_forgive_is_named(
    bugs: Callable[..., ModelSpec], tmp_path: Path, key: str, message: str
) -> None:
    spec = bugs(data={**FORGIVING["data"], key: "fail"})  # type: ignore[dict-item]
    with pytest.raises(DataError, match=re.escape(message)):
        load_window(spec, AS_OF, tmp_path)


def test_a_share_is_chosen_by_content_so_a_row_stays_on_its_side(
    bugs: Callable[..., ModelSpec], tmp_path: Path
) -> None:
    first = load_window(bugs(), AS_OF, tmp_path)
    with (tmp_path / "bugs.csv").open("a") as file:
        file.writelines(f"\n{number},bug {number},low,2025-02-03" for number in range(100, 160))
    more = load_window(bugs(), AS_OF, tmp_path)
    assert set(first.holdout.inputs["title"]) < set(more.holdout.inputs["title"])
    assert set(first.train.inputs["title"]) < set(more.train.inputs["title"])
    assert 0.15 < len(more.holdout) / (len(more.holdout) + len(more.train)) < 0.45


def test_rows_of_one_group_stay_together(bugs: Callable[..., ModelSpec], tmp_path: Path) -> None:
    rows = pd.read_csv(tmp_path / "bugs.csv", dtype=str)
    rows.assign(id=rows.index % 5).to_csv(tmp_path / "bugs.csv", index=False)
    window = load_window(bugs(holdout={"share": 0.4, "by": "id"}), AS_OF, tmp_path)
    assert not set(window.train.others["id"]) & set(window.holdout.others["id"])
    with pytest.raises(DataError, match="the examples have no column 'idd'; available: title, id"):
        load_window(bugs(holdout={"share": 0.4, "by": "idd"}), AS_OF, tmp_path)


def test_rows_without_times_are_all_known(bugs: Callable[..., ModelSpec], tmp_path: Path) -> None:
    data = {name: value for name, value in FORGIVING["data"].items() if "time" not in name}  # type: ignore[attr-defined]
    window = load_window(bugs(data=data), AS_OF, tmp_path)
    assert (window.report.later, window.report.undated) == (0, 0)
    assert window.train.time.isna().all()


@pytest.fixture
def shop_spec(toy_file: Callable[..., Path], tmp_path: Path) -> ModelSpec:
    """Rows in a folder of their own, and a table beside them that the examples need."""
    folder = tmp_path / "rows"
    folder.mkdir()
    days = pd.date_range("2025-01-01", periods=150).strftime("%Y-%m-%d")
    pd.DataFrame({"day": days, "x": ["a", "b", "c"] * 50, "y": "yes"}).to_csv(folder / "t.csv", index=False)
    (folder / "places.csv").write_text("x,size\na,1\nb,20\nc,300\n", encoding="utf-8-sig")
    return load_spec(
        toy_file(
            data__source="rows/t.csv",
            data__tables={"places": "places.csv"},
            data__examples="support.toy_trainer:with_places",
            data__inputs=["size"],
        )
    )


def test_a_table_beside_the_source_is_handed_to_the_examples(shop_spec: ModelSpec, tmp_path: Path) -> None:
    window = load_window(shop_spec, AS_OF, tmp_path)
    assert set(window.train.inputs["size"]) == {1, 20, 300}


def test_the_data_version_is_of_the_tables_too(shop_spec: ModelSpec, tmp_path: Path) -> None:
    first, again = (load_window(shop_spec, AS_OF, tmp_path).version for _ in range(2))
    with (tmp_path / "rows" / "places.csv").open("a") as file:
        file.write("d,4000\n")
    assert first == again != load_window(shop_spec, AS_OF, tmp_path).version


ODD = {
    "more": ("a,1\nb,2,3\nc,4\n", r"row 2 has 3 fields, and there are 2 columns; 1 such rows"),
    "twice": ("", r"column 'x' appears twice"),
    "unclosed": ('a,1\n"b,2\nc,3\n', r"a quote is opened in row 2 and not closed"),
}


@pytest.mark.parametrize("case", ODD)
def test_source_tables_and_new_models_get_the_same_verdict(
    shop_spec: ModelSpec, tmp_path: Path, case: str
) -> None:
    rows, message = ODD[case]
    header = "x,x\n" if case == "twice" else "x,size\n"
    (tmp_path / "rows" / "places.csv").write_text(header + rows)
    with pytest.raises(DataError, match=f"data.tables.places: .*places.csv: {message}"):
        load_window(shop_spec, AS_OF, tmp_path)
    (tmp_path / "rows" / "t.csv").write_text(header + rows)
    with pytest.raises(DataError, match=f"data.source: .*t.csv: {message}"):
        load_window(shop_spec, AS_OF, tmp_path)
    with pytest.raises(DataError, match=f"t.csv: {message}"):
        write_model(NewModel("other", "me", "rows/t.csv", "size", "x"), tmp_path)
    assert not list(tmp_path.rglob("other.*"))


@pytest.mark.parametrize("name", ["data/2026.v1", "rows.xlsx", "toy.parquet", "2026.11", "a.b/c.d/"])
def test_a_folder_is_a_source_whatever_its_name_looks_like(
    toy_file: Callable[..., Path],
    toy_spec: ModelSpec,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    monkeypatch.setenv("PODIUM_HOME", str(tmp_path))
    (tmp_path / name).mkdir(parents=True)
    rows = pd.read_csv(tmp_path / "toy.csv")
    rows[:300].to_csv(tmp_path / name / "older.v2.csv", index=False)
    rows[300:].to_csv(tmp_path / name / "newer.v2.csv", index=False)
    window = load_window(load_spec(toy_file(name=toy_spec.name, data__source=name)), AS_OF, tmp_path)
    assert (window.report.read, len(window.holdout)) == (600, 100)


def test_a_folder_of_a_table_is_looked_for_beside_the_source(
    toy_file: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PODIUM_HOME", str(tmp_path))
    data = {"data__source": "rows/toy.csv", "data__examples": "support.toy_trainer:with_places"}
    with pytest.raises(SpecError, match=r"places: 'places.v1': must be a file .*, or a folder that exists"):
        load_spec(toy_file(**data, data__tables={"places": "places.v1"}))
    (tmp_path / "rows" / "places.v1").mkdir(parents=True)
    spec = load_spec(toy_file(**data, data__tables={"places": "places.v1"}))
    assert spec.data.tables == {"places": "places.v1"}


def test_a_trailing_separator_shifts_no_column_and_is_counted(
    toy_file: Callable[..., Path], tmp_path: Path
) -> None:
    """Meter readings as a spreadsheet exports them: each row ends with a comma, the header does not."""
    days = pd.date_range("2025-01-01", periods=150).strftime("%Y-%m-%d")
    lines = [f"{day},21.{place % 10},{place % 24}.5," for place, day in enumerate(days)]
    (tmp_path / "meter.csv").write_text("\n".join(["day,room_temp,heating_hours", *lines, "2025-05-31,2"]))
    changes = {"task": "regression", "labels": [], "gates": [{"min_holdout_rows": 9}]}
    data = {"data__source": "meter.csv", "data__inputs": ["room_temp"], "data__label": "heating_hours"}
    window = load_window(load_spec(toy_file(**changes, **data)), AS_OF, tmp_path)
    assert window.train.inputs["room_temp"].between(21, 22).all()
    assert window.train.label.max() == 23.5
    assert (window.report.read, window.report.short, window.report.examples) == (151, 1, 150)
    assert window.report.counted == {"empty columns at the end": 1}
    assert window.report.describe() == (
        "151 rows read, 1 short left out (1 empty columns at the end), 150 examples"
    )


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_folder_of_parts_is_a_source_and_its_folders_are_columns(
    toy_file: Callable[..., Path], toy_spec: ModelSpec, tmp_path: Path, suffix: str
) -> None:
    for day, rows in pd.read_csv(tmp_path / "toy.csv").tail(300).groupby("day"):
        folder = tmp_path / "rows" / f"day={day}"
        folder.mkdir(parents=True)
        part = rows.drop(columns="day")
        getattr(part, f"to_{suffix}")(folder / f"part.{suffix}", index=False)
    window = load_window(load_spec(toy_file(name=toy_spec.name, data__source="rows")), AS_OF, tmp_path)
    whole = load_window(toy_spec, AS_OF, tmp_path)
    pd.testing.assert_frame_equal(window.holdout.inputs, whole.holdout.inputs)
    assert (window.holdout.time == whole.holdout.time).all()


@pytest.mark.parametrize(
    ("days", "message"),
    [
        (pa.array([20250301, 20250302] * 100), None),
        (pa.array([date(2025, 3, 1), date(2025, 3, 2)] * 100), None),
        (
            pa.array([1740787200, 1740873600] * 100),
            "column day: row 0 '?1740787200'? is not a moment in ISO8601",
        ),
        (pa.array([45717, 45718] * 100), "column day: row 0 '?45717'? is not a moment in ISO8601"),
    ],
)
def test_a_whole_number_is_no_moment_unless_it_is_written_as_one(
    toy_file: Callable[..., Path], tmp_path: Path, days: pa.Array, message: str | None
) -> None:
    table = pa.table({"day": days, "x": range(200), "y": ["no", "yes"] * 100})
    pq.write_table(table, tmp_path / "toy.parquet")
    spec = load_spec(toy_file(data__source="toy.parquet", holdout={"share": 0.2}))
    if message is None:
        window = load_window(spec, AS_OF, tmp_path)
        assert set(window.train.time) == {pd.Timestamp("2025-03-01"), pd.Timestamp("2025-03-02")}
        return
    with pytest.raises(DataError, match=message) as refused:
        load_window(spec, AS_OF, tmp_path)
    # It would leave out all of them.
    assert "drop" not in str(refused.value)


def test_the_data_version_is_of_what_a_function_made_too(
    toy_file: Callable[..., Path], toy_spec: ModelSpec, tmp_path: Path
) -> None:
    function = "support.toy_trainer:with_what_lies_elsewhere"
    spec = load_spec(toy_file(name=toy_spec.name, data__examples=function, data__inputs=["x", "size"]))
    toy_trainer.ELSEWHERE.set(str(tmp_path / "elsewhere.csv"))
    versions = []
    for size in (1, 1, 2):
        (tmp_path / "elsewhere.csv").write_text(f"size\n{size}\n")
        versions.append(load_window(spec, AS_OF, tmp_path).version)
    assert versions[0] == versions[1] != versions[2]


def contracts(toy_file: Callable[..., Path], tmp_path: Path, lost: pa.Array, **data: Any) -> ModelSpec:
    """Contracts with a label of numbers, of which some are open."""
    day = pd.date_range("2025-01-01", periods=len(lost))
    pq.write_table(pa.table({"day": day, "x": range(len(lost)), "lost": lost}), tmp_path / "lost.parquet")
    source = {"source": "lost.parquet", "time_column": "day", "label": "lost", "inputs": ["x"], **data}
    return load_spec(toy_file(labels=["0", "1"], data=source, holdout={"days": 60}))


@pytest.mark.parametrize(
    "lost",
    [
        pa.array([0.0, 1.0, None] * 40),
        pa.array([0, 1, None] * 40),
        pa.array([False, True, None] * 40),
        pa.array([Decimal("0.0"), Decimal("1.0"), None] * 40),
        pa.array(["0.0", "TRUE", None] * 40),
        pa.array(["0", "1", None] * 40).dictionary_encode(),
    ],
)
def test_a_label_of_numbers_is_matched_by_value(
    toy_file: Callable[..., Path], tmp_path: Path, lost: pa.Array
) -> None:
    window = load_window(contracts(toy_file, tmp_path, lost, unlabelled="drop"), AS_OF, tmp_path)
    assert window.train.label.tolist()[:4] == ["0", "1", "0", "1"]
    assert (window.report.unlabelled, window.report.unknown_labels) == (40, 0)


@pytest.mark.parametrize(
    ("lost", "message"),
    [
        (
            pa.array(["a", "b"] * 60),
            "row 0 has the label 'a'; 120 such rows. These are all rows: name the right",
        ),
        (pa.nulls(120), "row 0 has no label; 120 such rows. These are all rows: name the right column under"),
        (
            pa.array([0, 1, 7] * 40),
            "row 2 has the label 7; 40 such rows. data.unknown_labels: drop leaves them",
        ),
    ],
)
def test_nobody_is_advised_to_drop_all_rows(
    toy_file: Callable[..., Path], tmp_path: Path, lost: pa.Array, message: str
) -> None:
    with pytest.raises(DataError, match=message) as refused:
        load_window(contracts(toy_file, tmp_path, lost), AS_OF, tmp_path)
    assert ("drop" in str(refused.value)) == ("40 such" in message)


def test_what_is_converted_is_said_in_the_log(
    toy_file: Callable[..., Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spec = contracts(toy_file, tmp_path, pa.array([0, 1] * 60), inputs=["born_on", "paid", "x"])
    table = pq.read_table(tmp_path / "lost.parquet")
    table = table.append_column("born_on", pa.array([date(1985, 6, 1), None] * 60))
    table = table.append_column("paid", pa.array([Decimal("9.50"), None] * 60))
    pq.write_table(table, tmp_path / "lost.parquet")
    with caplog.at_level("INFO"):
        window = load_window(spec, AS_OF, tmp_path)
    assert [str(kind) for kind in window.train.inputs.dtypes] == ["datetime64[ns]", "float64", "int64"]
    assert "toy: input born_on: days, taken as moments at midnight." in caplog.text
    assert "toy: input paid: decimals, taken as numbers." in caplog.text


def test_a_table_that_is_not_there_is_named(shop_spec: ModelSpec, tmp_path: Path) -> None:
    (tmp_path / "rows" / "places.csv").unlink()
    with pytest.raises(DataError, match=r"data.tables.places: there is no file or folder .*rows/places.csv"):
        load_window(shop_spec, AS_OF, tmp_path)


def test_a_long_column_of_numbers_and_text_is_all_text(toy_spec: ModelSpec, tmp_path: Path) -> None:
    rows = 300_000
    days = pd.Series(["2025-01-01", "2025-05-01"]).repeat(rows // 2)
    mixed = ["0"] * (rows - 1) + ["a"]
    pd.DataFrame({"day": days, "x": mixed, "y": "no"}).to_csv(tmp_path / "toy.csv", index=False)
    window = load_window(toy_spec, AS_OF, tmp_path)
    assert set(window.train.inputs["x"]) == {"0"}
    assert set(window.holdout.inputs["x"]) == {"0", "a"}


def test_moments_of_several_zones_are_brought_to_utc() -> None:
    written = pd.Series(["2025-01-01T00:30+02:00", "2025-01-01", "2024-12-31T23:00:00Z", "soon"])
    assert parse_times(written, ["ISO8601"]).dropna().tolist() == [
        pd.Timestamp("2024-12-31 22:30"),
        pd.Timestamp("2025-01-01"),
        pd.Timestamp("2024-12-31 23:00"),
    ]
