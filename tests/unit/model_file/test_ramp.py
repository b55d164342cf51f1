"""The section ``ramp`` of a model file."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from podium.errors import SpecError
from podium.lifecycle.ramped import ramp_terms
from podium.model_file.loading import load_spec

ToyFile = Callable[..., Path]


def test_an_empty_section_has_the_defaults_and_none_is_no_ramp(toy_file: ToyFile) -> None:
    ramp = load_spec(toy_file(ramp={})).ramp
    assert ramp is not None
    assert (ramp.steps, ramp.each.rows, ramp.at_most) == ((5, 25, 50), 1000, timedelta(days=7))
    assert load_spec(toy_file()).ramp is None
    assert ramp_terms(load_spec(toy_file())) is None


@pytest.mark.parametrize(
    ("section", "says"),
    [
        ({"steps": [5, 5]}, "ramp.steps: [5, 5]: each step must be more than the one before"),
        ({"steps": [50, 5]}, "ramp.steps: [50, 5]: each step must be more than the one before"),
        ({"steps": []}, "ramp.steps"),
        ({"steps": [100]}, "ramp.steps[0]"),
        ({"steps": [0]}, "ramp.steps[0]"),
        ({"each": {"rows": 0}}, "ramp.each.rows"),
        ({"each": {"row": 5}}, "ramp.each.row: unknown key; did you mean 'rows'?"),
        ({"at_most": "soon"}, "ramp.at_most"),
    ],
)
def test_a_wrong_section_names_its_key(toy_file: ToyFile, section: dict[str, Any], says: str) -> None:
    with pytest.raises(SpecError) as refused:
        load_spec(toy_file(ramp=section))
    assert says in str(refused.value)


def test_the_questions_are_those_of_the_watch_window_and_losses_only_where_it_asks(toy_file: ToyFile) -> None:
    alone = ramp_terms(load_spec(toy_file(ramp={"each": {"rows": 7}, "at_most": "2h"})))
    assert alone is not None
    assert (alone.rows, alone.at_most_seconds, alone.labelled_rows) == (7, 7200.0, 0)
    assert (alone.metric, alone.margin, alone.stores_answers) == ("log_loss", 0.01, True)
    silent = ramp_terms(load_spec(toy_file(ramp={}, watch={"labelled_rows": 0})))
    assert silent is not None
    assert (silent.metric, silent.stores_answers) == ("", False)
