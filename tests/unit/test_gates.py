from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podium.gates import CHAMPION, GateReport, GateResult, GateStatus, Scores, evaluate
from podium.spec import Gate, Metric, MetricGate, RowsGate

LOSS, ACCURACY = Metric.LOG_LOSS, Metric.ACCURACY


def judge(gate: Gate, value: float, reference: float | None = None, *, rows: int = 100) -> GateStatus:
    metric = gate.metric if isinstance(gate, MetricGate) else LOSS
    references = {} if reference is None else {CHAMPION: {metric: reference}}
    return evaluate([gate], Scores(rows, {metric: value}, references))[0].status


@pytest.mark.parametrize(
    ("gate", "value", "reference", "expected"),
    [
        (MetricGate(metric=LOSS, threshold=0.9), 0.9, None, "passed"),
        (MetricGate(metric=LOSS, threshold=0.9), 0.91, None, "failed"),
        (MetricGate(metric=ACCURACY, threshold=0.9), 0.9, None, "passed"),
        (MetricGate(metric=ACCURACY, threshold=0.9), 0.89, None, "failed"),
        (MetricGate(metric=LOSS, against=CHAMPION, max_regression_abs=0.25), 1.25, 1.0, "passed"),
        (MetricGate(metric=LOSS, against=CHAMPION, max_regression_abs=0.25), 1.26, 1.0, "failed"),
        (MetricGate(metric=ACCURACY, against=CHAMPION, max_regression_abs=0.25), 0.5, 0.75, "passed"),
        (MetricGate(metric=ACCURACY, against=CHAMPION, max_regression_abs=0.25), 0.4, 0.75, "failed"),
        (MetricGate(metric=LOSS, against=CHAMPION, min_improvement=0.25), 0.75, 1.0, "passed"),
        (MetricGate(metric=LOSS, against=CHAMPION, min_improvement=0.25), 0.76, 1.0, "failed"),
        (MetricGate(metric=ACCURACY, against=CHAMPION, min_improvement=0.25), 0.75, 0.5, "passed"),
        (MetricGate(metric=ACCURACY, against=CHAMPION, min_improvement=0.25), 0.74, 0.5, "failed"),
        (MetricGate(metric=LOSS, against=CHAMPION, max_regression_abs=0.0), 1.0, None, "no_champion"),
        (RowsGate(min_holdout_rows=100), 1.0, None, "passed"),
        (RowsGate(min_holdout_rows=101), 1.0, None, "failed"),
    ],
)
def test_each_rule(gate: Gate, value: float, reference: float | None, expected: str) -> None:
    assert judge(gate, value, reference) == expected


@pytest.mark.parametrize(
    "gate",
    [
        MetricGate(metric=LOSS, threshold=10.0),
        MetricGate(metric=LOSS, against=CHAMPION, max_regression_abs=10.0),
        MetricGate(metric=ACCURACY, threshold=0.0),
    ],
)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_none_fails(gate: MetricGate, value: float) -> None:
    assert judge(gate, value, 1.0) is GateStatus.FAILED


def test_a_champion_that_scores_nan_fails_the_candidate() -> None:
    gate = MetricGate(metric=LOSS, against=CHAMPION, max_regression_abs=10.0)
    assert judge(gate, 1.0, math.nan) is GateStatus.FAILED


def test_a_missing_metric_or_baseline_or_an_empty_holdout_fails() -> None:
    absolute = MetricGate(metric=LOSS, threshold=10.0)
    baseline = MetricGate(metric=LOSS, against="clas_prior", min_improvement=0.0)
    assert evaluate([absolute], Scores(100, {}, {}))[0].status is GateStatus.FAILED
    assert evaluate([baseline], Scores(100, {LOSS: 0.1}, {}))[0].status is GateStatus.FAILED
    assert judge(absolute, 1.0, rows=0) is GateStatus.FAILED


def test_a_report_without_gates_does_not_pass() -> None:
    assert not GateReport("m", 1, None, Scores(1, {}, {}), ()).passed


finite = st.floats(-1e6, 1e6)


@given(value=finite, reference=finite, worse_by=st.floats(0, 1e6), allowed=st.floats(0, 1e3))
def test_more_regression_never_turns_fail_into_pass(
    value: float, reference: float, worse_by: float, allowed: float
) -> None:
    gate = MetricGate(metric=LOSS, against=CHAMPION, max_regression_abs=allowed)
    if judge(gate, value, reference) is GateStatus.FAILED:
        assert judge(gate, value + worse_by, reference) is GateStatus.FAILED


@given(order=st.permutations(range(3)))
def test_the_order_of_gates_never_matters(order: list[int]) -> None:
    gates = [
        MetricGate(metric=LOSS, threshold=0.5),
        MetricGate(metric=LOSS, against=CHAMPION, max_regression_abs=0.5),
        RowsGate(min_holdout_rows=1),
    ]
    scores = Scores(10, {LOSS: 0.8}, {CHAMPION: {LOSS: 0.7}})
    straight = evaluate(gates, scores)
    assert set(evaluate([gates[i] for i in order], scores)) == set(straight)


def report(value: float, *, reference: float = 0.7) -> GateReport:
    gates = [
        MetricGate(metric=LOSS, threshold=0.75),
        MetricGate(metric=LOSS, against=CHAMPION, max_regression_abs=0.002),
    ]
    scores = Scores(1234, {LOSS: value}, {CHAMPION: {LOSS: reference}})
    return GateReport("toy", 3, 2, scores, evaluate(gates, scores))


def test_a_refused_report_says_why_in_one_sentence() -> None:
    assert report(0.71).sentence() == (
        "toy v3: refused by 1 of 2 gates: log_loss no worse than champion by more than 0.002 "
        "(is 0.7100, limit 0.7020)"
    )
    assert report(0.69).sentence() == "toy v3: passed all 2 gates"


def test_what_could_not_be_compared_is_said() -> None:
    against = MetricGate(metric=LOSS, against=CHAMPION, max_regression_abs=0.1)
    first = GateReport(
        "toy", 1, None, Scores(9, {LOSS: 0.1}, {}), evaluate([against], Scores(9, {LOSS: 0.1}, {}))
    )
    assert first.verdict() == "passed 0 gates, 1 had no champion to compare with"
    typo = MetricGate(metric=LOSS, against="elo", min_improvement=0.1)
    scores = Scores(9, {LOSS: 0.1}, {"elo_only": {LOSS: 0.2}})
    refused = GateReport("toy", 1, None, scores, evaluate([typo], scores))
    assert "is the baseline's name right?" in refused.verdict()


def test_the_report_keeps_every_number() -> None:
    content = json.loads(json.dumps(report(0.71).as_json()))
    assert content["passed"] is False
    assert content["scores"]["references"]["champion"]["log_loss"] == 0.7
    assert content["results"][1]["limit"] == pytest.approx(0.702)
    shown = report(0.71).markdown()
    assert "| log_loss no worse than champion by more than 0.002 | 0.7100 | 0.7020 | ❌ failed |" in shown
    assert "| on 1,234 holdout rows | candidate v3 | champion v2 |" in shown


def test_what_json_has_no_number_for_is_written_as_text() -> None:
    content = report(math.nan, reference=math.inf).as_json()
    assert [result["value"] for result in content["results"]] == ["nan", "nan"]
    assert [result["reference"] for result in content["results"]] == [None, "inf"]
    assert report(-math.inf).as_json()["scores"]["candidate"] == {"log_loss": "-inf"}
    json.dumps(content, allow_nan=False)


any_number = st.floats() | st.sampled_from([math.nan, math.inf, -math.inf, 1e-7, 0.1, -0.0])
metrics = st.dictionaries(st.sampled_from(Metric), any_number)
results = st.builds(
    GateResult,
    gate=st.text(),
    status=st.sampled_from(GateStatus),
    value=any_number | st.integers(),
    reference=st.none() | any_number,
    limit=st.none() | any_number | st.integers(),
)
reports = st.builds(
    GateReport,
    model=st.text(),
    version=st.integers(1),
    champion=st.none() | st.integers(1),
    scores=st.builds(Scores, st.integers(0), metrics, st.dictionaries(st.text(), metrics, max_size=2)),
    results=st.lists(results, max_size=3).map(tuple),
)


@given(reports)
def test_a_report_comes_back_from_json_as_it_was(report: GateReport) -> None:
    again = GateReport.from_json(json.loads(json.dumps(report.as_json(), allow_nan=False)))
    # Compared as text, since NaN is not equal to itself.
    assert repr(again) == repr(report)
    assert again.digest() == report.digest()
    assert (again.passed, again.verdict()) == (report.passed, report.verdict())


def test_another_number_is_another_digest() -> None:
    assert len({report(value).digest() for value in (0.71, 0.71 + 1e-12, math.nan, math.inf)}) == 4
