"""The rows of a query, from a real Postgres and from SQLite: columns, moments, types and what goes wrong."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import sqlalchemy as sa

from podium.errors import DataError, Outage
from podium.sources import query
from podium.sources.chunks import Source
from podium.sources.whole import WholeTable, read_whole
from podium.stack.layout import Layout
from support.database import execute

KINDS = {
    "flag": "boolean",
    "small": "smallint",
    "whole": "integer",
    "large": "bigint",
    "half": "real",
    "number": "double precision",
    "price": "numeric(10,2)",
    "name": "text",
    "code": "varchar(20)",
    "day": "date",
    "seen": "timestamp",
    "zoned": "timestamptz",
    "id": "uuid",
}
FIRST = "(true, 1, 2, 9007199254740993, 0.1, 0.1, 1.50, 'a', 'x', '2025-01-01', '2025-01-01 10:00:00.5', "
FIRST += "'2025-01-01 00:30+02', 'c9bf9e57-1685-4c89-bafb-ff5af830be8a')"
ODD = "(NULL, NULL, NULL, 0, NULL, 'NaN', NULL, '', E'two\\nlines, \"x\"', NULL, NULL, NULL, NULL)"


@pytest.fixture
def url(layout: Layout, empty_database: str, monkeypatch: pytest.MonkeyPatch) -> str:
    found = layout.database_url("ledger_owner", empty_database)
    monkeypatch.setenv("SHOP_DB_URL", found)
    columns = ", ".join(f"{name} {kind}" for name, kind in KINDS.items())
    execute(found, f"CREATE TABLE shop ({columns})")
    execute(found, f"INSERT INTO shop VALUES {FIRST}, {ODD}")  # noqa: S608 - values of this file
    return found


def read(text: str, *wanted: str, as_of: str = "2025-01-01", time_column: str | None = None) -> WholeTable:
    moment = datetime.fromisoformat(as_of)
    source = Source(f"sql:{text}", Path(), "SHOP_DB_URL", as_of=moment, time_column=time_column)
    return read_whole(source, wanted or None)


def test_copy_and_rows_one_by_one_give_the_same(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    copied = read("SELECT * FROM shop")
    monkeypatch.setattr(query, "_plain_types", lambda *_: None)
    one_by_one = read("SELECT * FROM shop")
    assert copied.columns == one_by_one.columns == tuple(KINDS)
    for name in KINDS:
        values = [
            table.rows[name].astype(object).where(table.rows[name].notna(), None)
            for table in (copied, one_by_one)
        ]
        assert values[0].tolist() == values[1].tolist(), name
    assert copied.rows["large"].tolist() == [9007199254740993, 0]
    assert copied.rows["price"].dtype == "float64"
    assert copied.rows["name"].tolist() == ["a", ""]
    assert copied.rows["code"].tolist() == ["x", 'two\nlines, "x"']
    assert str(copied.rows["zoned"].iloc[0]) == "2024-12-31 22:30:00+00:00"


def test_only_what_is_wanted_comes_and_as_of_is_a_moment_in_utc(url: str) -> None:
    table = read("SELECT * FROM shop WHERE day < :as_of;", "price", as_of="2025-01-02")
    assert (list(table.rows), len(table.rows), table.columns) == (["price"], 1, tuple(KINDS))
    for column, as_of, count in (
        ("zoned", "2024-12-31T22:30:00", 0),
        ("zoned", "2024-12-31T22:30:01", 1),
        ("seen", "2025-01-01T10:00:00", 0),
        ("seen", "2025-01-01T10:00:01", 1),
        ("day", "2025-01-01", 0),
    ):
        execute(
            url,
            "ALTER DATABASE CURRENT SET timezone = 'Asia/Tokyo'".replace("CURRENT", url.rsplit("/", 1)[1]),
        )
        query = f"SELECT * FROM shop WHERE {column} < :as_of"  # noqa: S608 - names of this file
        found = read(query, "price", as_of=as_of)
        assert len(found.rows) == count, (column, as_of)
    # For all_rows: what the query does not leave out is left out as it comes, and counted.
    found = read("SELECT * FROM shop", "price", "day", time_column="day")
    assert (len(found.rows), found.later, found.rows.index.tolist()) == (1, 1, [1])


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("SELECT name FROM shop WHERE false", 0),
        ("SELECT CAST(NULL AS text) AS a FROM shop", 2),
        ("SELECT name FROM shop WHERE name LIKE 'a%' AND '12:30' <> '%(x)s'", 1),
        ("WITH s AS (SELECT name FROM shop) SELECT name FROM s ORDER BY name DESC", 2),
        ("SELECT name, whole::text AS w FROM shop", 2),
        ("SELECT ARRAY[1, 2] AS l, name FROM shop", 2),
    ],
)
def test_odd_queries_are_read(url: str, text: str, rows: int) -> None:
    assert len(read(text).rows) == rows


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("SELECT name, code AS name FROM shop", "column 'name' appears twice"),
        ("SELECT ARRAY[1] AS name, code AS name FROM shop", "column 'name' appears twice"),
        ("SELECT nam FROM shop", 'column "nam" does not exist'),
        ("SELECT 1 / (whole - 2) AS x FROM shop", "division by zero"),
        ("SELECT timestamp 'infinity' AS x", "infinity"),
        ("SELECT repeat('x', 5000000) AS name, 1 AS x", "a row is longer than 2 MB; leave its long column"),
        (
            "SELECT name FROM shop WHERE name < :as_of",
            "operator does not exist: text < timestamp with time zone",
        ),
    ],
)
def test_what_the_database_refuses_is_told(url: str, text: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        read(text)


def test_a_database_that_ends_the_connection_is_an_outage(url: str) -> None:
    with pytest.raises(Outage, match="the database did not answer"):
        read("SELECT pg_terminate_backend(pg_backend_pid()) AS x, name FROM shop")


def test_another_database_is_read_by_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_DB_URL", f"sqlite:///{tmp_path}/shop.db")
    rows = pd.DataFrame({"day": ["2025-01-01", "2025-01-03"], "x": [1, None], "y": ["a", "b"]})
    with sa.create_engine(f"sqlite:///{tmp_path}/shop.db").begin() as connection:
        rows.to_sql("shop", connection, index=False)
    table = read("SELECT * FROM shop WHERE day < :as_of", "y", "x", as_of="2025-01-02")
    assert table.rows.to_dict("list") == {"x": [1], "y": ["a"]}
    with pytest.raises(DataError, match="no such table: away"):
        read("SELECT * FROM away")


def test_the_query_and_the_moment_are_what_a_database_knows(url: str) -> None:
    facts: Any = read("SELECT name FROM shop WHERE day < :as_of").facts
    assert facts["query"] == "SELECT name FROM shop WHERE day < :as_of"
    assert (facts["database"], facts["as_of"]) == ("SHOP_DB_URL", "2025-01-01T00:00:00Z")
    assert facts["read_at"].endswith("Z")
