"""The same contracts as exports differ: the scores of the same rows are the same, or a reason is named."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

from podium.errors import DataError
from podium.registry.model_files import load_model
from podium.scoring.outputs import output_of
from podium.scoring.pinned_version import Pinned
from podium.scoring.run import Job, score_to
from podium.scoring.scorer import Scorer
from podium.sources.read import Source, list_partitions, open_partition
from podium.training.saving import save_model, usable
from support.contracts import TRUSTED, contracts, model_of

ROWS = 40
GOOD = contracts(ROWS)
TABLE = pa.Table.from_pandas(GOOD, preserve_index=False)
MONTHS = pd.DatetimeIndex(GOOD["signed_on"])
EPOCH_SECONDS = MONTHS.astype("datetime64[s]").astype("int64").to_numpy()


@dataclass(frozen=True)
class Scores:
    """The probabilities of the rows that were scored, and why each other row was not."""

    of: dict[int, list[float]]
    reasons: dict[int, str]


@pytest.fixture(scope="module")
def scorer(tmp_path_factory: pytest.TempPathFactory) -> Scorer:
    folder = tmp_path_factory.mktemp("contracts") / "model"
    inputs = contracts()
    with usable(model_of(inputs), classifies=True, requirements=()) as trained:
        save_model(folder, trained, inputs, ["mlflow"], TRUSTED)
    return Scorer(load_model(folder), labels=["no", "yes"])


def scored(scorer: Scorer, source: Source) -> Scores:
    found = Scores({}, {})
    with open_partition(source, list_partitions(source)[0], scorer.wanted) as reader:
        for chunk in reader.chunks:
            some = scorer.score(scorer.ready(chunk, "here"))
            numbers = chunk.numbers.tolist()
            found.reasons.update({numbers[place]: why for place, why in some.reasons.items()})
            good = chunk.numbers[some.good].tolist()
            found.of.update(zip(good, some.answers.tolist(), strict=True))
    return found


@pytest.fixture(scope="module")
def expected(scorer: Scorer, tmp_path_factory: pytest.TempPathFactory) -> Scores:
    path = tmp_path_factory.mktemp("good") / "good.parquet"
    pq.write_table(TABLE, path)
    found = scored(scorer, Source(str(path), path.parent))
    assert len(found.of) == ROWS
    return found


def put(path: Path, **change: Any) -> Path:
    for name, column in change.items():
        array = column if isinstance(column, pa.Array | pa.ChunkedArray) else pa.array(column)
        table = TABLE.set_column(TABLE.column_names.index(name), name, array)
    pq.write_table(table, path / "part.parquet")
    return path / "part.parquet"


def decimals(values: Any, digits: int) -> pa.Array:
    return pa.array([Decimal(str(value)) for value in values], pa.decimal128(12, digits))


def zoned(text: str) -> pa.Array:
    return pa.array(MONTHS.strftime(f"%Y-%m-%dT%H:%M:%S{text}"))


AS_GOOD: dict[str, dict[str, Any]] = {
    "flags as 0 and 1": {"paperless": GOOD["paperless"].astype("int64")},
    "flags as 0.0 and 1.0": {"paperless": GOOD["paperless"].astype("float64")},
    "days": {"signed_on": pa.array(MONTHS.date, pa.date32())},
    "moments in UTC": {"signed_on": TABLE["signed_on"].cast(pa.timestamp("us", "UTC"))},
    "moments of Berlin": {"signed_on": TABLE["signed_on"].cast(pa.timestamp("us", "Europe/Berlin"))},
    "days as text": {"signed_on": pa.array(MONTHS.strftime("%Y-%m-%d"))},
    "moments as text": {"signed_on": zoned("Z")},
    "moments as text with a zone": {"signed_on": zoned("+00:00")},
    "decimals": {"amount": decimals(GOOD["amount"], 2)},
    "counts as decimals": {"calls": decimals(GOOD["calls"], 0)},
    "counts as small numbers": {"calls": pa.array(GOOD["calls"], pa.uint8())},
    "counts as floats": {"calls": pa.array(GOOD["calls"].astype(float))},
    "countries as a dictionary": {"country": TABLE["country"].dictionary_encode()},
}


@pytest.mark.parametrize("how", AS_GOOD)
def test_what_means_the_same_is_scored_the_same(
    scorer: Scorer, expected: Scores, tmp_path: Path, how: str
) -> None:
    assert scored(scorer, Source(str(put(tmp_path, **AS_GOOD[how])), tmp_path)) == expected


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "milliseconds": ({"signed_on": EPOCH_SECONDS * 1000}, "signed_on is a number, and no number is a moment"),
    "seconds": ({"signed_on": EPOCH_SECONDS}, "signed_on is a number, and no number is a moment"),
    "YYYYMMDD": (
        {"signed_on": MONTHS.strftime("%Y%m%d").astype(int)},
        "signed_on is a number, and no number is a moment",
    ),
    "spreadsheet days": (
        {"signed_on": EPOCH_SECONDS / 86400 + 25569},
        "signed_on is a number, and no number is a moment",
    ),
    "YYYYMMDD as text": ({"signed_on": MONTHS.strftime("%Y%m%d")}, "signed_on is not a moment in ISO 8601"),
    "German dates": ({"signed_on": MONTHS.strftime("%d.%m.%Y")}, "signed_on is not a moment in ISO 8601"),
    "flags as words": (
        {"paperless": np.where(GOOD["paperless"], "yes", "no")},
        "paperless is neither true nor false",
    ),
    "no country at all": ({"country": pa.nulls(ROWS)}, "country is missing"),
    "no amount at all": ({"amount": pa.nulls(ROWS)}, "amount is missing"),
    "thousands": ({"amount": ["1,234.50"] * ROWS}, "amount is not a number"),
}


@pytest.mark.parametrize("how", WRONG)
def test_what_does_not_fit_is_rejected_by_name_in_each_row(scorer: Scorer, tmp_path: Path, how: str) -> None:
    change, reason = WRONG[how]
    found = scored(scorer, Source(str(put(tmp_path, **change)), tmp_path))
    assert found == Scores({}, dict.fromkeys(range(1, ROWS + 1), reason))


def test_gaps_are_rejected_and_the_other_rows_scored(
    scorer: Scorer, expected: Scores, tmp_path: Path
) -> None:
    for name, gap in (("paperless", None), ("calls", None)):
        values = [gap if place == 7 else value for place, value in enumerate(TABLE[name].to_pylist())]
        found = scored(scorer, Source(str(put(tmp_path, **{name: pa.array(values)})), tmp_path))
        assert found.reasons == {8: f"{name} is missing"}
        assert found.of == {row: answer for row, answer in expected.of.items() if row != 8}


def as_csv(frame: pd.DataFrame, **how: Any) -> str:
    return frame.assign(signed_on=MONTHS.strftime("%Y-%m-%d")).to_csv(index=False, **how)


CSV: dict[str, Callable[[], str]] = {
    "plain": lambda: as_csv(GOOD),
    "a byte order mark": lambda: "\ufeff" + as_csv(GOOD).replace("\n", "\r\n"),
    "padded numbers": lambda: as_csv(GOOD.assign(amount=[f" {value} " for value in GOOD["amount"]])),
    "counts as floats": lambda: as_csv(GOOD.assign(calls=GOOD["calls"].astype(float))),
    "flags as numbers": lambda: as_csv(GOOD.assign(paperless=GOOD["paperless"].astype(int))),
}


@pytest.mark.parametrize("how", CSV)
def test_a_csv_of_the_same_rows_is_scored_the_same(
    scorer: Scorer, expected: Scores, tmp_path: Path, how: str
) -> None:
    (tmp_path / "part.csv").write_text(CSV[how]())
    assert "NA" in set(GOOD["country"])
    assert scored(scorer, Source(str(tmp_path / "part.csv"), tmp_path)) == expected


def test_a_column_of_another_name_is_named(scorer: Scorer, tmp_path: Path) -> None:
    path = tmp_path / "part.parquet"
    pq.write_table(TABLE.rename_columns(["signed_on", "amount", "calls", "paperless", "Country"]), path)
    with pytest.raises(DataError, match="no column 'country'"):
        scored(scorer, Source(str(path), tmp_path))


def test_a_querys_whole_numbers_are_no_moments_and_its_texts_are(
    scorer: Scorer, expected: Scores, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONTRACTS", f"sqlite:///{tmp_path}/contracts.db")
    rows = GOOD.assign(signed_on=MONTHS.strftime("%Y-%m-%dT%H:%M:%SZ"), epoch=EPOCH_SECONDS * 1000)
    with sa.create_engine(f"sqlite:///{tmp_path}/contracts.db").begin() as connection:
        rows.to_sql("contracts", connection, index=False)
    query = "sql:SELECT {} AS signed_on, amount, calls, paperless, country FROM contracts"
    found = scored(scorer, Source(query.format("signed_on"), tmp_path, database="CONTRACTS"))
    assert found == expected
    found = scored(scorer, Source(query.format("epoch"), tmp_path, database="CONTRACTS"))
    assert set(found.reasons.values()) == {"signed_on is a number, and no number is a moment"}
    assert len(found.reasons) == ROWS


def test_texts_with_blanks_around_them_are_named(scorer: Scorer, tmp_path: Path) -> None:
    padded = pa.array([f" {country}" if country == "DE" else country for country in GOOD["country"]])
    source = Source(str(put(tmp_path, country=padded)), tmp_path, chunk_rows=7)
    (found,) = list_partitions(source)
    job = Job(source, found, output_of("scores", found.name, tmp_path, None))
    done = score_to(scorer, Pinned("contracts", 1, "d" * 64, "champion"), job, lambda _: None)
    count = int((GOOD["country"] == "DE").sum())
    assert (done.rejected, done.as_json()["noted"]) == (0, {"country has blanks around it": count})
    assert done.describe().endswith(f"; noted: country has blanks around it ({count})")


def test_moments_of_another_zone_are_named(scorer: Scorer, tmp_path: Path) -> None:
    for zone, said in (
        ("Europe/Berlin", {"signed_on is converted from Europe/Berlin to UTC": ROWS}),
        ("UTC", {}),
    ):
        column = TABLE["signed_on"].cast(pa.timestamp("us", zone))
        assert scorer.columns.noted(TABLE.set_column(0, "signed_on", column)) == said
