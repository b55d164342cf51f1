from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from podium.errors import TrainerError
from podium.gates.evidence import BaselineFile
from podium.gates.report import GateResult, GateStatus
from podium.metrics import bootstrap
from support.evidence import classified, estimated, judge

# On one row it is any number that a test wants.
NUMBER = "support.own_metrics:prediction"
FILE = "qa/baseline.json"


def judge_numbers(
    rule: dict[str, Any], value: float, reference: float | None = None, *, greater: bool = False
) -> GateResult:
    """Judge a metric that is ``value``, and ``reference`` of whatever the rule holds it against."""
    metric = {"metric": NUMBER, "greater_is_better": greater, **rule}
    references = {} if reference is None else {str(rule.get("against")): [reference]}
    files = {} if reference is None else {FILE: BaselineFile({NUMBER: reference}, ())}
    return judge(metric, estimated([0.0], [value], references, baseline_files=files))


@pytest.mark.parametrize(
    ("rule", "greater", "reference", "good", "bad"),
    [
        ({"threshold": 0.9}, False, None, 0.9, 0.91),
        ({"threshold": 0.9}, True, None, 0.9, 0.89),
        ({"max_regression_abs": 0.25}, False, 1.0, 1.25, 1.26),
        ({"max_regression_abs": 0.25}, True, 0.75, 0.5, 0.4),
        ({"max_regression_abs": 0.0}, False, 1.0, 1.0, 1.0001),
        ({"max_regression_rel": 0.25}, False, 2.0, 2.5, 2.51),
        ({"max_regression_rel": 0.25}, True, 2.0, 1.5, 1.49),
        # A quarter of what -2 is worth, not of its sign.
        ({"max_regression_rel": 0.25}, True, -2.0, -2.5, -2.51),
        ({"max_regression_rel": 0.25}, False, -2.0, -1.5, -1.49),
        ({"min_improvement": 0.25}, False, 1.0, 0.75, 0.76),
        ({"min_improvement": 0.25}, True, 0.5, 0.75, 0.74),
        ({"min_improvement": 0.0}, False, 1.0, 1.0, 1.01),
        ({"not_worse": {"resamples": 100, "margin": 0.25}}, False, 1.0, 1.25, 1.26),
        ({"not_worse": {"resamples": 100, "margin": 0.25}}, True, 0.75, 0.5, 0.49),
    ],
)
@pytest.mark.parametrize("held_against", [{"against": "champion"}, {"against": "elo"}, {"baseline": FILE}])
def test_each_rule(
    rule: dict[str, Any],
    greater: bool,
    reference: float | None,
    good: float,
    bad: float,
    held_against: dict[str, str],
) -> None:
    if "not_worse" in rule and "baseline" in held_against:
        return  # It needs rows, and the model file says so.
    said = rule if "threshold" in rule else {**rule, **held_against}
    assert judge_numbers(said, good, reference, greater=greater).status is GateStatus.PASSED
    assert judge_numbers(said, bad, reference, greater=greater).status is GateStatus.FAILED


def test_the_candidate_to_be_replaced_is_a_reference_too() -> None:
    rule = {"metric": "mean_absolute_error", "against": "candidate", "max_regression_abs": 0.5}
    assert judge(rule, estimated([0], [1.5], {"candidate": [1.0]})).status is GateStatus.PASSED
    assert judge(rule, estimated([0], [1.6], {"candidate": [1.0]})).status is GateStatus.FAILED
    alone = judge(rule, estimated([0], [1.6], {"champion": [1.0]}))
    assert (alone.status, alone.note) == (GateStatus.NO_CHAMPION, "there is no candidate")


def test_numbers_of_the_trainer_are_held_against_bounds_and_files() -> None:
    evidence = estimated(
        [0], [0], trainer_metrics={"loss": 0.5}, baseline_files={FILE: BaselineFile({"loss": 0.4}, ())}
    )
    loss = {"metric": "trainer.loss", "greater_is_better": False}
    assert judge({**loss, "threshold": 0.5}, evidence).status is GateStatus.PASSED
    assert judge({**loss, "threshold": 0.4}, evidence).status is GateStatus.FAILED
    result = judge({**loss, "baseline": FILE, "max_regression_abs": 0.05}, evidence)
    assert (result.status, result.value, result.reference) == (GateStatus.FAILED, 0.5, 0.4)
    assert result.limit == pytest.approx(0.45)


@pytest.mark.parametrize(
    "rule",
    [
        {"threshold": 10.0},
        {"against": "champion", "max_regression_abs": 10.0},
        {"against": "champion", "max_regression_rel": 10.0},
        {"against": "champion", "min_improvement": 0.0},
        {"against": "champion", "not_worse": {"margin": 10.0, "resamples": 100}},
        {"baseline": FILE, "max_regression_abs": 10.0},
    ],
)
@pytest.mark.parametrize("strange", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("greater", [True, False])
def test_a_number_that_is_none_fails(rule: dict[str, Any], strange: float, greater: bool) -> None:
    result = judge_numbers(rule, strange, 1.0, greater=greater)
    assert result.status is GateStatus.FAILED
    assert "a prediction is not a finite number" in result.note
    if "against" in rule:
        champion = judge_numbers(rule, 1.0, strange, greater=greater)
        assert champion.status is GateStatus.FAILED
        assert "of champion: " in champion.note


@pytest.mark.parametrize("strange", [math.nan, math.inf, -math.inf])
def test_a_number_of_the_trainer_that_is_none_fails(strange: float) -> None:
    for greater in (True, False):
        loss = {"metric": "trainer.loss", "greater_is_better": greater, "threshold": 0.0}
        result = judge(loss, estimated([0], [0], trainer_metrics={"loss": strange}))
        assert result.status is GateStatus.FAILED
    missing = judge({**loss, "metric": "trainer.los"}, estimated([0], [0], trainer_metrics={"loss": 0.0}))
    assert (missing.status, missing.note) == (GateStatus.FAILED, "the trainer returned no number 'los'")


def test_what_there_is_nothing_to_compare_with_fails() -> None:
    rule = {"against": "elo", "min_improvement": 0.0}
    typo = judge(
        {"metric": "mean_absolute_error", **rule}, estimated([0], [0], {"elo_only": [9], "champion": [9]})
    )
    assert typo.status is GateStatus.FAILED
    assert typo.note == "the trainer has no baseline 'elo'; available: elo_only"
    assert "available: none" in judge({"metric": "mean_absolute_error", **rule}, estimated([0], [0])).note
    other = {FILE: BaselineFile({"something": 1.0}, ())}
    rule = {"metric": "mean_absolute_error", "baseline": FILE, "max_regression_abs": 9.0}
    missing = judge(rule, estimated([0], [0], baseline_files=other))
    assert (missing.status, missing.note) == (
        GateStatus.FAILED,
        f"{FILE} has no number 'mean_absolute_error'",
    )


def test_no_rows_pass_nothing() -> None:
    empty = estimated([], [], {"champion": []})
    for rule in ({"threshold": 1e9}, {"against": "champion", "not_worse": {"margin": 9.0}}):
        result = judge({"metric": "mean_absolute_error", **rule}, empty)
        assert (result.status, str(result.value)) == (GateStatus.FAILED, "nan")
        assert "no rows" in result.note


def test_a_metric_that_these_rows_do_not_allow_fails_with_the_reason() -> None:
    one_label = classified([0, 0, 0], [0.1, 0.2, 0.3])
    for metric, why in (("roc_auc", "these rows"), ("neg_log_loss", "only one label"), ("f1", "no row has")):
        result = judge({"metric": metric, "threshold": -100.0}, one_label)
        assert result.status is GateStatus.FAILED
        assert why in result.note


def test_an_own_metric_without_its_column_fails_and_a_broken_one_is_a_fault() -> None:
    rule = {"metric": "support.own_metrics:cost_of_misses", "greater_is_better": False, "threshold": 15.0}
    columns = pd.DataFrame({"amount": [10.0, 20.0]})
    evidence = classified([0, 1], [0.1, 0.2], columns=columns)
    assert judge({**rule, "columns": ["amount"]}, evidence).value == 10.0
    missing = judge({**rule, "columns": ["amount", "price"]}, evidence)
    assert missing.status is GateStatus.FAILED
    assert "the examples have no column price" in missing.note
    with pytest.raises(TrainerError, match="support.own_metrics:crash"):
        judge({**rule, "metric": "support.own_metrics:crash"}, evidence)


@pytest.mark.parametrize("against", ["champion", "candidate"])
@pytest.mark.parametrize(
    "rule",
    [{"max_regression_abs": 0.0}, {"max_regression_rel": 0.0}, {"min_improvement": 9.0}, {"not_worse": {}}],
)
def test_no_champion_blocks_only_where_the_file_says_so(against: str, rule: dict[str, Any]) -> None:
    first = {"metric": "mean_absolute_error", "against": against, **rule}
    alone = estimated([0.0], [0.5])
    result = judge(first, alone)
    assert (result.status, result.value, result.limit) == (GateStatus.NO_CHAMPION, 0.5, None)
    assert not result.refuses
    assert judge({**first, "no_champion": "fail"}, alone).refuses


finite = st.floats(-1e6, 1e6)
bounds = st.floats(0, 1e3)
rules = st.one_of(
    st.builds(lambda bound: {"threshold": bound}, finite),
    st.builds(
        lambda name, bound, other: {name: bound, **other},
        st.sampled_from(["max_regression_abs", "max_regression_rel", "min_improvement"]),
        bounds,
        st.sampled_from(
            [{"against": "champion"}, {"against": "candidate"}, {"against": "elo"}, {"baseline": FILE}]
        ),
    ),
    st.builds(
        lambda bound: {"against": "champion", "not_worse": {"margin": bound, "resamples": 100}}, bounds
    ),
)


@given(rule=rules, value=finite, reference=finite, worse_by=st.floats(0, 1e6), greater=st.booleans())
@settings(max_examples=150)
def test_more_regression_never_turns_fail_into_pass(
    rule: dict[str, Any], value: float, reference: float, worse_by: float, greater: bool
) -> None:
    if judge_numbers(rule, value, reference, greater=greater).status is GateStatus.FAILED:
        worse = value - worse_by if greater else value + worse_by
        assert judge_numbers(rule, worse, reference, greater=greater).status is GateStatus.FAILED


losses = st.lists(st.tuples(*[st.floats(0, 10)] * 3), min_size=1, max_size=12)
row_rules = st.one_of(
    st.builds(lambda bound: {"threshold": bound}, st.floats(0, 10)),
    st.builds(
        lambda name, bound: {"against": "champion", name: bound},
        st.sampled_from(["max_regression_abs", "max_regression_rel", "min_improvement"]),
        st.floats(0, 1),
    ),
    st.builds(
        lambda margin, seed: {
            "against": "champion",
            "not_worse": {"margin": margin, "seed": seed, "resamples": 100},
        },
        st.floats(0, 1),
        st.integers(0, 5),
    ),
)


@given(
    rule=row_rules, rows=losses, metric=st.sampled_from(["mean_absolute_error", "root_mean_squared_error"])
)
def test_worse_rows_never_turn_fail_into_pass(
    rule: dict[str, Any], rows: list[tuple[float, float, float]], metric: str
) -> None:
    candidate, champion, further = np.array(rows).T
    truth = np.zeros(len(rows))

    def status(answered: Any) -> GateStatus:
        return judge({"metric": metric, **rule}, estimated(truth, answered, {"champion": champion})).status

    if status(candidate) is GateStatus.FAILED:
        assert status(candidate + further) is GateStatus.FAILED


@given(
    seed=st.integers(0, 2**32 - 1),
    rule=row_rules,
    metric=st.sampled_from(["log_loss", "roc_auc", "accuracy"]),
)
def test_probabilities_further_from_the_truth_never_turn_fail_into_pass(
    seed: int, rule: dict[str, Any], metric: str
) -> None:
    draws = np.random.default_rng(seed)
    truth = np.r_[0, 1, draws.integers(0, 2, 18)]
    ours, champion = draws.uniform(size=(2, 20))
    worse = ours + draws.uniform(size=20) * np.where(truth == 1, -ours, 1 - ours)

    def status(answered: Any) -> GateStatus:
        return judge({"metric": metric, **rule}, classified(truth, answered, champion)).status

    if status(ours) is GateStatus.FAILED:
        assert status(worse) is GateStatus.FAILED


def test_how_sure_it_is_decides_not_the_mean_alone() -> None:
    draws = np.random.default_rng(0)
    champion = draws.normal(size=300)
    # Better by a little on the whole, but by luck.
    ours = champion * draws.choice([-1, 1], 300) * draws.uniform(0.7, 1.28, 300)
    evidence = estimated(np.zeros(300), ours, {"champion": champion})
    rule = {"metric": "mean_absolute_error", "against": "champion"}
    assert judge({**rule, "min_improvement": 0.0}, evidence).status is GateStatus.PASSED
    sure = judge({**rule, "not_worse": {"confidence": 0.99}}, evidence)
    assert sure.status is GateStatus.FAILED
    assert sure.interval is not None
    low, high = sure.interval
    assert low < 0 < high == sure.value
    said = f"between {-low:.4f} better and {high:.4f} worse, 2,000 resamples"
    assert (sure.limit, sure.note) == (0.0, said)
    assert (
        judge({**rule, "not_worse": {"confidence": 0.99, "margin": 0.1}}, evidence).status
        is GateStatus.PASSED
    )


def near_the_limit(margin: float, **more: Any) -> GateResult:
    """Judge models that are 95% sure to be worse by at most 0.079."""
    draws = np.random.default_rng(7)
    champion = draws.normal(size=40)
    evidence = estimated(np.zeros(40), champion + 0.3 * draws.normal(size=40), {"champion": champion})
    rule = {"metric": "mean_absolute_error", "against": "champion"}
    return judge({**rule, "not_worse": {"margin": margin, **more}}, evidence)


@pytest.mark.parametrize(("margin", "status"), [(0.087, GateStatus.PASSED), (0.071, GateStatus.FAILED)])
def test_no_seed_decides_however_few_resamples_are_asked_for(margin: float, status: GateStatus) -> None:
    found = [near_the_limit(margin, seed=seed, resamples=100) for seed in range(8)]
    assert {result.status for result in found} == {status}
    # Of 100 alone some ends of the interval lie on the other side.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bootstrap, "MOST_RESAMPLES", 100)
        ends = [near_the_limit(margin, seed=seed, resamples=100).value or 0.0 for seed in range(40)]
    assert min(ends) < margin < max(ends)


def test_what_is_near_to_the_limit_draws_more_and_says_how_many() -> None:
    assert near_the_limit(0.158).note == "between 0.0545 better and 0.0812 worse, 2,000 resamples"
    near = near_the_limit(0.087)
    drawn = int(near.note.split()[-2].replace(",", ""))
    assert 2000 < drawn < 50_000
    assert near.status is GateStatus.PASSED


def test_what_the_resamples_cannot_tell_fails_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "MOST_RESAMPLES", 3000)
    for margin in (0.0795, 0.081):
        unsure = near_the_limit(margin)
        assert unsure.status is GateStatus.FAILED
        assert unsure.note.endswith("too near to the limit to tell: within the noise of 3,000 resamples")


def test_resamples_without_a_number_count_as_the_worst_and_no_seed_decides() -> None:
    # One resample in about 400 has no row of the rarer label.
    draws = np.random.default_rng(1)
    truth = np.r_[np.ones(6, int), np.zeros(94, int)]
    ours, champions = draws.uniform(size=(2, 100))
    rule = {"metric": "roc_auc", "against": "champion"}
    found = [
        judge(
            {**rule, "not_worse": {"margin": 0.9, "seed": seed, "resamples": 500}},
            classified(truth, ours, champions),
        )
        for seed in range(8)
    ]
    assert {result.status for result in found} == {GateStatus.PASSED}


def test_equal_models_are_not_worse() -> None:
    same = np.random.default_rng(0).uniform(size=50)
    truth = np.r_[np.zeros(25, int), np.ones(25, int)]
    for metric in ("log_loss", "roc_auc", "accuracy"):
        rule = {"metric": metric, "against": "champion", "not_worse": {"resamples": 100}}
        result = judge(rule, classified(truth, same, same))
        assert (result.status, result.interval) == (GateStatus.PASSED, (0.0, 0.0))


def test_an_interval_that_cannot_be_had_fails() -> None:
    rule = {"metric": "roc_auc", "against": "champion", "not_worse": {"margin": 1.0, "resamples": 100}}
    # One positive row: a resample without it has no area.
    result = judge(rule, classified([0, 0, 1], [0.1, 0.2, 0.9], [0.1, 0.2, 0.9]))
    assert result.status is GateStatus.FAILED
    assert str(result.value) == "nan"


def test_gates_say_in_words_what_they_ask() -> None:
    cases: list[tuple[dict[str, Any], str]] = [
        ({"threshold": 0.5}, "log_loss at most 0.5"),
        ({"against": "elo", "max_regression_abs": 0.1}, "log_loss no worse than elo by more than 0.1"),
        ({"against": "elo", "max_regression_rel": 0.1}, "log_loss no worse than elo by more than 0.1 of it"),
        ({"baseline": FILE, "min_improvement": 0.1}, f"log_loss better than {FILE} by at least 0.1"),
        (
            {"against": "elo", "not_worse": {"margin": 0.01}},
            "log_loss not worse than elo by more than 0.01, with 95% confidence",
        ),
        ({"threshold": 0.5, "slices": {"column": "c"}}, "log_loss at most 0.5 in each slice of c"),
        (
            {"max_slice_difference": 0.5, "slices": {"column": "c"}},
            "log_loss differs by at most 0.5 between slices of c",
        ),
    ]
    evidence = classified([0, 1], [0.5, 0.5])
    for rule, words in cases:
        assert judge({"metric": "log_loss", **rule}, evidence).gate == words
