"""What is true of all unit tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.proved_here import fresh_process, models_are_proved_here

__all__ = ["fresh_process", "models_are_proved_here"]


@pytest.fixture(scope="session", autouse=True)
def legends_have_a_place() -> Iterator[None]:
    """Matplotlib's search for a free place warns once it takes a second, which is up to the machine."""
    from matplotlib.legend import Legend

    def search(legend: Legend, *_: object) -> None:
        raise AssertionError(f"the legend {[text.get_text() for text in legend.get_texts()]} has no place")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Legend, "_find_best_position", search)
        yield
