"""The sentence by which people are told how a candidate compares with the champion."""

from __future__ import annotations

from typing import Any

import pytest

from podium.gates.report import WORSE, GateReport, GateResult, GateStatus, Scores, SliceResult
from podium.model_file.spec import ModelSpec
from podium.reporting.comparison import in_one_sentence

AGAINST = "log_loss no worse than champion by more than 0.1 in each slice of region"
METRICS = {"accuracy": 0.6, "log_loss": 0.984}


def part(value: float, reference: float = 0.5, **more: Any) -> SliceResult:
    return SliceResult(**{
        "name": "region = north", "rows": 50, "status": GateStatus.PASSED,
        "value": value, "reference": reference, "limit": 0.6, **more,
    })  # fmt: skip


def report(champion: int | None, *slices: SliceResult, candidate: dict[str, float] = METRICS) -> GateReport:
    gates = (GateResult(gate=AGAINST, status=GateStatus.PASSED, value=0.5, slices=slices),) if slices else ()
    references = {} if champion is None else {"champion": {"log_loss": 0.991, "accuracy": 0.5}}
    return GateReport("toy", 7, champion, Scores(100, candidate, references), gates)


def test_what_replaces_what_by_which_number_and_how_the_slices_do(toy_spec: ModelSpec) -> None:
    better, equal, worse = part(0.4), part(0.5), part(0.6)
    changes = "v7 replaces v5: log loss 0.9910 -> 0.9840"
    said = in_one_sentence(report(5, better, better, better, equal), toy_spec)
    assert said == f"{changes}, three slices better, none worse"
    assert in_one_sentence(report(5, better, worse), toy_spec) == f"{changes}, one slice better, one worse"
    assert in_one_sentence(report(5, *[worse] * 12), toy_spec) == f"{changes}, no slice better, 12 worse"
    assert in_one_sentence(report(5), toy_spec) == changes


@pytest.mark.parametrize(
    ("interval", "said"),
    [
        ((-0.2, -0.1), "one slice better, none worse"),
        ((-0.1, 0.1), "no slice better, none worse"),
        ((0.1, 0.2), "no slice better, one worse"),
    ],
)
def test_a_slice_that_the_data_do_not_tell_apart_is_on_no_side(
    toy_spec: ModelSpec, interval: tuple[float, float], said: str
) -> None:
    sentence = in_one_sentence(report(5, part(0.1, unit=WORSE, interval=interval)), toy_spec)
    assert sentence.endswith(f", {said}")


def test_a_first_version_has_nothing_before_it(toy_spec: ModelSpec) -> None:
    assert in_one_sentence(report(None), toy_spec) == "v7 becomes the first champion: log loss 0.9840"


def test_without_a_model_file_or_a_known_metric_something_is_said_all_the_same(toy_spec: ModelSpec) -> None:
    assert in_one_sentence(report(5), None) == "v7 replaces v5: accuracy 0.5000 -> 0.6000"
    nothing = report(5, candidate={})
    assert in_one_sentence(nothing, toy_spec) == f"v7 replaces v5: {nothing.verdict()}"


def test_a_difference_that_the_digits_do_not_show_is_practically_none(toy_spec: ModelSpec) -> None:
    said = in_one_sentence(report(5, candidate={"log_loss": 0.99101}), toy_spec)
    assert said == "v7 replaces v5: log loss 0.9910, practically equal"
