"""Every odd value at every kind of column: answered alike wherever it comes from, or refused by name."""

from __future__ import annotations

import pytest

from support.every_kind import CASES, ODD, Models, answers, assert_equal_or_refused


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    return Models(tmp_path_factory.mktemp("kinds"))


@pytest.mark.parametrize(("kind", "required"), CASES)
def test_an_odd_value_is_answered_alike_or_refused_by_name(models: Models, kind: str, required: bool) -> None:
    for value in ODD:
        assert_equal_or_refused(answers(models.of(kind, required), value))
