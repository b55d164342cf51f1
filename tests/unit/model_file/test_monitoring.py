"""The section ``monitoring`` of a model file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from podium.errors import SpecError
from podium.model_file.loading import load_spec
from support.toy import TOY

ToyFile = Callable[..., Path]
DAILY = {"windows": "0 0 * * *"}


def test_without_the_section_nothing_is_monitored_and_with_it_there_are_defaults(toy_file: ToyFile) -> None:
    assert load_spec(toy_file()).monitoring is None
    section = load_spec(toy_file(monitoring=DAILY)).monitoring
    assert section is not None
    assert (section.alarms.at_most_one_in, section.min_rows, section.match) == (1000, 30, None)
    assert (section.weights, section.retrain_on) == ({}, None)


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({}, "monitoring.windows: missing"),
        ({"windows": "daily"}, "monitoring.windows: 'daily': must be a cron expression"),
        ({**DAILY, "alarms": {"at_most_one_in": 3}}, "monitoring.alarms.at_most_one_in: 3: must be at least"),
        ({**DAILY, "match": "year"}, "monitoring.match: 'year': allowed: weekday, month"),
        (
            {**DAILY, "weights": {"z": 1.0}},
            "monitoring.weights.z: 1.0: no such input; they are in data.inputs",
        ),
        ({**DAILY, "weights": {"x": -1.0}}, "monitoring.weights.x: -1.0: must be at least 0"),
        ({**DAILY, "retrain_on": "harm"}, "monitoring.retrain_on: 'harm'"),
        ({**DAILY, "min_row": 3}, "monitoring.min_row: unknown key; did you mean 'min_rows'?"),
    ],
)
def test_a_wrong_key_is_named_with_its_line(toy_file: ToyFile, section: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError) as refused:
        load_spec(toy_file(monitoring=section))
    assert "line " in str(refused.value)
    assert message in str(refused.value)


def test_without_times_there_are_no_windows(toy_file: ToyFile) -> None:
    data = {name: value for name, value in TOY["data"].items() if name != "time_column"}
    with pytest.raises(SpecError, match=r"monitoring: needs data.time_column"):
        load_spec(toy_file(monitoring=DAILY, data=data, holdout={"share": 0.2}))
