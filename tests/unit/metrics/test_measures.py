from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as reference

from podium.errors import DataError, MetricUndefined, TrainerError
from podium.metrics.answers import Answers, label_indices, true_values
from podium.metrics.measures import MEANS, measure, measured, reported_metrics
from podium.model_file.metric_names import KNOWN_METRICS, OWN_METRICS, REPORTED, SKLEARN_METRICS, TaskKind
from support.evidence import classification, generation, probabilities, ranking, regression

seeds = st.integers(0, 2**32 - 1)


def drawn(task: TaskKind, seed: int = 0, rows: int = 60, labels: int = 2) -> Answers:
    """Answers on which every metric of a task has a value."""
    draws = np.random.default_rng(seed)
    if task is TaskKind.CLASSIFICATION:
        truth = np.r_[np.arange(labels), draws.integers(labels, size=rows - labels)]
        return classification(truth, draws.dirichlet(np.ones(labels), size=rows))
    if task is TaskKind.REGRESSION:
        return regression(draws.uniform(1, 9, rows), draws.uniform(1, 9, rows))
    if task is TaskKind.GENERATION:
        tokens, passed = draws.integers(1, 9, rows), draws.integers(0, 2, rows)
        return generation(
            ["x" * (2 * number) for number in tokens],
            np.column_stack([tokens * draws.uniform(1, 3, rows), tokens, passed]),
        )
    return ranking(draws.integers(0, 4, rows), draws.normal(size=rows), draws.integers(0, 6, rows))


@given(seed=seeds, rows=st.integers(8, 50), labels=st.integers(2, 5))
def test_metrics_of_labels_agree_with_scikit_learn(seed: int, rows: int, labels: int) -> None:
    answers = drawn(TaskKind.CLASSIFICATION, seed, rows, labels)
    truth, answered = answers.truth, answers.predictions
    expected = reference.log_loss(truth, answered, labels=list(range(labels)))
    assert measure("log_loss", answers) == pytest.approx(expected, rel=1e-6)
    assert measure("accuracy", answers) == pytest.approx(
        reference.accuracy_score(truth, answered.argmax(axis=1))
    )
    scores = answered[:, 1] if labels == 2 else answered
    expected = reference.roc_auc_score(truth, scores, multi_class="ovr", average="macro")
    assert measure("roc_auc", answers) == pytest.approx(expected)
    brier = reference.brier_score_loss(truth, answered, labels=list(range(labels)), scale_by_half=False)
    assert measure("brier_score", answers) == pytest.approx(brier)
    assert 0 <= measure("ranked_probability_score", answers) <= 1


@given(seed=seeds, rows=st.integers(8, 50), labels=st.integers(2, 4), grid=st.integers(1, 9))
def test_the_area_under_the_curve_counts_equal_scores_as_scikit_learn_does(
    seed: int, rows: int, labels: int, grid: int
) -> None:
    draws = np.random.default_rng(seed)
    truth = np.r_[np.arange(labels), draws.integers(labels, size=rows - labels)]
    scores = draws.integers(0, grid + 1, (rows, labels)) / grid
    expected = [
        reference.roc_auc_score(truth == label, scores[:, label])
        for label in range(1 if labels == 2 else 0, labels)
    ]
    assert measure("roc_auc", classification(truth, scores)) == pytest.approx(np.mean(expected), abs=1e-12)


@given(seed=seeds, rows=st.integers(2, 50))
def test_metrics_of_numbers_agree_with_scikit_learn(seed: int, rows: int) -> None:
    answers = drawn(TaskKind.REGRESSION, seed, rows)
    pairs = {
        "mean_absolute_error": reference.mean_absolute_error,
        "mean_squared_error": reference.mean_squared_error,
        "root_mean_squared_error": reference.root_mean_squared_error,
        "mean_absolute_percentage_error": reference.mean_absolute_percentage_error,
        "r2": reference.r2_score,
    }
    for name, expected in pairs.items():
        assert measure(name, answers) == pytest.approx(expected(answers.truth, answers.predictions)), name


@given(seed=seeds, rows=st.integers(2, 30), ties=st.booleans())
def test_ndcg_agrees_with_scikit_learn_list_by_list(seed: int, rows: int, ties: bool) -> None:
    draws = np.random.default_rng(seed)
    lists = [np.r_[1, draws.integers(0, 4, rows - 1)] for _ in range(3)]
    scores = [draws.integers(0, 3, rows) if ties else draws.normal(size=rows) for _ in lists]
    # The rows of a list need not be beside each other.
    order = draws.permutation(3 * rows)
    answers = ranking(
        np.concatenate(lists)[order], np.concatenate(scores)[order], np.repeat(["a", "b", "c"], rows)[order]
    )
    expected = np.mean([reference.ndcg_score([gains], [by]) for gains, by in zip(lists, scores, strict=True)])
    assert measure("ndcg", answers) == pytest.approx(expected)


def test_the_mean_reciprocal_rank_by_hand() -> None:
    # In a the second row is relevant, in b the first, in c none: c says nothing.
    answers = ranking([0, 3, 1, 0, 0, 0], [0.9, 0.8, 0.7, 0.1, 0.5, 0.6], list("aabbcc"))
    assert measure("mean_reciprocal_rank", answers) == pytest.approx((1 / 2 + 1) / 2)


def test_equal_scores_never_flatter_a_ranking() -> None:
    best_first, best_last = ([1, 0, 0], [0, 0, 1])
    same = [[0.5, 0.5, 0.5], list("aaa")]
    assert measure("mean_reciprocal_rank", ranking(best_first, *same)) == pytest.approx(1 / 3)
    assert measure("ndcg", ranking(best_first, *same)) == measure("ndcg", ranking(best_last, *same)) < 1


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", sorted(SKLEARN_METRICS))
def test_a_scorer_answers_as_scikit_learn_does(name: str) -> None:
    answers = drawn(SKLEARN_METRICS[name].task)

    class Model:
        _estimator_type = "classifier" if answers.labels else "regressor"
        classes_ = np.arange(2)
        fit = None

        def predict(self, _: object) -> np.ndarray:
            return answers.predictions.argmax(axis=1) if answers.labels else answers.predictions

        def predict_proba(self, _: object) -> np.ndarray:
            return answers.predictions

        def __sklearn_tags__(self) -> object:
            from sklearn.linear_model import LinearRegression, LogisticRegression

            return (LogisticRegression() if answers.labels else LinearRegression()).__sklearn_tags__()

    expected = reference.get_scorer(name)(Model(), np.zeros((60, 1)), answers.truth)
    assert measure(name, answers) == pytest.approx(expected)


def test_scorers_are_podiums_own_metrics_with_the_other_sign() -> None:
    labels, numbers = drawn(TaskKind.CLASSIFICATION), drawn(TaskKind.REGRESSION)
    assert measure("neg_log_loss", labels) == pytest.approx(-measure("log_loss", labels))
    assert measure("neg_brier_score", labels) == pytest.approx(-measure("brier_score", labels) / 2)
    assert measure("roc_auc_ovr", labels) == pytest.approx(measure("roc_auc", labels))
    error = measure("root_mean_squared_error", numbers)
    assert measure("neg_root_mean_squared_error", numbers) == pytest.approx(-error)


@pytest.mark.parametrize("name", sorted(KNOWN_METRICS))
def test_every_known_metric_can_be_measured(name: str) -> None:
    assert np.isfinite(measure(name, drawn(KNOWN_METRICS[name].task)))


# They have no value for a perfect model, or are one for any model of two labels.
WITHOUT_A_BEST = {"positive_likelihood_ratio", "neg_negative_likelihood_ratio", "top_k_accuracy"}


@pytest.mark.parametrize("name", sorted(set(KNOWN_METRICS) - WITHOUT_A_BEST))
def test_the_direction_of_each_metric_is_true(name: str) -> None:
    task = KNOWN_METRICS[name].task
    poor = drawn(task)
    truth = poor.truth
    if task is TaskKind.GENERATION:
        best = poor.predictions * [0.1, 1, 0] + [0, 0, 1]
    else:
        best = np.eye(2)[truth] if task is TaskKind.CLASSIFICATION else truth.astype(float)
        # Nearly perfect, so that no logarithm is of zero and no share without a miss.
        best = best * 0.99 + 0.005
    perfect = Answers(task, poor.labels, truth, best, groups=poor.groups)
    better = measure(name, perfect) - measure(name, poor)
    assert better > 0 if KNOWN_METRICS[name].greater_is_better else better < 0


def test_every_resampled_metric_is_a_mean_or_the_area_under_the_curve() -> None:
    assert {name for name, known in OWN_METRICS.items() if known.resampled} == {*MEANS, "roc_auc"}


def test_known_values() -> None:
    answers = classification([0, 2], [[0.5, 0.3, 0.2], [0.1, 0.2, 0.7]])
    assert measure("log_loss", answers) == pytest.approx(-(np.log(0.5) + np.log(0.7)) / 2)
    assert measure("brier_score", answers) == pytest.approx((0.38 + 0.14) / 2)
    # Cumulated: 0.5, 0.8 against 1, 1; and 0.1, 0.3 against 0, 0; halved for two steps.
    assert measure("ranked_probability_score", answers) == pytest.approx((0.145 + 0.05) / 2)


def test_ranked_probability_score_minds_the_order_of_labels() -> None:
    near, far = classification([0], [[0.0, 1.0, 0.0]]), classification([0], [[0.0, 0.0, 1.0]])
    assert measure("ranked_probability_score", near) < measure("ranked_probability_score", far)
    assert measure("brier_score", near) == measure("brier_score", far)


def test_a_certain_mistake_costs_much_but_is_finite() -> None:
    assert measure("log_loss", classification([0], [[0.0, 1.0]])) == pytest.approx(-np.log(1e-15))


def test_rows_whose_true_value_is_zero_have_no_share_to_be_wrong_by() -> None:
    answers = regression([0.0, 2.0, 4.0], [7.0, 3.0, 3.0])
    assert measure("rmspe", answers) == pytest.approx(np.sqrt((0.5**2 + 0.25**2) / 2))
    assert measure("mean_absolute_percentage_error", answers) == pytest.approx((0.5 + 0.25) / 2)
    value, why = measured("rmspe", regression([0.0], [1.0]))
    assert (str(value), why) == ("nan", "rmspe has no value: it can be computed on none of these rows")


def test_the_expected_calibration_error_by_hand() -> None:
    # Confidence 0.95 twice, once right; 0.65 twice, always right.
    answers = classification([1, 0, 1, 1], probabilities([0.95, 0.95, 0.65, 0.65]))
    assert measure("expected_calibration_error", answers) == pytest.approx(
        0.5 * abs(0.5 - 0.95) + 0.5 * abs(1.0 - 0.65)
    )
    certain = classification([1, 1], probabilities([1.0, 1.0]))
    assert measure("expected_calibration_error", certain) == 0.0


@pytest.mark.parametrize("strange", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", sorted(KNOWN_METRICS))
def test_a_prediction_that_is_no_number_leaves_no_metric(name: str, strange: float) -> None:
    answers = drawn(KNOWN_METRICS[name].task)
    answers.predictions[3] = strange
    with pytest.raises(MetricUndefined, match="a prediction is not a finite number"):
        measure(name, answers)
    assert all(np.isnan(value) for value in reported_metrics(answers).values())


@pytest.mark.parametrize("name", sorted(KNOWN_METRICS))
def test_no_rows_leave_no_metric(name: str) -> None:
    answers = drawn(KNOWN_METRICS[name].task)
    with pytest.raises(MetricUndefined, match="no rows"):
        measure(name, answers.subset(np.zeros(len(answers), dtype=bool)))


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("roc_auc", "it cannot be computed on these rows"),
        ("roc_auc_ovr", "it cannot be computed on these rows"),
        ("neg_log_loss", "y_true contains only one label"),
        ("f1", "no row has the label yes"),
        ("average_precision", "no row has the label yes"),
        ("recall", "no row has the label yes"),
    ],
)
def test_a_metric_that_one_label_does_not_allow_says_so(name: str, why: str) -> None:
    value, said = measured(name, classification([0, 0, 0], probabilities([0.2, 0.6, 0.4]), ("no", "yes")))
    assert np.isnan(value)
    assert said.startswith(f"{name} has no value: ")
    assert why in said


def test_a_metric_of_two_labels_has_no_value_of_three() -> None:
    value, why = measured("f1", drawn(TaskKind.CLASSIFICATION, labels=3))
    assert np.isnan(value)
    assert "Target is multiclass" in why


def test_an_order_of_nothing_relevant_or_of_less_than_nothing_has_no_value() -> None:
    assert "it can be computed on none" in measured("ndcg", ranking([0, 0], [1, 2], ["a", "a"]))[1]
    assert "below zero" in measured("ndcg", ranking([-1, 2], [1, 2], ["a", "a"]))[1]


def test_an_unlisted_label_is_named() -> None:
    with pytest.raises(DataError, match="label 'maybe' in row 1; allowed: no, yes"):
        label_indices(pd.Series(["no", "maybe"]), ["no", "yes"])


def test_what_is_true_are_indices_of_labels_or_the_numbers() -> None:
    assert true_values(TaskKind.CLASSIFICATION, pd.Series(["yes", "no"]), ("no", "yes")).tolist() == [1, 0]
    assert true_values(TaskKind.REGRESSION, pd.Series([2, 3]), ()).tolist() == [2.0, 3.0]


def test_the_reported_metrics_of_each_task_have_values() -> None:
    for task in TaskKind:
        found = reported_metrics(drawn(task))
        assert tuple(found) == REPORTED[task]
        assert np.isfinite(list(found.values())).all()


def test_an_own_metric_gets_labels_as_text_and_the_columns_that_it_names() -> None:
    columns = pd.DataFrame({"amount": [10.0, 20.0, 40.0], "other": 0.0})
    answers = classification([0, 1, 1], probabilities([0.9, 0.2, 0.8]), ("no", "yes"), columns=columns)
    assert measure("support.own_metrics:cost_of_misses", answers, ["amount"]) == pytest.approx(10.0)
    some = answers.subset(np.array([False, True, True]))
    assert measure("support.own_metrics:cost_of_misses", some, ["amount"]) == pytest.approx(10.0)


def test_an_own_metric_fails_clearly() -> None:
    answers = regression([1.0, 2.0, 3.0], [1.0, 2.0, 3.0])
    with pytest.raises(MetricUndefined, match="the examples have no column amount"):
        measure("support.own_metrics:prediction", answers, ["amount"])
    with pytest.raises(
        TrainerError, match=r"two_numbers must return one number or one per row, not .*\(2,\)"
    ):
        measure("support.own_metrics:two_numbers", answers)
    with pytest.raises(TrainerError, match="support.own_metrics:crash: KeyError: 'amount'"):
        measure("support.own_metrics:crash", answers)
    with pytest.raises(TrainerError, match="has no function 'nowhere'"):
        measure("support.own_metrics:nowhere", answers)
    assert measure("support.own_metrics:mean_prediction", answers) == 2.0
