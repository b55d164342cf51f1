"""Columns that give the label away, or only number the rows: found where they are, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from podium.training.giveaways import giveaways

ROWS = 200
DRAWS = np.random.default_rng(0)
LABEL = pd.Series(DRAWS.lognormal(12, 0.4, ROWS), name="price")
CLASS = pd.Series(np.where(LABEL.quantile(0.8) < LABEL, "gone", "stays"), name="state")
THREE = pd.Series(pd.cut(LABEL, LABEL.quantile([0, 0.3, 0.6, 1]), labels=list("abc"), include_lowest=True))
TIMES = pd.Series(pd.date_range("2025-01-01", periods=ROWS, freq="6h"))


def ordinary(seed: int, rows: int = ROWS) -> pd.DataFrame:
    """Columns as tables have them: none knows the label."""
    draws = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "size": draws.uniform(30, 200, rows).round(1),
            "income": draws.lognormal(10, 2, rows),
            "rooms": draws.integers(1, 9, rows),
            "metres": draws.integers(0, 10**6, rows),
            "gaps": np.where(draws.random(rows) < 0.3, np.nan, draws.normal(size=rows)),
            "constant": np.ones(rows),
            "place": draws.choice(["centre", "north", "south"], rows),
            "street": draws.choice([f"street {number}" for number in range(rows // 3)], rows),
            "new": draws.random(rows) < 0.02,
            "built": pd.Timestamp("2000-01-01") + pd.to_timedelta(draws.integers(0, 9000, rows), "D"),
        }
    )


def found(table: pd.DataFrame, label: pd.Series = LABEL, times: pd.Series = TIMES) -> dict[str, str]:
    classes = not pd.api.types.is_float_dtype(label)
    return {" ".join(one.columns): one.what for one in giveaways(table, label, times, classes=classes)}


@given(seed=st.integers(0, 10**6), kind=st.sampled_from(["number", "two", "rare", "five", "score"]))
def test_ordinary_tables_raise_no_alarm(seed: int, kind: str) -> None:
    draws, table = np.random.default_rng([seed, 1]), ordinary(seed)
    signal = table["size"] * 3000 + 90_000 * (table["place"] == "centre") + draws.normal(0, 30_000, ROWS)
    label = {
        "number": signal,
        "two": pd.Series(np.where(signal > signal.median(), "yes", "no")),
        "rare": pd.Series(draws.random(ROWS) < 0.03),
        "five": pd.Series(draws.integers(1, 6, ROWS)),
        "score": pd.Series((table["rooms"] + draws.integers(0, 2, ROWS)).astype(int)),
    }[kind]
    assert found(table, label) == {}


NEAR: dict[str, Callable[[], pd.Series]] = {
    "itself": lambda: LABEL,
    "other unit": lambda: LABEL / 1.17 + 4,
    "negative": lambda: -LABEL,
    "logarithm": lambda: np.log(LABEL),
    "square": lambda: LABEL**2,
    "rank": lambda: LABEL.rank(),
    "rounded": lambda: (LABEL / 1000).round(),
    "in coarse steps": lambda: (LABEL / 50_000).round(),
    "with a little noise": lambda: LABEL * (1 + DRAWS.normal(0, 0.002, ROWS)),
    "with gaps": lambda: LABEL.where(DRAWS.random(ROWS) < 0.6),
    "bands": lambda: pd.Series(pd.cut(LABEL, 4, labels=list("abcd"))),
    "flag": lambda: LABEL > 200_000,
    "filled above": lambda: pd.Series(np.where(LABEL > 200_000, ordinary(1)["size"], np.nan)),
}


@pytest.mark.parametrize("kind", NEAR)
def test_a_column_that_is_nearly_the_label_is_named(kind: str) -> None:
    what = found(ordinary(1).assign(other=NEAR[kind]()))
    assert list(what) == ["other"]
    assert 'label "price"' in what["other"] or "the label" in what["other"]


def test_the_figure_is_told() -> None:
    assert found(ordinary(1).assign(other=LABEL * 2)) == {
        "other": 'nearly equals the label "price": correlation 1.0000, of ranks 1.0000'
    }


ALONE: dict[str, tuple[pd.Series, Callable[[], pd.Series]]] = {
    "other names": (CLASS, lambda: CLASS.map({"gone": 1, "stays": 0})),
    "one in 200 is wrong": (CLASS, lambda: CLASS.where(CLASS.index != CLASS.eq("stays").idxmax(), "gone")),
    "reasons": (CLASS, lambda: pd.Series(np.where(CLASS == "gone", ordinary(2)["place"], "none"))),
    "number with a bound": (CLASS, lambda: LABEL),
    "empty unless gone": (CLASS, lambda: ordinary(2)["size"].where(CLASS == "gone")),
    "three ranges": (THREE, lambda: LABEL),
    "three names": (THREE, lambda: THREE.map({"a": "x", "b": "y", "c": "z"})),
}


@pytest.mark.parametrize("kind", ALONE)
def test_a_column_that_tells_the_class_alone_is_named(kind: str) -> None:
    label, column = ALONE[kind]
    what = found(ordinary(1).assign(other=column()), label)
    assert list(what) == ["other"]
    assert "tells the label" in what["other"]


NUMBERING: dict[str, pd.Series] = {
    "from zero": pd.Series(range(ROWS)),
    "in tens, backwards": pd.Series(range(ROWS * 10, 0, -10)),
    "as floats": pd.Series(range(ROWS), dtype="float64"),
    "shuffled": pd.Series(np.random.default_rng(5).permutation(ROWS)),
    "with gaps, as time goes": pd.Series(np.cumsum(np.random.default_rng(5).integers(1, 900, ROWS))),
    "texts": pd.Series([f"A-{number * 7919 % 9973}" for number in range(ROWS)]),
}


@pytest.mark.parametrize("kind", NUMBERING)
@pytest.mark.parametrize("label", [LABEL, CLASS], ids=["number", "class"])
def test_row_numbers_and_ids_are_named(kind: str, label: pd.Series) -> None:
    what = found(ordinary(1).assign(other=NUMBERING[kind]), label)
    assert list(what) == ["other"]
    assert "row number" in what["other"] or "as an id is" in what["other"]


def test_whole_numbers_that_differ_are_an_id_if_they_are_called_so() -> None:
    numbers = pd.Series(np.random.default_rng(3).choice(10**7, ROWS, replace=False))
    for name in ("customer_id", "customerId", "ID", "order number"):
        assert list(found(ordinary(1).assign(**{name: numbers}))) == [name]
    for name in ("metres2", "paid", "valid"):
        assert found(ordinary(1).assign(**{name: numbers})) == {}


def test_the_order_of_time_counts_where_the_file_has_another() -> None:
    mixed = np.random.default_rng(4).permutation(ROWS)
    numbers = pd.Series(np.cumsum(np.random.default_rng(5).integers(1, 900, ROWS)))
    table = ordinary(1).assign(other=numbers.to_numpy()[mixed])
    times = TIMES.iloc[mixed].reset_index(drop=True)
    assert found(table, LABEL, times)["other"].endswith("count in the order of the time")


PARTS = pd.DataFrame(
    {
        "net": LABEL * DRAWS.uniform(0.3, 0.9, ROWS),
        "tax": LABEL * DRAWS.uniform(0.1, 0.9, ROWS),
        "items": DRAWS.integers(1, 30, ROWS).astype("float64"),
    }
)
SUMS: dict[str, tuple[dict[str, pd.Series], str]] = {
    "sum": ({"one": PARTS["net"], "two": LABEL - PARTS["net"]}, '1 * "one" + 1 * "two"'),
    "difference": ({"one": LABEL + PARTS["net"], "two": PARTS["net"]}, '1 * "one" - 1 * "two"'),
    "sum of three": (
        {"one": PARTS["net"], "two": PARTS["tax"], "three": LABEL - PARTS["net"] - PARTS["tax"]},
        '1 * "one" + 1 * "two" + 1 * "three"',
    ),
    "price times items": ({"one": LABEL / PARTS["items"], "two": PARTS["items"]}, '"one" * "two"'),
    "quotient": ({"one": LABEL * PARTS["items"], "two": PARTS["items"]}, '"one" * "two"^-1'),
    "rounded": ({"one": PARTS["net"].round(2), "two": (LABEL - PARTS["net"]).round(2)}, '1 * "one" + 1'),
}


@pytest.mark.parametrize("kind", SUMS)
def test_columns_that_give_the_label_together_are_named(kind: str) -> None:
    columns, said = SUMS[kind]
    what = found(ordinary(1).assign(**columns))
    assert list(what) == [" ".join(columns)]
    assert said in what[" ".join(columns)]


def test_the_goals_of_two_teams_tell_who_won() -> None:
    home, away = (pd.Series(np.random.default_rng(seed).poisson(1.4, ROWS)) for seed in (8, 9))
    won = pd.Series(np.where(home > away, "home", np.where(home < away, "away", "draw")), name="won")
    what = found(ordinary(1).assign(home=home, away=away), won)
    assert what == {"home away": 'tell the label together: by bounds of "home" - "away" alone'}


def test_many_columns_and_rows_are_looked_through_in_seconds() -> None:
    rows = 30_000
    draws = np.random.default_rng(0)
    table = pd.DataFrame(draws.normal(size=(rows, 60)), columns=[f"x{place}" for place in range(60)])
    label = pd.Series((table["x7"] + table["x41"] - table["x59"]).round(3), name="sum")
    what = giveaways(
        table, label, pd.Series(pd.date_range("2020-01-01", periods=rows, freq="h")), classes=False
    )
    assert [one.columns for one in what] == [("x7", "x41", "x59")]


def test_odd_columns_are_no_trouble() -> None:
    table = pd.DataFrame(
        {
            "lists": [[1, 2]] * ROWS,
            "nothing": [None] * ROWS,
            "infinite": np.where(DRAWS.random(ROWS) < 0.5, np.inf, 1.0),
            "line\nfeed": DRAWS.normal(size=ROWS),
        }
    )
    assert found(table) == found(table, CLASS) == {}
    assert found(table[:5], LABEL[:5], TIMES[:5]) == {}
    assert found(table, LABEL * np.nan) == {}
    (one,) = giveaways(table.assign(**{"line\nfeed": LABEL}), LABEL, TIMES, classes=False)
    assert one.describe().startswith('The input "line\\nfeed" nearly equals')
