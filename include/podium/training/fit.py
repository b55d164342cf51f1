"""A model fitted on training examples and asked on the holdout."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from podium.errors import TrainerError
from podium.metrics.answers import Answers, Numbers, true_values
from podium.metrics.generated_code import score_generation
from podium.metrics.measures import measured
from podium.metrics.predictions import in_label_order
from podium.model_file.metric_names import TaskKind
from podium.model_file.spec import ModelSpec
from podium.model_file.user_code import import_object, trainer_errors
from podium.names import CANDIDATE
from podium.registry.flavours import Flavour
from podium.training.examples import DataWindow, TrainingExamples
from podium.training.holdout import rows
from podium.training.saving import Usable
from podium.training.search import Attempt, search_params
from podium.training.search_result import Search
from podium.training.split import check_split, subset, validation_rows
from podium.training.trainer import TrainedModel, call_trainer, usable_models

log = logging.getLogger(__name__)

# Probabilities of 32 or 16 bits do not add up to exactly one.
_ROUNDED = 1e-2


@dataclass(frozen=True)
class Fitted:
    """What fitting came to.

    Attributes:
        params: What the model was fitted with; those of the best trial, if there was a search.
        trained: What the trainer returned.
        search: The search before it, or None.
    """

    params: dict[str, Any]
    trained: TrainedModel
    search: Search | None


def fit(
    spec: ModelSpec,
    window: DataWindow,
    home: Path,
    recorded: Callable[[Attempt], Attempt] = lambda tried: tried,
) -> Fitted:
    """Search the params, if the model file says so, and fit the model on all training examples.

    Args:
        spec: The model file.
        window: The holdout is not touched.
        home: The project's top folder.
        recorded: Makes of a trial one that is kept somewhere.

    Raises:
        DataError: The search has no rows to fit or to score on.
        TrainerError: The trainer broke its protocol; in a search: in all trials.
    """
    trainer = import_object(spec.trainer)
    if spec.search is None:
        return Fitted(spec.params, call_trainer(spec, trainer, window.train, spec.params), None)
    validation = validation_rows(spec, window)
    check_split(spec, validation)
    rest, scored = subset(window.train, ~validation), subset(window.train, validation)
    metric = spec.search.metric

    def attempt(_: int, params: Mapping[str, Any]) -> float:
        found = call_trainer(spec, trainer, rest, params)
        model = TrainedModel(found.model, classes=found.classes)
        with usable_models(spec, model, home) as models, trainer_errors(spec.trainer):
            value, why = measured(metric, answers_of(spec, models[CANDIDATE], scored))
        if not math.isfinite(value):
            raise TrainerError(f"{spec.trainer}: {why or f'{metric} is {value}'}")
        return value

    search = search_params(spec.search, spec.params, recorded(attempt))
    log.info("search: %s", search.describe())
    params = {**spec.params, **search.best.params}
    return Fitted(params, call_trainer(spec, trainer, window.train, params), search)


def answers_of(spec: ModelSpec, model: Usable, holdout: TrainingExamples) -> Answers:
    """Return what a model answers to the holdout, beside the truth."""
    return Answers(
        task=spec.task,
        labels=spec.labels,
        truth=true_values(spec.task, holdout.label, spec.labels),
        predictions=_predictions(spec, model, holdout),
        groups=None if spec.data.group is None else holdout.column(spec.data.group).to_numpy(),
    )


def _predictions(spec: ModelSpec, model: Usable, holdout: TrainingExamples) -> Numbers:
    if spec.task is TaskKind.GENERATION:
        if model.loaded is None:
            raise TrainerError(
                f"{spec.trainer}: a generation needs models FromCode, not {type(model.model).__name__}"
            )
        return score_generation(model.loaded, rows(spec, holdout), spec.data)
    with trainer_errors(spec.trainer):
        answer = np.asarray(model.answer(holdout.inputs), dtype=np.float64)
    if spec.labels and model.flavour is not Flavour.SKLEARN:
        _check_probabilities(spec, answer)
    if spec.labels:
        return in_label_order(answer, model.classes, spec.labels, len(holdout))
    if answer.size != len(holdout):
        raise TrainerError(
            f"{spec.trainer}: a model answered with shape {answer.shape}, not {(len(holdout),)}: "
            "one number a row"
        )
    return answer.reshape(len(holdout))


def _check_probabilities(spec: ModelSpec, answer: Numbers) -> None:
    """Boosters and networks answer with whatever their last layer or objective is."""
    sums = answer.sum(axis=-1)
    if answer.min() < -_ROUNDED or np.abs(sums - 1).max() > _ROUNDED:
        raise TrainerError(
            f"{spec.trainer}: a model answers with numbers from {answer.min():.4g} to {answer.max():.4g}, "
            f"whose sums are {sums.min():.4g} to {sums.max():.4g}. A classification needs probabilities: end "
            "a network with softmax (two labels: sigmoid), train a booster with an objective of probabilities"
        )
