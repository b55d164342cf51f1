"""Does it hurt: the estimate from few labels, and what is tolerated."""

from __future__ import annotations

import numpy as np
import pytest

from podium.metrics.answers import Answers
from podium.metrics.measures import measure
from podium.metrics.row_scores import row_losses
from podium.model_file.metric_names import TaskKind
from podium.monitoring.harm import (
    Sums,
    after,
    estimated_risk,
    first_harm,
    judge_harm,
    losses,
    proxy_weight,
    shown_risk,
    tolerated_loss,
)
from podium.monitoring.proxies import fit_proxy, recalibrate

DRAWS = np.random.default_rng(0)
LOSS, PROXY, REST = DRAWS.normal(1, 1, 50), DRAWS.normal(1, 1, 50), DRAWS.normal(1.5, 1, 400)


def test_the_estimate_is_prediction_powered_and_its_error_that_of_its_parts() -> None:
    risk, error = estimated_risk(losses(LOSS, PROXY, REST), 0.6)
    assert risk == pytest.approx(LOSS.mean() + 0.6 * (REST.mean() - PROXY.mean()))
    variance = np.var(LOSS - 0.6 * PROXY, ddof=1) / 50 + 0.36 * np.var(REST, ddof=1) / 400
    assert error == pytest.approx(np.sqrt(variance))


def test_with_all_labels_there_the_proxy_counts_for_nothing() -> None:
    assert proxy_weight(Sums(), 50, 0) == 0
    risk, _ = estimated_risk(losses(LOSS, PROXY, np.empty(0)), 0.0)
    assert risk == pytest.approx(LOSS.mean())


def test_the_weight_of_the_proxy_is_from_earlier_windows_only() -> None:
    earlier = losses(2 * PROXY, PROXY, REST).labelled + losses(2 * REST, REST, REST).labelled
    assert proxy_weight(earlier, 50, 450) == pytest.approx(2 / (1 + 50 / 450))
    assert proxy_weight(Sums(), 50, 450) == 1
    judged = judge_harm(first_harm(), losses(LOSS, PROXY, REST), 5.0, 2000)
    assert judged.weight == 1


def test_rows_that_happen_to_cost_the_same_do_not_divide_by_zero() -> None:
    same = np.ones(50)
    judged = judge_harm(first_harm(), losses(same, same, np.empty(0)), 0.5, 2000)
    assert judged.alarmed
    assert np.isfinite(judged.log_wealth).all()


def test_too_few_labels_are_not_judged_and_change_no_wealth() -> None:
    harm = first_harm()
    window = losses(LOSS[:6], PROXY[:6], REST[:44])
    judged = judge_harm(harm, window, 0.5, 2000)
    assert judged.not_judged == "labels of 12% of its rows are here: 6 rows, 30 are needed"
    known = after(harm, window, judged)
    assert known.log_wealth.tolist() == harm.log_wealth.tolist()
    assert known.earlier.rows == 6


def test_after_an_alarm_the_detector_starts_anew() -> None:
    window = losses(LOSS + 10, PROXY, np.empty(0))
    judged = judge_harm(first_harm(), window, 0.5, 2000)
    assert judged.alarmed
    assert np.isneginf(after(first_harm(), window, judged).log_wealth).all()


@pytest.mark.parametrize(
    ("metric", "worse"),
    [("log_loss", 0.03), ("accuracy", -0.03), ("brier_score", 0.03), ("ranked_probability_score", 0.03)],
)
def test_what_is_tolerated_is_the_metric_so_much_worse(metric: str, worse: float) -> None:
    predictions = DRAWS.dirichlet([1, 1, 1], 200)
    answers = Answers(TaskKind.CLASSIFICATION, "abc", DRAWS.integers(0, 3, 200), predictions)
    mean = float(row_losses(metric, answers).mean())
    assert shown_risk(metric, mean) == pytest.approx(measure(metric, answers))
    tolerated = tolerated_loss(metric, mean, 0.03)
    assert tolerated > mean
    assert shown_risk(metric, tolerated) == pytest.approx(measure(metric, answers) + worse)


@pytest.mark.parametrize("metric", ["root_mean_squared_error", "mean_absolute_error", "rmspe"])
def test_of_numbers_too_also_where_a_row_is_left_out(metric: str) -> None:
    truth = np.append(DRAWS.uniform(1, 2, 99), 0.0)
    answers = Answers(TaskKind.REGRESSION, (), truth, truth + DRAWS.normal(size=100))
    values = row_losses(metric, answers)
    assert len(values) == 100
    assert np.isnan(values[99]) == (metric == "rmspe")
    mean = float(np.nanmean(values))
    found = shown_risk(metric, tolerated_loss(metric, mean, 0.1))
    assert found == pytest.approx(measure(metric, answers) + 0.1)


def test_the_proxy_expects_what_overconfident_answers_will_cost() -> None:
    logits = DRAWS.normal(size=(4000, 3))
    true = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    truth = (DRAWS.uniform(size=(4000, 1)) > true.cumsum(axis=1)).sum(axis=1).clip(0, 2)
    said = true**3 / (true**3).sum(axis=1, keepdims=True)
    answers = Answers(TaskKind.CLASSIFICATION, "abc", truth, said)
    first, second = answers.subset(np.arange(4000) < 2000), answers.subset(np.arange(4000) >= 2000)
    assert np.abs(recalibrate(first)(second.predictions) - true[2000:]).max() < 0.1
    expected = fit_proxy("log_loss", first)(second.predictions)
    assert expected.mean() == pytest.approx(row_losses("log_loss", second).mean(), abs=0.05)


def test_the_proxy_of_numbers_is_the_error_of_rows_with_a_prediction_like_it() -> None:
    predictions = DRAWS.uniform(1, 10, 2000)
    truth = predictions + predictions * DRAWS.normal(size=2000)
    proxy = fit_proxy("mean_absolute_error", Answers(TaskKind.REGRESSION, (), truth, predictions))
    low, high = proxy(np.asarray([2.0, 9.0]))
    assert high > 2 * low > 0
