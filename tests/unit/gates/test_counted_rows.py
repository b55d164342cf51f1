"""What is counted of parts of a window adds up to what is counted of all of it, also after it was kept."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from podium.gates.counted_rows import CountedRows, adds_up
from support.scored import known_rows, reference, scored_spec

SPEC, COLUMNS = scored_spec("scored"), reference().columns


def parts(seed: int) -> list[pd.DataFrame]:
    """Rows with what is wrong: too large, missing, new, texts for numbers, and columns that are gone."""
    draws = np.random.default_rng(seed)
    found = []
    for number in range(6):
        rows = (
            known_rows().sample(50, random_state=seed * 10 + number).assign(prediction=draws.normal(size=50))
        )
        rows.loc[rows.index[:3], "x"] = [99.0, np.nan, -np.inf]
        rows.loc[rows.index[:2], "c"] = ["new", None]
        found.append(rows)
    found[1] = found[1].drop(columns="b")
    found[2] = found[2].assign(x="7")
    found[3] = found[3][:0]
    found[4] = found[4].assign(c=7.0)
    found[5] = found[5].dropna().astype({"b": bool})
    order = draws.permutation(6)
    return [found[place] for place in order]


def added(frames: list[pd.DataFrame]) -> CountedRows:
    counted = CountedRows(SPEC, COLUMNS)
    for frame in frames:
        counted.add(frame)
    return counted


def as_kept(counted: CountedRows) -> CountedRows:
    return CountedRows.read(SPEC, COLUMNS, json.loads(json.dumps(counted.content())))


@pytest.mark.parametrize("through", [lambda counted: counted, as_kept])
@pytest.mark.parametrize("seed", range(8))
def test_parts_add_up_to_the_whole(seed: int, through: Callable[[CountedRows], CountedRows]) -> None:
    frames = parts(seed)
    whole, summed = added(frames), CountedRows(SPEC, COLUMNS)
    for some in (frames[:1], frames[1:1], frames[1:4], frames[4:]):
        summed.take(through(added(some)))
    assert summed.rows == whole.rows == sum(map(len, frames))
    assert summed.problems() == whole.problems()
    assert list(summed.counts) == list(whole.counts) == ["x", "c", "prediction"]
    for name, counts in whole.counts.items():
        assert summed.counts[name].tolist() == counts.tolist()
        assert counts.sum() == whole.rows
    said = " ".join(whole.problems())
    for problem in ("column b ", "column x holds texts, its reference numbers", "x is not at most 40 in "):
        assert problem in said


def test_no_rows_have_neither_counts_nor_problems() -> None:
    counted = added([known_rows()[:0]])
    counted.take(CountedRows(SPEC, COLUMNS))
    assert (counted.rows, counted.counts, counted.problems()) == (0, {}, ())
    assert as_kept(counted).problems() == ()


@pytest.mark.parametrize(
    "damage",
    [
        {"rows": 51},
        {"counts": {"x": {"9999": 50}}},
        {"counts": {"x": {"0": -1, "1": 51}}},
        {"counts": {"other": {"0": 50}}},
        {"schemas": []},
        {"wrong": None},
    ],
)
def test_what_does_not_add_up_is_not_taken(damage: dict[str, object]) -> None:
    content = added([known_rows()[:50].assign(prediction=0.0)]).content()
    with pytest.raises((ValueError, IndexError, AttributeError)):
        CountedRows.read(SPEC, COLUMNS, content | damage)


def test_rows_whose_values_must_all_differ_are_not_kept() -> None:
    assert adds_up(SPEC)
    assert not adds_up(scored_spec("scored", rules={"x": {"unique": True}}))
