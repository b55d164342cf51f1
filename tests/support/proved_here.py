"""What tests train is proved in their own process, in the tiers whose conftest imports this."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from podium.registry import proof

FRESH_PROBLEM = proof.fresh_problem


@pytest.fixture(scope="session", autouse=True)
def models_are_proved_here() -> Iterator[None]:
    """A process for the proof of each model takes seconds: tests of the proof itself ask for one."""

    def problem(folder: Path, gaps: Path | None = None) -> str:
        from podium.registry.example import problem_in

        return problem_in(str(folder), "" if gaps is None else str(gaps))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(proof, "fresh_problem", problem)
        yield


@pytest.fixture
def fresh_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prove models as it is done outside of tests."""
    monkeypatch.setattr(proof, "fresh_problem", FRESH_PROBLEM)
