"""A run that is followed is given up when it stands still, not when it is slow."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, repeat
from types import SimpleNamespace
from typing import Any

import pytest

from podium.errors import PodiumError
from podium.stack import rehearsal
from support.answering import answering
from support.patience import PATIENCE_SECONDS

States = dict[str, str | None]
# It looks every half second.
LOOKS_OF_A_STALL = 2 * rehearsal.STALLED_SECONDS


@dataclass
class Airflow:
    """What the followed run is at each look; it succeeds when there is nothing more to see."""

    looks: Iterator[States]
    left: bool = True

    def task_states(self, dag_id: str, run_id: str) -> States:
        found = next(self.looks, None)
        self.left = found is not None
        return found or {"train": "success"}

    def run_state(self, dag_id: str, run_id: str) -> str:
        return "running" if self.left else "success"


@pytest.fixture(autouse=True)
def time_that_passes_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    passed = [0.0]

    def sleep(seconds: float) -> None:
        passed[0] += seconds

    monkeypatch.setattr(rehearsal, "time", SimpleNamespace(sleep=sleep, monotonic=lambda: passed[0]))


def follow(looks: Iterator[States]) -> list[States]:
    client: Any = Airflow(looks)
    return list(rehearsal.follow(client, "lifecycle_toy", "r1"))


def test_training_may_take_long_and_each_change_is_told_once() -> None:
    hours = repeat({"train": "running"}, 10 * LOOKS_OF_A_STALL)
    assert follow(hours) == [{"train": "running"}, {"train": "success"}]


def test_progress_is_told_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    follow(iter([{"train": "running"}, {"train": "up_for_retry"}]))
    lines = [line.split(" s  ")[1].split(maxsplit=1) for line in capsys.readouterr().out.splitlines()]
    assert lines == [["train", "running"], ["train", "will be tried again"], ["train", "done"]]


@pytest.mark.parametrize("state", ["queued", None])
def test_a_run_that_stands_still_is_given_up(state: str | None) -> None:
    looks = chain(repeat({"train": "running"}, LOOKS_OF_A_STALL), repeat({"train": state}))
    with pytest.raises(PodiumError, match=f"lifecycle_toy/r1 has not moved for 300 s: .'train': '?{state}"):
        follow(looks)


def test_what_does_not_stand_still_is_not_given_up() -> None:
    slow = (
        {"train": state}
        for number in range(20)
        for state in repeat(("queued", "scheduled")[number % 2], LOOKS_OF_A_STALL)
    )
    assert len(follow(slow)) == 21


def test_a_model_server_that_is_never_ready_is_told_with_its_last_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rehearsal, "READY_SECONDS", 1)
    with answering({"/ready": 503}) as url, pytest.raises(PodiumError) as late:
        rehearsal.ask_for_example(url, "toy")
    assert str(late.value) == f"the model server at {url} is not ready after 1 s: "
    with pytest.raises(PodiumError, match=f"the model server at {url} is not ready after 1 s: .*refused"):
        rehearsal.ask_for_example(url, "toy")


def test_nobody_waits_for_a_model_server_that_has_ended() -> None:
    ended = subprocess.Popen(["sh", "-c", "exit 7"])
    ended.wait(PATIENCE_SECONDS)
    with answering({"/ready": 503}) as url, pytest.raises(PodiumError, match=f"{url} has ended with 7"):
        rehearsal.ask_for_example(url, "toy", server=ended)
