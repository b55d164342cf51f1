"""Two versions compared on stored answers: agreement, metrics, intervals, and the words for them."""

from __future__ import annotations

import json
import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import orjson
import pytest
from typer.testing import CliRunner

from podium.cli.main import app
from podium.errors import NotFound, PodiumError
from podium.gates import live_comparison
from podium.gates.live_comparison import Interval, MetricPair, Subject, compare_live, live_problem
from podium.ledger.live_answers import LiveAnswer, LiveStore, VersionOnTrial
from podium.metrics.sequential import upper_bound
from podium.model_file.gates import LiveBound
from podium.model_file.metric_gate import Certainty
from podium.model_file.spec import ModelSpec
from podium.services import Services
from support.toy import NUMBER_TOY

invoke = CliRunner().invoke
NOW = datetime.now(UTC)
TRIAL = VersionOnTrial(3, 4)


def subject(spec: ModelSpec) -> Subject:
    return Subject(spec.name, spec.task, spec.labels)


def answers(values: Any, classes: tuple[str, ...] = ()) -> str:
    content = {"predictions": np.asarray(values).tolist(), **({"classes": classes} if classes else {})}
    return orjson.dumps(content).decode()


def keep(
    services: Services,
    model: str,
    champion: str | None,
    candidate: str | None,
    labels: list[Any] | None = None,
    at: datetime = NOW,
    trial: VersionOnTrial = TRIAL,
) -> str:
    text = champion or candidate
    rows = len(json.loads(str(text))["predictions"])
    request_id = uuid.uuid4().hex
    store = LiveStore(services.ledger)
    both = (trial.champion, trial.candidate, champion, candidate)
    store.write([LiveAnswer(model, request_id, at, rows, *both)])
    if labels is not None:
        store.add_labels(model, request_id, labels)
    return request_id


def coins(rows: int, sure: float, seed: int = 1) -> tuple[np.ndarray, list[str]]:
    """Probabilities of a model that is so sure of what comes true."""
    yes = np.random.default_rng(seed).random(rows) < 0.5
    right = np.where(yes, sure, 1 - sure)
    return np.column_stack([1 - right, right]), np.where(yes, "yes", "no").tolist()


def test_pairs_tell_how_alike_the_answers_are_and_which_version_is_better(
    services: Services, toy_spec: ModelSpec
) -> None:
    old, labels = coins(200, 0.6)
    new, _ = coins(200, 0.7)
    for at in range(0, 200, 20):
        # The candidate knows the labels in another order.
        rows = slice(at, at + 20)
        keep(
            services,
            toy_spec.name,
            answers(old[rows], ("no", "yes")),
            answers(new[rows, ::-1], ("yes", "no")),
            labels[rows],
        )
    keep(services, toy_spec.name, answers([[1, 0]], ("no", "yes")), answers([[0, 1]], ("no", "yes")))
    found = compare_live(LiveStore(services.ledger), subject(toy_spec), "log_loss")
    assert (found.trial, found.paired, found.champion_rows, found.champion_labelled) == (
        TRIAL,
        True,
        201,
        200,
    )
    assert found.agreement is not None
    assert found.agreement.same == pytest.approx(200 / 201)
    assert found.agreement.mean_absolute_difference == pytest.approx((200 * 0.1 + 1) / 201)
    first = found.metrics[0]
    assert (first.metric, first.verdict) == ("log_loss", "better")
    assert (first.champion, first.candidate) == pytest.approx((-np.log(0.6), -np.log(0.7)))
    # Each row is better by the same; but so few rows say nothing of what one in a hundred would do.
    assert first.difference is not None
    low, high = first.difference
    assert low < np.log(0.6 / 0.7) < high < -0.12
    assert found.sentence() == (
        "v4 is better than v3 on 200 labelled rows: log loss 0.3567 against 0.5108, between "
        f"{-high:.4f} and {-low:.4f} better with 95% confidence"
    )


def test_the_interval_of_pairs_is_that_of_the_paired_differences(
    services: Services, toy_spec: ModelSpec
) -> None:
    draws = np.random.default_rng(2)
    right = draws.uniform(0.2, 0.8, 400)
    better = np.clip(right + draws.normal(0.02, 0.05, 400), 0.1, 0.9)
    old, new = (np.column_stack([side, 1 - side]) for side in (right, better))
    keep(services, toy_spec.name, answers(old, ("no", "yes")), answers(new, ("no", "yes")), ["no"] * 400)
    (first, *_) = compare_live(LiveStore(services.ledger), subject(toy_spec), "log_loss").metrics
    differences = np.log(right) - np.log(better)
    # What the least probable label would have cost.
    most = -np.log(min(*right, *better, *(1 - right), *(1 - better)))
    assert first.difference is not None
    assert first.difference.low == pytest.approx(-upper_bound(-differences, most, 0.025))
    assert first.difference.high == pytest.approx(upper_bound(differences, most, 0.025))
    # Wider than an interval for one look alone, and narrower than that of two samples that are not paired.
    half = 1.96 * differences.std() / 20
    apart = 1.96 * np.hypot(np.log(right).std(), np.log(better).std()) / 20
    assert half < first.difference.high - differences.mean() < apart


def test_asking_again_and_labels_in_another_order_change_nothing(
    services: Services, toy_spec: ModelSpec
) -> None:
    old, labels = coins(120, 0.6)
    new, _ = coins(120, 0.7, seed=4)
    store = LiveStore(services.ledger)
    said = []
    for model, order in ((toy_spec.name, range(120)), (f"{toy_spec.name}-2", reversed(range(120)))):
        ids = [
            keep(
                services,
                model,
                answers(old[[row]], ("no", "yes")),
                answers(new[[row]], ("no", "yes")),
                # Many were answered at the same moment.
                at=NOW + timedelta(seconds=row // 50),
            )
            for row in range(120)
        ]
        for row in order:
            store.add_labels(model, ids[row], [labels[row]])
        one = Subject(model, toy_spec.task, toy_spec.labels)
        said += [compare_live(store, one, "log_loss").metrics for _ in range(2)]
        bound = LiveBound(metric="log_loss", labelled_rows=100, not_worse=Certainty(margin=0.01))
        problem = live_problem(store, one, TRIAL, bound, NOW)
        assert problem == live_problem(store, one, TRIAL, bound, NOW) != ""
        # The gate holds the end of the interval that is shown against its margin.
        high = said[-1][0].difference
        assert high is not None
        assert f"by {high.high:.4g} on 120 labelled live rows" in problem
    for other in said[1:]:
        assert [pair.difference for pair in other] == [
            pytest.approx(pair.difference, abs=1e-9) for pair in said[0]
        ]


def test_rows_that_come_later_never_push_out_labelled_ones(
    services: Services, toy_spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_comparison, "MOST_ROWS", 40)
    old, labels = coins(40, 0.6)
    both = [answers(side, ("no", "yes")) for side in (old, old)]
    keep(services, toy_spec.name, *both, labels, at=NOW)
    first = compare_live(LiveStore(services.ledger), subject(toy_spec), "log_loss")
    wrong = answers(old[:, ::-1], ("no", "yes"))
    keep(services, toy_spec.name, both[0], wrong, labels, at=NOW + timedelta(hours=1))
    again = compare_live(LiveStore(services.ledger), subject(toy_spec), "log_loss")
    assert again.metrics == first.metrics
    assert again.capped


def test_a_metric_without_an_interval_for_every_look_gives_no_verdict(
    services: Services, toy_spec: ModelSpec
) -> None:
    old, labels = coins(100, 0.6)
    new, _ = coins(100, 0.9)
    keep(services, toy_spec.name, answers(old, ("no", "yes")), answers(new, ("no", "yes")), labels)
    found = compare_live(LiveStore(services.ledger), subject(toy_spec), "expected_calibration_error")
    assert found.metrics[0].difference is None
    assert found.sentence().startswith(
        "No verdict on v4 and v3: no interval of this metric holds at every look, on 100 labelled rows"
    )


def test_a_canary_has_two_sides_and_the_champions_answers_count_since_it_began(
    services: Services, toy_spec: ModelSpec
) -> None:
    old, labels = coins(300, 0.6)
    new, others = coins(100, 0.9, seed=5)
    wrong = answers(old[:, ::-1], ("no", "yes"))
    keep(services, toy_spec.name, wrong, None, labels, at=NOW - timedelta(hours=1))
    keep(services, toy_spec.name, None, answers(new, ("no", "yes")), others, at=NOW)
    keep(services, toy_spec.name, answers(old, ("no", "yes")), None, labels, at=NOW + timedelta(seconds=1))
    found = compare_live(LiveStore(services.ledger), subject(toy_spec), "accuracy")
    assert (found.paired, found.champion_rows, found.candidate_rows, found.agreement) == (
        False,
        300,
        100,
        None,
    )
    assert (found.metrics[0].champion, found.metrics[0].candidate) == (1.0, 1.0)
    log_loss = next(pair for pair in found.metrics if pair.metric == "log_loss")
    assert log_loss.verdict == "better"
    assert log_loss.champion_interval is not None
    assert log_loss.candidate_interval is not None
    assert "cannot be told apart on 100 against 300 labelled rows: accuracy 1 against 1" in found.sentence()


def test_few_rows_prove_nothing(services: Services, toy_spec: ModelSpec) -> None:
    old, labels = coins(live_comparison.FEWEST_ROWS - 1, 0.6)
    new, _ = coins(live_comparison.FEWEST_ROWS - 1, 0.9)
    keep(services, toy_spec.name, answers(old, ("no", "yes")), answers(new, ("no", "yes")), labels)
    found = compare_live(LiveStore(services.ledger), subject(toy_spec), "log_loss")
    assert found.metrics[0].difference is None
    assert found.sentence().startswith("Too few to tell v4 from v3 (at least 30 labelled rows)")


@pytest.fixture
def number_spec() -> ModelSpec:
    return ModelSpec.model_validate({**NUMBER_TOY, "name": f"number-{uuid.uuid4().hex[:8]}"})


def test_of_numbers_the_differences_are_told_and_what_is_no_number_is_counted(
    services: Services, number_spec: ModelSpec
) -> None:
    old = np.arange(100.0)
    keep(services, number_spec.name, answers(old), answers(old + 1), (old + 1).tolist())
    keep(services, number_spec.name, answers([1.0]), '{"predictions": [null]}')
    found = compare_live(LiveStore(services.ledger), subject(number_spec), "mean_absolute_error")
    assert found.agreement is not None
    assert (found.agreement.rows, found.agreement.unanswered, found.agreement.same) == (100, 1, 0)
    assert found.agreement.difference_quantiles == (1, 1, 1)
    assert (found.metrics[0].champion, found.metrics[0].candidate, found.metrics[0].verdict) == (
        1,
        0,
        "better",
    )
    keep(services, number_spec.name, answers([1.0]), '{"predictions": [null]}', [1.0])
    found = compare_live(LiveStore(services.ledger), subject(number_spec), "mean_absolute_error")
    assert "a prediction is not a finite number" in found.sentence()
    assert json.loads(json.dumps(found.as_json(), allow_nan=False))["metrics"][0]["candidate"] is None


@pytest.mark.parametrize(
    ("low", "high", "greater", "verdict"),
    [
        (-2, -1, False, "better"),
        (-2, -1, True, "worse"),
        (1, 2, True, "better"),
        (1, 2, False, "worse"),
        (-1, 1, True, ""),
    ],
)
def test_a_difference_is_a_verdict_only_if_it_leaves_no_doubt(
    low: float, high: float, greater: bool, verdict: str
) -> None:
    assert MetricPair("m", greater, 0, 0, live_comparison.Interval(low, high)).verdict == verdict


def test_only_the_newest_rows_are_compared_where_there_are_too_many(
    services: Services, toy_spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_comparison, "MOST_ROWS", 5)
    for hour in range(4):
        both = answers([[hour / 4, 1 - hour / 4]] * 2, ("no", "yes"))
        keep(services, toy_spec.name, both, both, at=NOW + timedelta(hours=hour))
    found = compare_live(LiveStore(services.ledger), subject(toy_spec), "log_loss")
    assert (found.champion_rows, found.capped) == (4, True)


def test_the_versions_that_answered_last_are_compared(services: Services, toy_spec: ModelSpec) -> None:
    both = answers([[0.5, 0.5]], ("no", "yes"))
    keep(services, toy_spec.name, both, both, at=NOW, trial=VersionOnTrial(3, 5))
    keep(services, toy_spec.name, both, both, at=NOW - timedelta(days=1))
    store = LiveStore(services.ledger)
    assert compare_live(store, subject(toy_spec), "log_loss").trial == VersionOnTrial(3, 5)


def test_the_command_prints_words_tables_and_json(services: Services, toy_spec: ModelSpec) -> None:
    missing = invoke(app, ["compare", toy_spec.name, "--live"])
    assert missing.exit_code == 1
    assert "serve it with --shadow or --canary" in " ".join(missing.stderr.split())
    old, labels = coins(100, 0.6)
    new, _ = coins(100, 0.7)
    both = [answers(side, ("no", "yes")) for side in (old, new)]
    keep(services, toy_spec.name, *both)
    shown = invoke(app, ["compare", toy_spec.name, "--live"])
    assert shown.exit_code == 0, shown.stderr
    words = " ".join(shown.stdout.split())
    assert (
        "On 100 live rows v4 and v3 agree on 100.0%; their probabilities differ by 0.1 on average." in words
    )
    assert "No labels for answers of both v4 and v3 yet: send them with POST /feedback." in words
    keep(services, toy_spec.name, *both, labels)
    shown = invoke(app, ["compare", toy_spec.name, "--live"])
    words = " ".join(shown.stdout.split())
    assert "v4 is better than v3 on 100 labelled rows: log loss 0.3567 against 0.5108" in words
    assert "on 100 labelled rows" in words
    content = json.loads(
        invoke(app, ["compare", toy_spec.name, "--live", "--json", "--metric", "accuracy"]).stdout
    )
    assert content["trial"] == {"champion": 3, "candidate": 4}
    assert [pair["metric"] for pair in content["metrics"]][:2] == ["accuracy", "log_loss"]
    assert content["metrics"][1]["verdict"] == "better"
    later = invoke(app, ["compare", toy_spec.name, "--live", "--since", "2100-01-01"])
    assert "are stored since 2100-01-01 00:00 UTC" in " ".join(later.stderr.split())
    assert "--since needs --live" in invoke(app, ["compare", toy_spec.name, "--since", "2100-01-01"]).stderr
    assert (
        "--live allows no other options" in invoke(app, ["compare", toy_spec.name, "--live", "--csv"]).stderr
    )
    wrong = invoke(app, ["compare", toy_spec.name, "--live", "--metric", "rmspe"])
    assert "no metric 'rmspe' of a classification" in " ".join(wrong.stderr.split())


def test_what_cannot_be_compared_is_explained(services: Services, toy_spec: ModelSpec) -> None:
    store = LiveStore(services.ledger)
    with pytest.raises(NotFound, match="no live answers of toy-"):
        compare_live(store, subject(toy_spec), "log_loss")
    keep(services, toy_spec.name, answers([[1.0]], ("maybe",)), answers([[1.0]], ("maybe",)))
    with pytest.raises(PodiumError, match=r"the model knows the labels \['maybe'\]"):
        compare_live(store, subject(toy_spec), "log_loss")


def test_the_difference_of_a_metric_that_should_be_great_has_the_same_words() -> None:
    pair = MetricPair("accuracy", True, 0.8, 0.82, Interval(0.01, 0.03))
    assert (pair.verdict, pair.describe()) == ("better", "between 0.0100 and 0.0300 better")
    assert replace(pair, difference=Interval(-0.03, 0.01)).describe() == (
        "between 0.0100 better and 0.0300 worse"
    )
    assert replace(pair, greater_is_better=False).describe() == "between 0.0100 and 0.0300 worse"
