"""The section ``watch`` of a model file."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from podium.errors import SpecError
from podium.model_file.loading import load_spec

ToyFile = Callable[..., Path]


def test_without_the_section_nothing_is_watched_and_with_it_a_rollback_is_proposed(toy_file: ToyFile) -> None:
    assert load_spec(toy_file()).watch is None
    section = load_spec(toy_file(watch={})).watch
    assert section is not None
    assert (section.rows, section.at_most, section.labelled_rows) == (5000, timedelta(days=7), 300)
    assert section.auto_rollback == "propose"


@pytest.mark.parametrize(("word", "means"), [("on", "on"), ("off", "off"), ("'on'", "on"), ("'off'", "off")])
def test_the_bare_words_on_and_off_are_what_they_say(toy_file: ToyFile, word: str, means: str) -> None:
    path = toy_file()
    path.write_text(f"{path.read_text()}\nwatch: {{auto_rollback: {word}}}\n")
    section = load_spec(path).watch
    assert section is not None
    assert section.auto_rollback == means


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"rows": 0}, "watch.rows: 0: must be at least 1"),
        ({"at_most": "a week"}, "watch.at_most: 'a week': must be a duration such as"),
        ({"at_most": "400d"}, "watch.at_most: '400d': must be a duration such as"),
        ({"labelled_rows": -1}, "watch.labelled_rows: -1: must be at least 0"),
        ({"labelled_rows": 200_000}, "watch.labelled_rows: 200000: must be at most 100000"),
        ({"auto_rollback": "always"}, "watch.auto_rollback: 'always': allowed: off, propose, on"),
        ({"row": 3}, "watch.row: unknown key; did you mean 'rows'?"),
    ],
)
def test_a_wrong_key_is_named_with_its_line(toy_file: ToyFile, section: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError) as refused:
        load_spec(toy_file(watch=section))
    assert "line " in str(refused.value)
    assert message in str(refused.value)


def test_losses_need_a_metric_that_is_a_mean_over_rows(toy_file: ToyFile) -> None:
    gates = [{"metric": "roc_auc", "threshold": 0.5}]
    with pytest.raises(SpecError, match=r"watch.labelled_rows.*: needs a gate on a mean over rows, or be 0"):
        load_spec(toy_file(watch={}, gates=gates))
    assert load_spec(toy_file(watch={"labelled_rows": 0}, gates=gates)).watch is not None
