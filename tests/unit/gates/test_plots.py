from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from podium.gates.evidence import Evidence
from podium.gates.plots import gate_pictures
from podium.gates.report import GateReport
from podium.gates.rules import evaluate, scores_of
from support.evidence import classified, estimated, gate

NOT_WORSE = {"against": "champion", "not_worse": {"resamples": 100}}


def drawn(evidence: Evidence, *said: dict[str, Any]) -> dict[str, Any]:
    gates = tuple(gate(**each) for each in said)
    report = GateReport("toy", 2, 1, scores_of(gates, evidence), evaluate(gates, evidence))
    figures = gate_pictures(report, gates, evidence)
    for figure in figures.values():
        figure.draw_without_rendering()
    return figures


def numbers(rows: int, shift: float) -> Evidence:
    champion = np.random.default_rng(0).uniform(1, 2, rows)
    columns = pd.DataFrame({"c": np.arange(rows) % 40})
    return estimated(np.zeros(rows), champion + shift, {"champion": champion}, columns=columns)


def test_pictures_are_named_after_the_place_of_their_gate() -> None:
    truth = np.arange(60) % 2
    evidence = classified(truth, np.linspace(0.1, 0.9, 60), np.linspace(0.2, 0.8, 60))
    evidence = replace(evidence, columns=pd.DataFrame({"c": truth}))
    found = drawn(
        evidence,
        {"min_holdout_rows": 1},
        {"metric": "roc_auc", **NOT_WORSE},
        {"metric": "log_loss", "threshold": 1, "slices": {"column": "c"}},
        {"metric": "log_loss", **NOT_WORSE, "slices": {"column": "c"}},
    )
    assert set(found) == {"reliability", "bootstrap_1", "slices_2", "slices_3"}


def test_there_is_nothing_to_draw_of_a_candidate_that_cannot_be_used() -> None:
    evidence = classified([0, 1], [0.1, 0.9])
    rule = {"metric": "log_loss", "threshold": 1}
    assert drawn(replace(evidence, candidate=replace(evidence.candidate, broken="does not load")), rule) == {}
    assert drawn(classified([], []), rule) == {}


@pytest.mark.parametrize("strange", [math.nan, math.inf, -math.inf])
def test_answers_that_are_no_numbers_can_be_drawn(strange: float) -> None:
    for ours, champions in (([0.1, strange, 0.3], [0.1, 0.2, 0.3]), ([0.1, 0.2, 0.3], [strange] * 3)):
        columns = pd.DataFrame({"c": list("aab")})
        without_threshold = {"metric": "log_loss", "slices": {"column": "c", "min_support": 1}}
        rule = {**without_threshold, "threshold": 1}
        found = drawn(
            classified([0, 1, 1], ours, champions, columns=columns),
            rule,
            {"metric": "log_loss", **NOT_WORSE},
            {**without_threshold, "max_slice_difference": 0.5},
        )
        assert "reliability" in found
        assert "bootstrap_1" not in found


@pytest.mark.parametrize("shift", [0.0, 0.1, 1.0, 1e6, 1e-17])
def test_differences_that_are_all_but_equal_can_be_drawn(shift: float) -> None:
    assert set(drawn(numbers(80, shift), {"metric": "mean_absolute_error", **NOT_WORSE})) == {"bootstrap_0"}


def test_an_interval_that_has_no_ends_is_not_drawn() -> None:
    evidence = classified([0, 0, 1], [0.1, 0.2, 0.9], [0.1, 0.2, 0.9])
    assert set(drawn(evidence, {"metric": "roc_auc", **NOT_WORSE})) == {"reliability"}


def test_of_many_slices_those_that_failed_are_seen() -> None:
    evidence = numbers(400, 0.0)
    worse = evidence.candidate.predictions + np.where(evidence.columns["c"] == 39, 9.0, 0.0)
    evidence = replace(evidence, candidate=replace(evidence.candidate, predictions=worse))
    rule = {"metric": "mean_absolute_error", "threshold": 5, "slices": {"column": "c", "min_support": 1}}
    (axes,) = drawn(evidence, rule)["slices_0"].axes
    shown = [label.get_text() for label in axes.get_yticklabels()]
    assert len(shown) == 30
    assert shown[0] == "c = 39 (10 rows)"
