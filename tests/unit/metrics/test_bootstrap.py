from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from podium.errors import TrainerError
from podium.metrics import bootstrap
from podium.metrics.answers import Answers, Numbers
from podium.metrics.bootstrap import is_settled, metric_differences
from podium.metrics.measures import measure
from podium.model_file.metric_gate import NotWorse
from podium.model_file.metric_names import OWN_METRICS, TaskKind
from support.evidence import classification, generation, probabilities, ranking, regression

ROWS = 400
RULE = NotWorse(resamples=300)
RESAMPLED = sorted(name for name, known in OWN_METRICS.items() if known.resampled)


def drawn(task: TaskKind, seed: int) -> Answers:
    """Answers to the same rows; another seed is another model, all equally bad."""
    rows, model = np.random.default_rng(0), np.random.default_rng(seed)
    if task is TaskKind.CLASSIFICATION:
        return classification(rows.integers(3, size=ROWS), model.dirichlet(np.ones(3), size=ROWS))
    if task is TaskKind.REGRESSION:
        truth = rows.uniform(1, 9, ROWS)
        return regression(truth, truth + model.normal(size=ROWS))
    if task is TaskKind.GENERATION:
        tokens, passed = rows.integers(1, 9, ROWS), model.integers(0, 2, ROWS)
        numbers = np.column_stack([tokens * model.uniform(1, 3, ROWS), tokens, passed])
        return generation(["x" * (2 * number) for number in tokens], numbers)
    return ranking(rows.integers(0, 4, ROWS), model.normal(size=ROWS), rows.integers(0, 40, ROWS))


def differences(metric: str, candidate: Answers, reference: Answers, rule: NotWorse = RULE) -> Numbers:
    return metric_differences(metric, (), rule, candidate, reference)


@pytest.mark.parametrize("metric", RESAMPLED)
def test_equal_predictions_differ_by_exactly_zero(metric: str) -> None:
    answers = drawn(OWN_METRICS[metric].task, 1)
    found = differences(metric, answers, answers)
    assert found.shape == (300,)
    assert (found == 0.0).all()


@pytest.mark.parametrize("metric", RESAMPLED)
def test_the_same_seed_draws_the_same_and_another_seed_does_not(metric: str) -> None:
    one, other = (drawn(OWN_METRICS[metric].task, seed) for seed in (1, 2))
    first = differences(metric, one, other)
    assert (differences(metric, one, other) == first).all()
    assert (differences(metric, one, other, NotWorse(resamples=300, seed=1)) != first).any()


@pytest.mark.parametrize("metric", RESAMPLED)
def test_resamples_lie_around_the_difference_of_the_metrics(metric: str) -> None:
    one, other = (drawn(OWN_METRICS[metric].task, seed) for seed in (1, 2))
    found = differences(metric, one, other)
    assert found.std() > 0
    # The middle of resamples is off by a little of their spread; the metrics are not linear in the rows.
    assert abs(found.mean() - (measure(metric, one) - measure(metric, other))) < 0.2 * found.std()


def test_the_interval_of_a_mean_agrees_with_the_normal_approximation() -> None:
    one, other = drawn(TaskKind.REGRESSION, 1), drawn(TaskKind.REGRESSION, 2)
    errors = [np.abs(answers.predictions - answers.truth) for answers in (one, other)]
    error = (errors[0] - errors[1]).std() / np.sqrt(ROWS)
    found = differences("mean_absolute_error", one, other, NotWorse(resamples=10_000))
    low, high = np.quantile(found, [0.05, 0.95])
    centre = errors[0].mean() - errors[1].mean()
    assert high - centre == pytest.approx(1.645 * error, rel=0.05)
    assert centre - low == pytest.approx(1.645 * error, rel=0.05)


def test_pairs_of_rows_stay_together() -> None:
    # One model is worse by 0.1 on every row: what is hard about a row is hard for both, so that is sure.
    truth = np.zeros(ROWS)
    wide = np.random.default_rng(0).uniform(0, 1e6, ROWS)
    found = differences("mean_absolute_error", regression(truth, wide + 0.1), regression(truth, wide))
    assert found == pytest.approx(0.1, abs=1e-8)


def test_a_model_that_is_worse_is_found_to_be() -> None:
    draws = np.random.default_rng(3)
    truth = draws.integers(0, 2, ROWS)
    signal = truth + draws.normal(size=ROWS)
    good = classification(truth, probabilities(1 / (1 + np.exp(-signal))))
    bad = classification(truth, probabilities(1 / (1 + np.exp(-signal - 2 * draws.normal(size=ROWS)))))
    assert np.quantile(differences("roc_auc", bad, good), 0.95) < 0
    true = draws.uniform(1, 9, ROWS)
    near, far = (regression(true, true * (1 + by * draws.normal(size=ROWS))) for by in (0.1, 0.2))
    assert np.quantile(differences("rmspe", far, near), 0.05) > 0


@given(seed=st.integers(0, 2**32 - 1), labels=st.integers(2, 4), distinct=st.integers(1, 20))
def test_the_area_of_weighted_rows_is_that_of_scikit_learn(seed: int, labels: int, distinct: int) -> None:
    draws = np.random.default_rng(seed)
    rows = 40
    truth = np.r_[np.arange(labels), draws.integers(labels, size=rows - labels)]
    # Rounded, so that many scores are equal.
    scores = [np.round(draws.dirichlet(np.ones(labels), rows) * distinct) / distinct for _ in range(2)]
    counts = draws.integers(0, 4, rows).astype(float)
    counts[:labels] = 1
    sides = [classification(truth, answered) for answered in scores]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bootstrap, "_resamples", lambda *_: iter([counts]))
        found = differences("roc_auc", *sides)
    columns = [1] if labels == 2 else range(labels)
    one, other = (
        np.mean([roc_auc_score(truth == k, answered[:, k], sample_weight=counts) for k in columns])
        for answered in scores
    )
    assert found == pytest.approx([one - other])


def test_a_resample_without_a_label_has_no_area() -> None:
    answers = classification([0, 0, 0, 1], probabilities([0.1, 0.2, 0.3, 0.4]))
    found = differences("roc_auc", answers, answers)
    assert np.isnan(found).any()
    assert (found[~np.isnan(found)] == 0).all()


def test_rows_are_drawn_evenly_and_as_many_as_there_are() -> None:
    drawn_counts = list(bootstrap._resamples(50, NotWorse(resamples=2000)))
    assert all(counts.sum() == 50 for counts in drawn_counts)
    assert np.mean(drawn_counts, axis=0) == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize("metric", ["log_loss", "roc_auc"])
def test_one_resample_is_in_memory_at_a_time(metric: str) -> None:
    draws = np.random.default_rng(0)
    rows = 20_000
    truth = draws.integers(0, 2, rows)
    sides = [classification(truth, draws.dirichlet(np.ones(2), rows)) for _ in range(2)]
    tracemalloc.start()
    try:
        differences(metric, *sides, NotWorse(resamples=200))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # All at once would be 200 arrays of the rows' length.
    assert peak < 20 * rows * 8


def test_an_own_metric_needs_a_number_per_row() -> None:
    one, other = drawn(TaskKind.REGRESSION, 1), drawn(TaskKind.REGRESSION, 2)
    found = differences("support.own_metrics:prediction", one, other)
    assert found.mean() == pytest.approx(one.predictions.mean() - other.predictions.mean(), abs=0.02)
    with pytest.raises(TrainerError, match="mean_prediction returns one number; not_worse needs one per row"):
        differences("support.own_metrics:mean_prediction", one, other)


@pytest.mark.parametrize(
    ("within", "beyond", "without", "settled"),
    [
        (2000, 0, 0, True),
        (1000, 1000, 0, True),
        (1940, 60, 0, False),
        (1860, 140, 0, False),
        # A resample that has no number is not within the margin.
        (1900, 0, 100, False),
        (1000, 0, 1000, True),
        # That a hundred are within a margin shows little of how many in a hundred are.
        (100, 0, 0, False),
    ],
)
def test_a_verdict_is_settled_where_noise_would_hardly_ever_give_it(
    within: int, beyond: int, without: int, settled: bool
) -> None:
    regressions = np.repeat([0.01, 0.3, np.nan], [within, beyond, without])
    assert is_settled(regressions, NotWorse(margin=0.01)) is settled


def test_what_is_not_enough_is_drawn_on_from_the_same_seed() -> None:
    one, other = drawn(TaskKind.REGRESSION, 1), drawn(TaskKind.REGRESSION, 2)
    asked = []

    def enough(found: Numbers) -> bool:
        asked.append(len(found))
        return len(found) >= 1200

    more = metric_differences("mean_absolute_error", (), RULE, one, other, enough)
    assert asked == [300, 600, 1200]
    assert (more[:300] == differences("mean_absolute_error", one, other)).all()
    assert (more == differences("mean_absolute_error", one, other, NotWorse(resamples=1200))).all()
