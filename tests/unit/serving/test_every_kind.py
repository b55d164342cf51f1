"""A value of each kind is answered alike wherever it comes from, or refused with its column's name."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from podium.sources.columns import columns_of
from support.every_kind import CASES, GOOD, ODD, ROUTES, Models, Refused, answers, assert_equal_or_refused
from support.trained_kinds import COLUMNS, Trained, train_on


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    return Models(tmp_path_factory.mktemp("kinds"))


@pytest.mark.parametrize(("kind", "required"), CASES)
def test_whatever_a_value_is_it_is_answered_alike_or_refused_by_name(
    models: Models, kind: str, required: bool
) -> None:
    model = models.of(kind, required)

    @settings(max_examples=15)
    @given(GOOD[kind] | st.sampled_from(ODD))
    def alike(value: object) -> None:
        assert_equal_or_refused(answers(model, value))

    alike()


@pytest.mark.parametrize("kind", GOOD)
def test_a_value_of_the_kind_is_answered_by_each_that_can_hold_it(models: Models, kind: str) -> None:
    routes = {"/predict", "/invocations", "MLflow"}
    if kind in ("boolean", "integer", "long", "float", "double", "string", "datetime"):
        routes = set(ROUTES)
    if kind in ("float", "integer"):
        routes -= {"MLflow"}  # It takes no wider number from pandas, which has no others in a list.

    @settings(max_examples=10)
    @given(GOOD[kind])
    def answered(value: object) -> None:
        found = answers(models.of(kind, required=True), value)
        assert not [said for route, said in found.items() if route in routes and isinstance(said, Refused)]
        assert_equal_or_refused(found)

    answered()


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Trained]:
    return cache(lambda kind: train_on(kind, tmp_path_factory.mktemp("trained")))


@pytest.mark.trains
@pytest.mark.parametrize("kind", COLUMNS)
def test_a_trained_model_answers_what_it_was_trained_on_as_then_wherever_it_is_asked(
    trained: Callable[[str], Trained], kind: str
) -> None:
    made = trained(kind)
    (column,) = columns_of(made.model.metadata.get_input_schema())
    assert (column.kind, column.required) == (COLUMNS[kind][0], None not in made.values)
    for value, then in zip(made.values, made.answers, strict=True):
        found = answers(made.model, value)
        assert_equal_or_refused(found)
        assert found["/predict"] == found["/invocations"] == then, (value, found)


@pytest.mark.trains
@pytest.mark.parametrize("kind", COLUMNS)
def test_a_trained_model_answers_any_value_alike_or_refuses_it_by_name(
    trained: Callable[[str], Trained], kind: str
) -> None:
    model = trained(kind).model

    @settings(max_examples=5)
    @given(GOOD[COLUMNS[kind][0]] | st.sampled_from(ODD))
    def alike(value: object) -> None:
        assert_equal_or_refused(answers(model, value))

    alike()
