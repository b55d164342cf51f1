"""Requests in flight are joined into one prediction, and each gets exactly its own answer."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from podium.errors import RequestRefused, TooBusy
from podium.serving import batching
from podium.serving.batching import MAX_JOINED_ROWS, Batcher
from podium.serving.loaded_version import LoadedVersion, _answers_rows_alone
from podium.serving.requests import Rows, Shape
from podium.sources.columns import InputColumn, Kind
from support.patience import PATIENCE_SECONDS


@dataclass
class Recorded:
    """A model that doubles its first column, and remembers how often and how much it was asked."""

    factor: float = 2.0
    calls: list[int] = field(default_factory=list)
    gate: threading.Event = field(default_factory=threading.Event)

    def __call__(self, values: Any) -> Any:
        self.gate.wait(PATIENCE_SECONDS)
        self.calls.append(len(values))
        if np.isnan(values).any():
            raise ValueError("Input X contains NaN.")
        return values[:, 0] * self.factor


def version(model: Recorded, number: int = 1, *, joins: bool = True) -> LoadedVersion:
    return LoadedVersion(
        model="m",
        number=number,
        digest="d",
        loaded_at=datetime.now(UTC),
        classes=(),
        shape=Shape((InputColumn("x", Kind.DOUBLE),), as_array=True),
        joins=joins,
        pyfunc=None,
        answer_array=model,
    )


def rows(*values: float) -> Rows:
    return Rows(len(values), np.array([values], dtype=np.float64).T)


def answers(model: Recorded, asked: list[tuple[LoadedVersion, Rows]]) -> list[Any]:
    """Ask all at once: the first is answered while the others gather."""

    async def ask() -> list[Any]:
        batcher = Batcher("m")
        first = asyncio.ensure_future(batcher.answer(*asked[0]))
        await asyncio.sleep(0.01)
        others = [asyncio.ensure_future(batcher.answer(*one)) for one in asked[1:]]
        await asyncio.sleep(0)
        model.gate.set()
        found = await asyncio.gather(first, *others, return_exceptions=True)
        batcher.close()
        return found

    return asyncio.run(ask())


def test_what_gathers_while_the_model_works_is_one_prediction() -> None:
    model = Recorded()
    served = version(model)
    found = answers(model, [(served, rows(float(at), -float(at))) for at in range(33)])
    assert [answer.tolist() for answer in found] == [[2.0 * at, -2.0 * at] for at in range(33)]
    assert model.calls == [2, 64]


def test_clients_who_ask_again_as_soon_as_they_are_answered_stay_in_one_prediction() -> None:
    model = Recorded()
    served = version(model)

    async def client(batcher: Batcher) -> None:
        for _ in range(10):
            await batcher.answer(served, rows(1.0))
            # The answer is sent, and the next request is received.
            await asyncio.sleep(0)
            await asyncio.sleep(0)

    async def ask() -> None:
        batcher = Batcher("m")
        clients = [asyncio.ensure_future(client(batcher)) for _ in range(2)]
        # These two come while the model works for the first two: a group of their own.
        while not model.calls:
            model.gate.set()
            await asyncio.sleep(0)
        clients += [asyncio.ensure_future(client(batcher)) for _ in range(2)]
        await asyncio.gather(*clients)
        batcher.close()

    asyncio.run(ask())
    assert sum(model.calls) == 40
    assert len(model.calls) <= 13, "two groups that take turns need 20 predictions"


def test_one_request_that_cannot_be_answered_spoils_no_other() -> None:
    model = Recorded()
    served = version(model)
    found = answers(
        model, [(served, rows(1.0)), (served, rows(2.0)), (served, rows(np.nan)), (served, rows(4.0))]
    )
    assert [answer.tolist() for answer in (found[0], found[1], found[3])] == [[2.0], [4.0], [8.0]]
    assert isinstance(found[2], RequestRefused)
    assert "ValueError: Input X contains NaN" in str(found[2])


def test_a_version_that_does_not_join_is_asked_for_each_request() -> None:
    model = Recorded()
    served = version(model, joins=False)
    answers(model, [(served, rows(1.0)), (served, rows(2.0)), (served, rows(3.0))])
    assert model.calls == [1, 1, 1]


def test_two_versions_are_never_in_one_prediction() -> None:
    first, second = Recorded(2.0), Recorded(3.0)
    second.gate = first.gate
    old, new = version(first, 1), version(second, 2)
    found = answers(
        first, [(old, rows(1.0)), (old, rows(1.0)), (new, rows(1.0)), (new, rows(1.0)), (old, rows(1.0))]
    )
    assert [answer.tolist() for answer in found] == [[2.0], [2.0], [3.0], [3.0], [2.0]]
    assert (first.calls, second.calls) == ([1, 1, 1], [2])


def test_a_prediction_is_bounded_and_so_is_what_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Recorded()
    served = version(model)
    answers(model, [(served, rows(*[1.0] * 500)) for _ in range(7)])
    assert model.calls == [500, 1000, 1000, 1000]
    assert max(model.calls) <= MAX_JOINED_ROWS
    monkeypatch.setattr(batching, "MAX_WAITING_ROWS", 3)
    model = Recorded()
    found = answers(model, [(version(model), rows(1.0, 2.0)) for _ in range(3)])
    assert isinstance(found[2], TooBusy)


@settings(max_examples=40)
@given(
    st.lists(
        st.tuples(st.booleans(), st.lists(st.floats(-9, 9) | st.just(np.nan), min_size=1, max_size=5)),
        min_size=1,
        max_size=20,
    )
)
def test_each_request_gets_its_own_answer_whatever_comes_together(
    asked: list[tuple[bool, list[float]]],
) -> None:
    models = {True: Recorded(2.0), False: Recorded(-3.0)}
    models[False].gate = models[True].gate
    versions = {which: version(model, 1 + which) for which, model in models.items()}
    found = answers(models[True], [(versions[which], rows(*values)) for which, values in asked])
    for (which, values), answer in zip(asked, found, strict=True):
        if np.isnan(values).any():
            assert isinstance(answer, RequestRefused)
        else:
            assert answer.tolist() == [value * models[which].factor for value in values]


def test_joining_is_only_for_models_that_answer_a_row_the_same_in_company() -> None:
    values = np.random.default_rng(0).normal(size=(64, 3))
    assert _answers_rows_alone(lambda rows: rows.sum(axis=1), values)
    # Depends on the company by one bit, as a product of matrices may.
    assert not _answers_rows_alone(
        lambda rows: rows[:, 0] * np.nextafter(1.0, 1.0 + (len(rows) > 32)), values
    )
    assert not _answers_rows_alone(lambda rows: rows[:, 0] - rows[:, 0].mean(), values)
    assert not _answers_rows_alone(lambda rows: list(rows[:, 0]), values)


def test_tables_are_joined_as_well() -> None:
    seen: list[int] = []

    class Table:
        def predict(self, table: pd.DataFrame) -> Any:
            seen.append(len(table))
            return table["x"].str.len().to_numpy()

    served = LoadedVersion("m", 1, "d", datetime.now(UTC), (), Shape(None), joins=True, pyfunc=Table())  # type: ignore[arg-type]
    model = Recorded()
    asked = [(served, Rows(1, pd.DataFrame({"x": ["a" * at]}))) for at in range(1, 4)]
    assert [answer.tolist() for answer in answers(model, asked)] == [[1], [2], [3]]
    assert sum(seen) == 3
