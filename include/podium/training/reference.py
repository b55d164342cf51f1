"""What the windows of a version are held against: made of its training data, and kept among its files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC

import numpy as np
import numpy.typing as npt
import pandas as pd

from podium.errors import DataError
from podium.metrics.answers import Answers
from podium.metrics.importance import permutation_importance
from podium.metrics.predictions import answer_streams
from podium.metrics.reference import Detector, Reference, make_reference, with_answers
from podium.metrics.row_scores import row_losses
from podium.metrics.windows import windows_between
from podium.model_file.metric_names import TaskKind
from podium.model_file.monitoring import MonitoringSpec
from podium.model_file.spec import ModelSpec
from podium.training.detectors import own_detectors
from podium.training.examples import DataWindow, TrainingExamples
from podium.training.input_types import as_clients_send
from podium.training.split import subset

# So many rows of the holdout say which features matter.
IMPORTANCE_ROWS = 2000

Ask = Callable[[TrainingExamples], Answers]


def version_reference(spec: ModelSpec, section: MonitoringSpec, known: DataWindow, ask: Ask) -> Reference:
    """Make the reference of a version.

    Features are of all training data, the holdout too. Answers are of the holdout alone: the version was not
    trained on it, so it answers there as it will later.

    Args:
        spec: The model file.
        section: Its section ``monitoring``.
        known: What the version was trained on and judged by.
        ask: What it answers to labelled rows, beside the truth.

    Returns:
        The reference; one that is ``unknown`` where the training data makes none.

    Raises:
        TrainerError: An own detector broke its protocol.
    """
    try:
        return _made(spec, section, known, ask)
    except DataError as error:
        return Reference({}, (), unknown=str(error), windows=section.windows)


def reference_rows(section: MonitoringSpec, known: DataWindow) -> tuple[pd.DataFrame, pd.Series]:
    """Return the inputs of all training data as clients send them, and their moments, by whole windows."""
    sides = (known.train, known.holdout)
    inputs = pd.concat([as_clients_send(side.inputs) for side in sides], ignore_index=True)
    times = pd.concat([side.time for side in sides], ignore_index=True)
    whole = _whole(section, known, times)
    return inputs[whole].reset_index(drop=True), times[whole].reset_index(drop=True)


def _made(spec: ModelSpec, section: MonitoringSpec, known: DataWindow, ask: Ask) -> Reference:
    detectors: dict[str, Detector] = own_detectors(section.detectors)
    inputs, times = reference_rows(section, known)
    if inputs.empty:
        raise DataError(f"the training data has no whole window of '{section.windows}'")
    made = make_reference(inputs, times, section.windows, detectors)
    if spec.task is TaskKind.GENERATION:
        return made
    answers = ask(known.holdout)
    if spec.row_metric:
        risk = float(np.nanmean(row_losses(spec.row_metric, answers)))
        importance = _importance(spec, known.holdout, ask)
        made = replace(made, metric=spec.row_metric, at_promotion=risk, importance=importance)
    whole = _whole(section, known, known.holdout.time)
    if not whole.any():
        return made
    frame = answer_streams(spec.labels, answers.predictions)[whole]
    return with_answers(made, make_reference(frame, known.holdout.time[whole], section.windows))


def _whole(section: MonitoringSpec, known: DataWindow, times: pd.Series) -> npt.NDArray[np.bool_]:
    """Return which rows are in a window that had ended when the version was trained."""
    as_of = known.as_of.replace(tzinfo=UTC)
    end = windows_between(section.windows, as_of, as_of)[0].start
    return (times < end.replace(tzinfo=None)).to_numpy(bool)


def _importance(spec: ModelSpec, holdout: TrainingExamples, ask: Ask) -> dict[str, float]:
    """Return which features matter."""
    if len(spec.data.inputs) < 2:
        return {}
    some = subset(holdout, pd.Series(np.arange(len(holdout)) < IMPORTANCE_ROWS, index=holdout.inputs.index))
    return permutation_importance(
        some.inputs,
        lambda inputs: float(np.nanmean(row_losses(spec.row_metric, ask(replace(some, inputs=inputs))))),
    )
