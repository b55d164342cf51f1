"""Rules on metrics, slice by slice."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import numpy as np
import pandas as pd
import pytest

from podium.gates.evidence import Evidence
from podium.gates.report import GateResult, GateStatus
from support.evidence import classified, estimated, judge

PASSED, FAILED, WAIVED = GateStatus.PASSED, GateStatus.FAILED, GateStatus.WAIVED


def by_country(errors: dict[str | None, list[float]], champion: float | None = None) -> Evidence:
    """Rows of countries, with the candidate's error of each; the champion is always off by as much."""
    country = [name for name, rows in errors.items() for _ in rows]
    ours = [error for rows in errors.values() for error in rows]
    references = {} if champion is None else {"champion": [champion] * len(ours)}
    return estimated([0.0] * len(ours), ours, references, columns=pd.DataFrame({"country": country}))


def judge_slices(evidence: Evidence, rule: dict[str, Any], **slices: Any) -> GateResult:
    cut = {"column": "country", "min_support": 2, **slices}
    return judge({"metric": "mean_absolute_error", **rule, "slices": cut}, evidence)


def statuses(result: GateResult) -> dict[str, GateStatus]:
    return {part.name: part.status for part in result.slices}


def test_one_slice_that_fails_fails_the_gate_whatever_the_mean_is() -> None:
    evidence = by_country({"big": [0.1] * 100, "small": [0.9] * 2, None: [0.1] * 2})
    result = judge_slices(evidence, {"threshold": 0.5})
    assert result.status is FAILED
    assert (result.value, result.note) == (0.9, "worst: country = small")
    found = statuses(result)
    assert found == {"country = big": PASSED, "country = small": FAILED, "country is empty": PASSED}
    assert [part.rows for part in result.slices] == [100, 2, 2]


def test_each_slice_has_its_own_reference() -> None:
    evidence = by_country({"a": [0.5] * 3, "b": [1.0] * 3}, champion=0.75)
    relative = {"against": "champion", "max_regression_abs": 0.125}
    result = judge_slices(evidence, relative)
    assert statuses(result) == {"country = a": PASSED, "country = b": FAILED}
    assert (result.value, result.reference, result.limit) == (1.0, 0.75, 0.875)
    sure = judge_slices(evidence, {"against": "champion", "not_worse": {"resamples": 100}})
    assert statuses(sure) == {"country = a": PASSED, "country = b": FAILED}
    assert [part.interval for part in sure.slices] == [(-0.25, -0.25), (0.25, 0.25)]
    assert sure.value == 0.25


def test_of_a_metric_that_should_be_great_the_smallest_is_the_worst() -> None:
    columns = pd.DataFrame({"country": list("aabb")})
    evidence = classified([1, 1, 1, 1], [0.9, 0.9, 0.9, 0.1], columns=columns)
    cut = {"column": "country", "min_support": 2}
    result = judge({"metric": "accuracy", "threshold": 0.4, "slices": cut}, evidence)
    assert (result.status, result.value, result.note) == (PASSED, 0.5, "worst: country = b")


@pytest.mark.parametrize("rule", [{"threshold": 0.5}, {"max_slice_difference": 0.5}])
def test_a_slice_that_is_too_small_fails_or_is_waived_on_record(rule: dict[str, Any]) -> None:
    evidence = by_country({"a": [0.1] * 3, "b": [0.2] * 3, "tiny": [0.1]})
    failed = judge_slices(evidence, rule)
    assert failed.status is FAILED
    assert statuses(failed)["country = tiny"] is FAILED
    assert failed.slices[2].note == "1 row, 2 needed"
    assert "country = tiny has 1 row, 2 needed" in failed.note
    waived = judge_slices(evidence, rule, below_support="waive")
    assert waived.status is PASSED
    assert statuses(waived) == {"country = a": PASSED, "country = b": PASSED, "country = tiny": WAIVED}
    assert waived.slices[2].value is None


@pytest.mark.parametrize("rule", [{"threshold": 0.5}, {"max_slice_difference": 0.5}])
def test_where_every_slice_is_waived_nothing_was_shown(rule: dict[str, Any]) -> None:
    result = judge_slices(by_country({"a": [0.1], "b": [0.1]}), rule, below_support="waive")
    assert result.status is FAILED
    assert str(result.value) == "nan"
    assert set(statuses(result).values()) == {WAIVED}


@pytest.mark.parametrize("rule", [{"threshold": 0.5}, {"max_slice_difference": 0.5}])
def test_a_listed_value_that_is_not_there_is_missing_not_small(rule: dict[str, Any]) -> None:
    evidence = by_country({"a": [0.1] * 3, "b": [0.1] * 3})
    result = judge_slices(evidence, rule, values=["a", "b", "c"], below_support="waive")
    assert result.status is FAILED
    assert (result.slices[2].status, result.slices[2].note) == (FAILED, "no rows, 2 needed")


def test_a_column_that_is_not_there_fails() -> None:
    result = judge_slices(by_country({"a": [0.1] * 3}), {"threshold": 0.5}, column="county")
    assert (result.status, result.note) == (FAILED, "the examples have no column 'county'")


def test_a_holdout_without_rows_has_no_slice_to_pass() -> None:
    for rule in ({"threshold": 0.5}, {"max_slice_difference": 0.5}):
        for cut in ({}, {"bins": 3}, {"values": ["a", "b"]}, {"bins": (1.0,)}):
            assert judge_slices(by_country({"a": []}), rule, **cut).status is FAILED


def test_a_slice_on_which_the_metric_has_no_value_fails() -> None:
    columns = pd.DataFrame({"country": list("aabb")})
    evidence = classified([0, 1, 1, 1], [0.1, 0.9, 0.9, 0.9], columns=columns)
    cut = {"column": "country", "min_support": 1}
    result = judge({"metric": "roc_auc", "threshold": 0.5, "slices": cut}, evidence)
    assert result.status is FAILED
    assert statuses(result) == {"country = a": PASSED, "country = b": FAILED}
    assert (str(result.value), result.note) == ("nan", "worst: country = b")
    assert "it cannot be computed on these rows" in result.slices[1].note


def test_slices_may_differ_by_so_much() -> None:
    evidence = by_country({"a": [0.125] * 3, "b": [0.625] * 3, "c": [0.25] * 3})
    within = judge_slices(evidence, {"max_slice_difference": 0.5})
    assert (within.status, within.value, within.limit) == (PASSED, 0.5, 0.5)
    # The slices themselves have no bound to fail.
    assert {(part.status, part.limit) for part in within.slices} == {(PASSED, None)}
    beyond = judge_slices(evidence, {"max_slice_difference": 0.4})
    assert (beyond.status, beyond.value) == (FAILED, 0.5)
    alone = judge_slices(by_country({"a": [0.1] * 3}), {"max_slice_difference": 0.4})
    assert (alone.status, alone.note) == (FAILED, "fewer than two slices have enough rows")


@pytest.mark.parametrize("order", list(permutations(["good", "fine", "strange"])))
def test_a_slice_without_a_number_is_no_small_difference_wherever_it_stands(order: tuple[str, ...]) -> None:
    errors = {"good": [0.1] * 3, "fine": [0.2] * 3, "strange": [np.nan] * 3}
    evidence = by_country({name: errors[name] for name in order})
    result = judge_slices(evidence, {"max_slice_difference": 0.5}, values=list(order))
    assert (result.status, str(result.value)) == (FAILED, "nan")
    assert statuses(result)["country = strange"] is FAILED


def test_no_champion_is_told_before_the_slices_are_cut() -> None:
    rule = {"against": "champion", "max_regression_abs": 0.1}
    assert judge_slices(by_country({"a": [0.1] * 3}), rule).status is GateStatus.NO_CHAMPION


def test_very_many_slices_are_refused_in_a_sentence() -> None:
    evidence = by_country({f"kiosk {number:04}": [0.1] for number in range(1_100)})
    result = judge_slices(evidence, {"threshold": 0.5})
    assert result.status is FAILED
    assert "1,100" in result.note
    assert len(result.note) < 300
