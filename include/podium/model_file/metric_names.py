"""The metrics that a model file may name, without their formulas: light to import."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

TRAINER_METRIC = "trainer."


class TaskKind(StrEnum):
    """What a model answers: one of the labels, a number, scores that order the rows of a group, or code."""

    CLASSIFICATION = "classification"
    REGRESSION = "regression"
    RANKING = "ranking"
    GENERATION = "generation"


# What is kept of each answer of a generation: how improbable the model found the right text (nats), how many
# tokens that has, and 1 if what the model wrote passes the row's tests, else 0.
GENERATED = ("negative_log_likelihood", "tokens", "passed")


def answer_columns(task: TaskKind, labels: Sequence[str]) -> tuple[str, ...]:
    """Name the numbers that a model gives for each row; none where it is a single one."""
    return GENERATED if task is TaskKind.GENERATION else tuple(labels)


class KnownMetric(NamedTuple):
    """A metric by name.

    Attributes:
        task: The task that it is for.
        greater_is_better: Its direction.
        resampled: It can be bootstrapped, so ``not_worse`` can be asked of it.
    """

    task: TaskKind
    greater_is_better: bool
    resampled: bool


def _own(task: TaskKind, *, smaller: str = "", greater: str = "", resampled: bool) -> dict[str, KnownMetric]:
    return {
        name: KnownMetric(task, greater_is_better, resampled)
        for names, greater_is_better in ((smaller, False), (greater, True))
        for name in names.split()
    }


# Podium's own; the names are those of MLflow where the meaning is equal.
OWN_METRICS: dict[str, KnownMetric] = {
    **_own(
        TaskKind.CLASSIFICATION,
        smaller="log_loss brier_score ranked_probability_score",
        greater="accuracy roc_auc",
        resampled=True,
    ),
    **_own(TaskKind.CLASSIFICATION, smaller="expected_calibration_error", resampled=False),
    **_own(
        TaskKind.REGRESSION,
        smaller="mean_absolute_error mean_squared_error root_mean_squared_error "
        "mean_absolute_percentage_error rmspe",
        resampled=True,
    ),
    **_own(TaskKind.RANKING, greater="ndcg mean_reciprocal_rank", resampled=True),
    **_own(TaskKind.GENERATION, smaller="perplexity bits_per_byte", greater="pass_rate", resampled=True),
}

# Scorers of scikit-learn: of each, greater is better (https://scikit-learn.org/stable/modules/model_evaluation.html).
SKLEARN_METRICS: dict[str, KnownMetric] = {
    **_own(
        TaskKind.CLASSIFICATION,
        greater="average_precision balanced_accuracy d2_brier_score d2_log_loss_score f1 f1_macro f1_micro "
        "f1_weighted jaccard jaccard_macro jaccard_micro jaccard_weighted matthews_corrcoef neg_brier_score "
        "neg_log_loss neg_negative_likelihood_ratio positive_likelihood_ratio precision precision_macro "
        "precision_micro precision_weighted recall recall_macro recall_micro recall_weighted roc_auc_ovo "
        "roc_auc_ovo_weighted roc_auc_ovr roc_auc_ovr_weighted top_k_accuracy",
        resampled=False,
    ),
    **_own(
        TaskKind.REGRESSION,
        greater="d2_absolute_error_score explained_variance neg_max_error neg_mean_absolute_error "
        "neg_mean_absolute_percentage_error neg_mean_gamma_deviance neg_mean_poisson_deviance "
        "neg_mean_squared_error neg_mean_squared_log_error neg_median_absolute_error "
        "neg_root_mean_squared_error neg_root_mean_squared_log_error r2",
        resampled=False,
    ),
}

KNOWN_METRICS = {**OWN_METRICS, **SKLEARN_METRICS}

# What a report shows of every model of a task, also where no gate asks.
REPORTED: dict[TaskKind, tuple[str, ...]] = {
    TaskKind.CLASSIFICATION: ("log_loss", "accuracy", "brier_score", "ranked_probability_score"),
    TaskKind.REGRESSION: ("root_mean_squared_error", "mean_absolute_error", "rmspe", "r2"),
    TaskKind.RANKING: ("ndcg", "mean_reciprocal_rank"),
    TaskKind.GENERATION: ("perplexity", "bits_per_byte", "pass_rate"),
}

# Means over rows, so that one may say what a row costs.
ROW_MEANS = (
    "log_loss",
    "accuracy",
    "brier_score",
    "ranked_probability_score",
    "mean_absolute_error",
    "mean_squared_error",
    "root_mean_squared_error",
    "mean_absolute_percentage_error",
    "rmspe",
)
