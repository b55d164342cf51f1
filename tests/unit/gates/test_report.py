from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from podium.gates.report import (
    COST,
    GateReport,
    GateResult,
    GateStatus,
    Scores,
    SliceResult,
    between,
    cell,
)
from podium.gates.rules import evaluate, scores_of
from podium.model_file.metric_gate import Level
from support.evidence import classified, estimated, gate

LOSS = "mean_absolute_error"


def report(value: float, *, reference: float = 0.7) -> GateReport:
    gates = [
        gate(metric=LOSS, threshold=0.75),
        gate(metric=LOSS, against="champion", max_regression_abs=0.002),
    ]
    evidence = estimated([0.0], [value], {"champion": [reference]})
    return GateReport("toy", 3, 2, scores_of(gates, evidence), evaluate(gates, evidence))


def results(*said: dict[str, Any]) -> GateReport:
    """A report of made-up results."""
    made = tuple(
        GateResult(**{"gate": "g", "status": GateStatus.PASSED, "value": None, **each}) for each in said
    )
    return GateReport("toy", 1, None, Scores(9, {}, {}), made)


def test_a_refused_report_says_why_in_one_sentence() -> None:
    assert report(0.71).sentence() == (
        "toy v3: refused by 1 of 2 gates: mean_absolute_error no worse than champion by more than 0.002 "
        "(is 0.7100, limit 0.7020)"
    )
    assert report(0.69).sentence() == "toy v3: passed all 2 gates"


def test_a_report_without_gates_does_not_pass() -> None:
    assert not GateReport("m", 1, None, Scores(1, {}, {}), ()).passed


def test_what_could_not_be_compared_is_said() -> None:
    against = [gate(metric=LOSS, against="champion", max_regression_abs=0.1)]
    alone = estimated([0.0], [0.1])
    first = GateReport("toy", 1, None, scores_of(against, alone), evaluate(against, alone))
    assert first.verdict() == "passed 0 gates, 1 had nothing to compare with yet"
    assert first.passed
    typo = [gate(metric=LOSS, against="elo", min_improvement=0.1)]
    baseline = estimated([0.0], [0.1], {"elo_only": [0.2]})
    refused = GateReport("toy", 1, None, scores_of(typo, baseline), evaluate(typo, baseline))
    assert "the trainer has no baseline 'elo'; available: elo_only" in refused.verdict()


def test_an_advisory_gate_is_shown_and_blocks_nothing() -> None:
    failed = {"status": GateStatus.FAILED, "level": Level.ADVISORY, "note": "worse"}
    advised = results({}, failed, {"status": GateStatus.LATER})
    assert advised.passed
    assert advised.verdict() == "passed 1 gates, 1 advisory failed, 1 held until approval"
    assert "| g |  |  | ⚠️ failed (advisory): worse |" in advised.markdown()
    assert "| g |  |  | ⏳ held until approval |" in advised.markdown()
    assert not results({}, {**failed, "level": Level.REQUIRED}).passed


def test_the_slices_that_failed_are_named_three_at_most() -> None:
    parts = tuple(SliceResult(f"c = {name}", 9, GateStatus.FAILED, 1.0, None, 0.5) for name in "abcde")
    said = {"status": GateStatus.FAILED, "value": 1.0, "limit": 0.5, "slices": parts}
    assert results(said).verdict() == (
        "refused by 1 of 1 gates: g (is 1.0000, limit 0.5000; in c = a, c = b, c = c and 2 more)"
    )
    assert "| c = e | 9 | 1.0000 | 0.5000 | ❌ failed |" in results(said).markdown()


def test_the_report_keeps_every_number() -> None:
    content = json.loads(json.dumps(report(0.71).as_json()))
    assert content["passed"] is False
    assert content["scores"]["references"]["champion"][LOSS] == 0.7
    assert content["results"][2]["limit"] == pytest.approx(0.702)
    shown = report(0.71).markdown()
    assert (
        "| mean_absolute_error no worse than champion by more than 0.002 | 0.7100 | 0.7020 | ❌ failed |"
        in shown
    )
    assert "| on 1 holdout rows | candidate v3 | champion v2 |" in shown


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (-0.0011, 0.0007, "between 0.0011 better and 0.0007 worse"),
        (0.0007, 0.0011, "between 0.0007 and 0.0011 worse"),
        (-0.0011, -0.0007, "between 0.0007 and 0.0011 better"),
        (-0.00001, 0.0007, "between 1e-05 better and 0.0007 worse"),
        (0.0, 0.0, "between 0.0000 and 0.0000 worse"),
        (-2.5, 0.0, "between 2.5000 better and 0.0000 worse"),
    ],
)
def test_a_regression_has_words_and_no_sign(low: float, high: float, said: str) -> None:
    assert between(low, high) == said


def test_the_better_model_is_called_better_where_less_is_better() -> None:
    truth = list(np.linspace(0, 1, 40))
    ours, champion = ([x + error for x in truth] for error in (0.1, 0.3))
    rule = gate(metric=LOSS, against="champion", not_worse={})
    result = evaluate([rule], estimated(truth, ours, {"champion": champion}))[1]
    shown = GateReport("toy", 3, 2, Scores(40, {}, {}), (result,)).markdown()
    assert (
        "| 0.2000 better | 0.0000 worse | ✅ passed: between 0.2000 and 0.2000 better, 2,000 resamples |"
        in shown
    )


def test_accuracy_is_better_where_it_is_greater() -> None:
    truth = [0, 1] * 20
    right, wrong = [0.1, 0.9] * 20, [0.1, 0.4] * 20
    rule = gate(metric="accuracy", against="champion", not_worse={"resamples": 100})
    gained, lost = (
        evaluate([rule], classified(truth, *sides))[1] for sides in ((right, wrong), (wrong, right))
    )
    assert re.fullmatch(r"between 0\.\d+ and 0\.\d+ better, \d+ resamples", gained.note)
    assert re.fullmatch(r"between 0\.\d+ and 0\.\d+ worse, \d+ resamples", lost.note)


def test_numbers_say_what_they_count() -> None:
    shown = results(
        {"value": 33, "limit": 50, "unit": "rows", "status": GateStatus.FAILED},
        {"value": 0.25, "limit": 0.1, "unit": "of the rows"},
    )
    assert "| g | 33 rows | 50 rows | ❌ failed |" in shown.markdown()
    assert "| g | 0.2500 of the rows | 0.1000 of the rows |" in shown.markdown()
    assert "g (is 33 rows, limit 50 rows)" in shown.verdict()


def test_a_classification_shows_recall_and_precision_of_each_label() -> None:
    truth, said = [0, 0, 0, 1], [0.1, 0.2, 0.9, 0.4]
    evidence = classified(truth, said, [0.1, 0.1, 0.1, 0.1])
    made = GateReport("toy", 3, 2, scores_of([], evidence), ())
    shown = made.markdown()
    heads = "recall candidate v3 | precision candidate v3 | recall champion v2 | precision champion v2"
    assert f"| label | rows | {heads} |" in shown
    assert "| no | 3 | 0.6667 | 0.6667 | 1.0000 | 0.7500 |" in shown
    # The champion never says yes, so that there is nothing of which a share is right.
    assert "| yes | 1 | 0.0000 | 0.0000 | 0.0000 | none |" in shown
    assert "recall" not in report(0.7).markdown()
    again = GateReport.from_json(json.loads(json.dumps(made.as_json(), allow_nan=False)))
    assert again.markdown() == shown
    assert made.as_json()["scores"]["by_label"]["champion"]["yes"]["recall"] == 0.0


def test_a_row_without_a_finite_answer_is_answered_with_no_label() -> None:
    evidence = classified([0, 0, 1], [math.nan, 0.1, 0.9])
    scored = scores_of([], evidence).by_label["candidate"]
    assert (scored["no"].recall, scored["no"].precision, scored["yes"].precision) == (0.5, 1.0, 1.0)


def test_a_report_of_an_older_podium_is_read() -> None:
    content = json.loads(json.dumps(report(0.7).as_json()))
    del content["notes"], content["scores"]["by_label"]
    for result in content["results"]:
        del result["unit"]
    older = GateReport.from_json(content)
    assert older.verdict() == report(0.7).verdict()
    assert older.notes == ()


def test_what_json_has_no_number_for_is_written_as_text() -> None:
    content = report(math.nan, reference=math.inf).as_json()
    assert [result["value"] for result in content["results"]] == [None, "nan", "nan"]
    assert content["scores"]["candidate"][LOSS] == "nan"
    json.dumps(content, allow_nan=False)
    infinite = results(
        {"value": -math.inf, "reference": math.inf, "interval": (-math.inf, math.nan)}
    ).as_json()
    assert (infinite["results"][0]["value"], infinite["results"][0]["reference"]) == ("-inf", "inf")
    assert infinite["results"][0]["interval"] == ["-inf", "nan"]


def test_a_value_of_a_column_cannot_break_a_table() -> None:
    assert cell("a|b\n<b>[x](y)`\\") == "a\\|b &lt;b>&#91;x](y)'\\\\"
    part = SliceResult("c = x|y", 9, GateStatus.PASSED, 1.0)
    assert "| c = x\\|y | 9 |" in results({"slices": (part,)}).markdown()


any_number = st.floats() | st.sampled_from([math.nan, math.inf, -math.inf, 1e-7, 0.1, -0.0])
maybe = st.none() | any_number
intervals = st.none() | st.tuples(any_number, any_number)
metrics = st.dictionaries(st.sampled_from(["log_loss", "accuracy", "own:metric"]), any_number)
slices = st.builds(
    SliceResult,
    name=st.text(max_size=5),
    rows=st.integers(0),
    status=st.sampled_from(GateStatus),
    value=maybe,
    reference=maybe,
    limit=maybe,
    note=st.text(max_size=5),
    interval=intervals,
)
gate_results = st.builds(
    GateResult,
    gate=st.text(max_size=5),
    status=st.sampled_from(GateStatus),
    value=maybe | st.integers(),
    reference=maybe,
    limit=maybe | st.integers(),
    kind=st.sampled_from(["metric", "cost", "contract", "schema"]),
    level=st.sampled_from(Level),
    note=st.text(max_size=5),
    interval=intervals,
    slices=st.lists(slices, max_size=2).map(tuple),
)
reports = st.builds(
    GateReport,
    model=st.text(max_size=5),
    version=st.integers(1),
    champion=st.none() | st.integers(1),
    scores=st.builds(
        Scores, st.integers(0), metrics, st.dictionaries(st.text(max_size=5), metrics, max_size=2)
    ),
    results=st.lists(gate_results, max_size=3).map(tuple),
)


@given(reports)
def test_a_report_comes_back_from_json_as_it_was(report: GateReport) -> None:
    again = GateReport.from_json(json.loads(json.dumps(report.as_json(), allow_nan=False)))
    # Compared as text, since NaN is not equal to itself.
    assert repr(again) == repr(report)
    assert again.digest() == report.digest()
    assert (again.passed, again.verdict(), again.markdown()) == (
        report.passed,
        report.verdict(),
        report.markdown(),
    )


def test_a_report_from_before_there_were_levels_and_slices_can_be_read() -> None:
    content = report(0.71).as_json()
    for result in content["results"]:
        for name in ("kind", "level", "note", "interval", "slices"):
            del result[name]
    again = GateReport.from_json(content)
    assert [result.level for result in again.results] == [Level.REQUIRED] * 3
    assert again.passed is False


def test_another_number_is_another_digest() -> None:
    assert len({report(value).digest() for value in (0.71, 0.71 + 1e-12, math.nan, 0.72)}) == 4


CHANGES: dict[str, Callable[[GateResult], GateResult]] = {
    "value": lambda result: replace(result, value=0.5),
    "reference": lambda result: replace(result, reference=0.5),
    "limit": lambda result: replace(result, limit=0.5),
    "note": lambda result: replace(result, note="0.5"),
    "status": lambda result: replace(result, status=GateStatus.FAILED),
    "level": lambda result: replace(result, level=Level.ADVISORY),
    "gate": lambda result: replace(result, gate="at most 0.5"),
    "interval": lambda result: replace(result, interval=(0.0, 0.5)),
    "slice": lambda result: replace(result, slices=(replace(result.slices[0], value=0.5),)),
    "slice rows": lambda result: replace(result, slices=(replace(result.slices[0], rows=8),)),
    "slice interval": lambda result: replace(
        result, slices=(replace(result.slices[0], interval=(0.0, 0.5)),)
    ),
}
MEASURED = {"value", "reference", "limit", "note"}


@pytest.mark.parametrize("changed", CHANGES)
def test_the_digest_is_of_every_number_but_those_of_the_machines_mood(changed: str) -> None:
    part = SliceResult("s", 9, GateStatus.PASSED, 0.1, interval=(0.0, 0.1))
    said = {"value": 0.1, "reference": 0.2, "limit": 0.3, "interval": (0.0, 0.1), "slices": (part,)}
    for kind in ("metric", COST):
        before = results({**said, "kind": kind})
        after = replace(before, results=(CHANGES[changed](before.results[0]),))
        assert (before.digest() == after.digest()) is (kind == COST and changed in MEASURED)


def test_the_digest_is_of_the_scores_the_version_and_the_champion() -> None:
    before = report(0.71)
    scores = before.scores
    changed = [
        replace(before, version=4),
        replace(before, champion=None),
        replace(before, model="other"),
        replace(before, scores=replace(scores, rows=2)),
        replace(before, scores=replace(scores, candidate={**scores.candidate, LOSS: 0.72})),
        replace(before, scores=replace(scores, references={"champion": {}})),
    ]
    assert len({each.digest() for each in [before, *changed]}) == 7
