from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from podium.gates.evidence import BaselineFile, Cost, Evidence, no_answers
from podium.gates.report import CONTRACT, GateReport, GateStatus
from podium.gates.rules import evaluate, scores_of
from podium.model_file.gates import KINDS, SchemaGate
from support.evidence import LABELS, classified, estimated, gate, judge, probabilities, side

PASSED, FAILED, NO_CHAMPION = GateStatus.PASSED, GateStatus.FAILED, GateStatus.NO_CHAMPION
TRUTH = [0, 1, 1, 0]
GOOD = [0.1, 0.9, 0.8, 0.2]
FILE = "qa/labels.json"


def signature(*columns: str) -> dict[str, str]:
    inputs = [{"name": name, "type": "double", "required": True} for name in columns]
    return {"inputs": json.dumps(inputs), "outputs": "[]"}


def contract(evidence: Evidence) -> tuple[GateStatus, str]:
    result = evaluate([], evidence)[0]
    assert result.kind == CONTRACT
    return result.status, result.note


def with_candidate(evidence: Evidence, **changes: Any) -> Evidence:
    return replace(evidence, candidate=replace(evidence.candidate, **changes))


def test_the_contract_is_judged_with_every_file_and_first() -> None:
    results = evaluate([gate(min_holdout_rows=1)], classified(TRUTH, GOOD))
    assert [result.kind for result in results] == [CONTRACT, "min_holdout_rows"]
    assert contract(classified(TRUTH, GOOD)) == (PASSED, "")


def test_the_contract_refuses_a_candidate_that_cannot_be_used() -> None:
    good = classified(TRUTH, GOOD)
    broken = with_candidate(good, broken="does not load", predictions=no_answers(4, LABELS))
    assert contract(broken) == (FAILED, "does not load")
    ignorant = with_candidate(good, classes=("no",))
    assert contract(ignorant) == (FAILED, "the model does not know yes")
    assert contract(classified([], [])) == (FAILED, "the holdout has no rows")
    for strange in (math.nan, math.inf, -math.inf):
        said = "1 of 4 predictions are not finite"
        assert contract(classified(TRUTH, [0.1, strange, 0.8, 0.2])) == (FAILED, said)
        assert contract(estimated([1, 2, 3, 4], [1, 2, strange, 4])) == (FAILED, said)


def test_a_broken_contract_refuses_whatever_the_gates_say() -> None:
    evidence = with_candidate(classified(TRUTH, GOOD), classes=("no",))
    gates = [gate(min_holdout_rows=1)]
    report = GateReport("toy", 1, None, scores_of(gates, evidence), evaluate(gates, evidence))
    assert not report.passed
    assert report.verdict() == (
        "refused by 1 of 2 gates: predicts its example as in training: finite numbers, every label "
        "(the model does not know yes)"
    )


def test_the_holdout_has_enough_rows() -> None:
    evidence = classified(TRUTH, GOOD)
    assert judge({"min_holdout_rows": 4}, evidence).status is PASSED
    few = judge({"min_holdout_rows": 5}, evidence)
    assert (few.status, few.value, few.limit) == (FAILED, 4, 5)


@pytest.mark.parametrize("labels", [["no", "yes"], "champion", FILE])
def test_a_label_that_is_nowhere_is_named(labels: Any) -> None:
    files = {FILE: BaselineFile({}, ("no", "yes"))}
    rule = {"label_coverage": labels, "of": ["model", "holdout", "predictions"]}
    everywhere = classified(TRUTH, GOOD, GOOD, baseline_files=files)
    assert judge(rule, everywhere).status is PASSED
    nowhere = classified([0, 0], [0.1, 0.2], [0.1, 0.2], baseline_files=files)
    result = judge(rule, with_candidate(nowhere, classes=("no",)))
    assert (result.status, result.note) == (
        FAILED,
        "the model does not know yes; holdout: no rows of yes, 1 needed; no row is predicted as yes",
    )
    assert judge({**rule, "of": ["predictions"]}, nowhere).note == "no row is predicted as yes"


def test_a_label_needs_so_many_rows_of_the_holdout() -> None:
    rule = {"label_coverage": ["no", "yes"], "min_rows": 2}
    assert judge(rule, classified([0, 0, 1, 1], GOOD)).status is PASSED
    few = judge(rule, classified([0, 0, 0, 1], GOOD))
    assert few.note == "holdout: 1 row of yes, 2 needed"
    assert few.gate == "every label of no, yes in model, holdout, at least 2 holdout rows of each"
    both = judge({**rule, "min_rows": 50}, classified([0] * 33 + [1] * 12, [0.1] * 45))
    assert both.note == "holdout: 33 rows of no, 12 rows of yes, 50 needed of each"


def test_a_prediction_that_is_no_number_names_no_label() -> None:
    rule = {"label_coverage": ["no"], "of": ["predictions"]}
    assert judge(rule, classified([0], [math.nan])).status is FAILED
    assert judge(rule, classified([0], [math.inf])).status is FAILED
    assert judge(rule, classified([], [])).status is FAILED
    assert judge(rule, classified([0], [0.1])).status is PASSED


def test_no_labels_to_look_for_are_not_all_there() -> None:
    for files in ({}, {FILE: BaselineFile({}, ())}):
        result = judge({"label_coverage": FILE}, classified(TRUTH, GOOD, baseline_files=files))
        assert (result.status, result.note) == (FAILED, "there is no label to look for")


def test_a_label_of_the_champion_that_the_file_no_longer_lists_is_missed() -> None:
    champion = side(probabilities(GOOD), ("no", "yes", "maybe"))
    evidence = classified(TRUTH, GOOD, references={"champion": champion})
    assert judge({"label_coverage": "champion"}, evidence).note == (
        "the model does not know maybe; holdout: no rows of maybe, 1 needed"
    )


def test_what_the_rows_break_of_a_schema_fails_with_all_of_it() -> None:
    said = {"schema": {"x": {"min": 0}}}
    parsed = gate(**said)
    assert isinstance(parsed, SchemaGate)
    for problems, status in (([], PASSED), (["x is empty", "x is not at least 0"], FAILED)):
        result = judge(said, classified(TRUTH, GOOD, schema_problems={parsed.key: problems}))
        assert (result.status, result.note) == (status, "; ".join(problems))
    assert judge(said, classified(TRUTH, GOOD)).status is FAILED


def test_rows_that_were_trained_on_are_a_share_at_most() -> None:
    for share, status in ((0.0, PASSED), (0.01, PASSED), (0.011, FAILED), (math.nan, FAILED)):
        evidence = classified(TRUTH, GOOD, overlaps={(): share, ("x",): 0.5})
        assert judge({"max_train_overlap": 0.01}, evidence).status is status
    by_x = judge({"max_train_overlap": 0.01, "columns": ["x"]}, evidence)
    assert (by_x.status, by_x.value, by_x.limit) == (FAILED, 0.5, 0.01)
    assert by_x.gate == "at most 0.01 of the holdout rows equal a training row in x"
    for unknown in ({}, {(): None}):
        result = judge({"max_train_overlap": 1.0}, classified(TRUTH, GOOD, overlaps=unknown))
        assert (result.status, str(result.value)) == (FAILED, "nan")
        assert "train again" in result.note


def test_clients_of_the_champion_must_be_able_to_use_it() -> None:
    champion = side(probabilities(GOOD), LABELS, signature=signature("x"))
    evidence = classified(TRUTH, GOOD, references={"champion": champion})
    rule = {"signature": "compatible"}
    assert judge(rule, with_candidate(evidence, signature=signature("x"))).status is PASSED
    more = judge(rule, with_candidate(evidence, signature=signature("x", "z")))
    assert (more.status, more.note) == (FAILED, "it needs z, which clients do not send")
    assert judge(rule, evidence).note == "no signature: the candidate"


def costs(ours: Cost | None, champions: Cost | None) -> Evidence:
    champion = {} if champions is None else {"champion": side(probabilities(GOOD), LABELS, cost=champions)}
    return with_candidate(classified(TRUTH, GOOD, references=champion), cost=ours)


@pytest.mark.parametrize(
    ("rule", "better", "worse"),
    [
        ({"cost": "latency_p95", "max_ratio": 2}, Cost(1, 1, latency_p95=0.2), Cost(1, 1, latency_p95=0.21)),
        ({"cost": "throughput", "min_ratio": 0.5}, Cost(1, 1, throughput=50.0), Cost(1, 1, throughput=49.0)),
        ({"cost": "load_time", "max_ratio": 2}, Cost(2.0, 1), Cost(2.1, 1)),
        ({"cost": "model_size", "max_ratio": 2}, Cost(1, 2.0), Cost(1, 2.1)),
        ({"cost": "model_size", "max_mb": 2}, Cost(1, 2.0), Cost(1, 2.1)),
    ],
)
def test_a_model_costs_so_much_at_most(rule: dict[str, Any], better: Cost, worse: Cost) -> None:
    champion = Cost(1.0, 1.0, latency_p95=0.1, throughput=100.0)
    assert judge(rule, costs(better, champion)).status is PASSED
    assert judge(rule, costs(worse, champion)).status is FAILED
    assert judge(rule, costs(None, champion)).status is FAILED
    if "max_mb" in rule:
        assert judge(rule, costs(better, None)).status is PASSED
        assert judge(rule, costs(worse, None)).status is FAILED
    else:
        assert judge(rule, costs(better, Cost(math.nan, math.nan))).status is FAILED
        assert judge(rule, costs(better, None)).status is NO_CHAMPION


def test_labels_that_two_models_answer_differently() -> None:
    evidence = classified(TRUTH, GOOD, [0.1, 0.9, 0.8, 0.7])
    result = judge({"max_disagreement": 0.25}, evidence)
    assert (result.status, result.value, result.limit) == (PASSED, 0.25, 0.25)
    assert judge({"max_disagreement": 0.24}, evidence).status is FAILED


def test_numbers_differ_beyond_a_share_of_the_champions() -> None:
    evidence = estimated([1, 1, 1], [10.5, -10.5, 0.0], {"champion": [10.0, -10.0, 0.0]})
    assert judge({"max_disagreement": 0.0, "tolerance": 0.05}, evidence).status is PASSED
    strict = judge({"max_disagreement": 0.5, "tolerance": 0.04}, evidence)
    assert (strict.status, strict.value) == (FAILED, pytest.approx(2 / 3))


@pytest.mark.parametrize("ours", [True, False])
def test_answers_that_are_no_numbers_agree_with_nothing(ours: bool) -> None:
    strange = [0.1, math.nan, 0.8, 0.2]
    evidence = classified(TRUTH, strange if ours else GOOD, GOOD if ours else strange)
    assert judge({"max_disagreement": 1.0}, evidence).status is FAILED
    assert judge({"max_disagreement": 1.0}, classified([], [], [])).status is FAILED


def test_a_canary_is_held_when_somebody_approves() -> None:
    live = {"metric": "log_loss", "labelled_rows": 50, "not_worse": {"margin": 0.5}}
    for canary, limit in (({"days": 2}, 2), ({"shadow_rows": 1000}, 1000), ({"live": live}, 0.5)):
        result = judge({"canary": canary}, classified(TRUTH, GOOD))
        assert (result.status, result.limit, result.refuses) == (GateStatus.LATER, limit, False)


@pytest.mark.parametrize(
    "rule",
    [
        {"label_coverage": "champion"},
        {"signature": "compatible"},
        {"cost": "load_time", "max_ratio": 2},
        {"max_disagreement": 0.1},
        {"metric": "log_loss", "against": "champion", "max_regression_abs": 0.1},
    ],
)
def test_no_champion_blocks_only_where_the_file_says_so(rule: dict[str, Any]) -> None:
    first = classified(TRUTH, GOOD)
    assert judge(rule, first).status is NO_CHAMPION
    assert not judge(rule, first).refuses
    assert judge({**rule, "no_champion": "fail"}, first).refuses


ALL_KINDS: list[dict[str, Any]] = [
    {"metric": "log_loss", "threshold": 0.1},
    {"metric": "log_loss", "against": "champion", "not_worse": {"resamples": 100}},
    {
        "metric": "accuracy",
        "threshold": 0.5,
        "slices": {"column": "c", "min_support": 1},
        "level": "advisory",
    },
    {"min_holdout_rows": 4},
    {"label_coverage": ["no", "yes"]},
    {"schema": {"c": {}}},
    {"max_train_overlap": 0.1},
    {"signature": "compatible"},
    {"cost": "load_time", "max_ratio": 2},
    {"max_disagreement": 0.1},
    {"canary": {"days": 1}},
]


@given(order=st.permutations(range(len(ALL_KINDS))))
@settings(max_examples=20)
def test_the_order_of_gates_never_matters(order: list[int]) -> None:
    gates = [gate(**said) for said in ALL_KINDS]
    evidence = classified(TRUTH, GOOD, [0.2, 0.8, 0.8, 0.2], columns=pd.DataFrame({"c": list("aabb")}))
    straight = evaluate(gates, evidence)
    shuffled = evaluate([gates[place] for place in order], evidence)
    assert sorted(map(repr, shuffled)) == sorted(map(repr, straight))
    assert GateReport("m", 1, None, scores_of(gates, evidence), shuffled).passed is (
        GateReport("m", 1, None, scores_of(gates, evidence), straight).passed
    )


def test_every_kind_of_gate_says_which_it_is_and_at_which_level() -> None:
    assert {kind for said in ALL_KINDS for kind in KINDS if kind in said} == set(KINDS)
    evidence = classified(TRUTH, GOOD, columns=pd.DataFrame({"c": list("aabb")}))
    for said in ALL_KINDS:
        result = judge(said, evidence)
        assert result.kind in said
        assert result.level == said.get("level", "required")


@pytest.mark.parametrize("said", ALL_KINDS)
def test_an_advisory_gate_never_blocks(said: Mapping[str, Any]) -> None:
    hopeless = with_candidate(classified([], [], []), broken="does not load", classes=())
    required, advisory = (judge({**said, "level": level}, hopeless) for level in ("required", "advisory"))
    assert required.status == advisory.status
    assert not advisory.refuses
    assert required.refuses is (required.status is FAILED)
    assert required.refuses or "canary" in said


def test_a_report_shows_the_metrics_of_every_model_and_those_that_gates_ask_for() -> None:
    evidence = classified(TRUTH, GOOD, [0.2, 0.8, math.nan, 0.2])
    gates = [gate(metric=name, threshold=0) for name in ("f1", "trainer.loss", "log_loss") if "." not in name]
    gates.append(gate(metric="trainer.loss", greater_is_better=False, threshold=0))
    scores = scores_of(gates, evidence)
    shown = ["log_loss", "accuracy", "brier_score", "ranked_probability_score", "f1"]
    assert (scores.rows, list(scores.candidate)) == (4, shown)
    assert scores.candidate["f1"] == 1.0
    assert np.isnan(list(scores.references["champion"].values())).all()


def test_an_own_metric_of_other_columns_is_another_number() -> None:
    columns = pd.DataFrame({"amount": [1.0, 1.0, 1.0, 1.0], "twice": [2.0, 2.0, 2.0, 2.0]})
    evidence = classified(TRUTH, [1 - answer for answer in GOOD], columns=columns)
    own = {"metric": "support.own_metrics:cost_of_first", "greater_is_better": False, "threshold": 9}
    gates = [gate(**own, columns=["amount"]), gate(**own, columns=["twice"])]
    found = scores_of(gates, evidence).candidate
    assert found["support.own_metrics:cost_of_first (amount)"] == 1.0
    assert found["support.own_metrics:cost_of_first (twice)"] == 2.0
