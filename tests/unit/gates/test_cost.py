from __future__ import annotations

from time import sleep
from typing import Any

import pandas as pd
import pytest

from podium.gates import cost
from podium.gates.cost import Timed, measure_speed
from podium.gates.evidence import Cost


class Model:
    def __init__(self, seconds: float, asked: list[str], name: str) -> None:
        self.seconds, self.asked, self.name = seconds, asked, name

    def predict(self, rows: pd.DataFrame) -> None:
        self.asked.append(f"{self.name} {len(rows)}")
        sleep(self.seconds)


def timed(seconds: float, asked: list[str], name: str, rows: int = 20) -> Any:
    return Timed(Model(seconds, asked, name), pd.DataFrame({"x": range(rows)}), Cost(0.5, 2.0))


def test_models_take_turns_on_the_same_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost, "SINGLE_ROWS", 3)
    monkeypatch.setattr(cost, "BATCHES", 2)
    asked: list[str] = []
    found = measure_speed({name: timed(0.001, asked, name) for name in ("ours", "theirs")})
    turns = [f"{name} {rows}" for rows in (1, 1, 1, 20, 20) for name in ("ours", "theirs")]
    assert asked == ["ours 1", "theirs 1", *turns]
    assert (found["ours"].load_time, found["ours"].model_size) == (0.5, 2.0)


def test_a_slower_model_is_seen_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost, "SINGLE_ROWS", 5)
    found = measure_speed({"slow": timed(0.02, [], "slow"), "quick": timed(0.0, [], "quick")})
    slow, quick = found["slow"], found["quick"]
    assert slow.latency_p95 is not None
    assert quick.latency_p95 is not None
    assert slow.latency_p95 > 0.02 > quick.latency_p95
    assert slow.throughput is not None
    assert quick.throughput is not None
    assert quick.throughput > 20 / 0.02 > slow.throughput


def test_fewer_rows_than_are_timed_are_asked_again() -> None:
    asked: list[str] = []
    measure_speed({"ours": timed(0.0, asked, "ours", rows=1)})
    assert asked == ["ours 1"] * (1 + cost.SINGLE_ROWS + cost.BATCHES)


def test_no_model_takes_no_time() -> None:
    assert measure_speed({}) == {}
