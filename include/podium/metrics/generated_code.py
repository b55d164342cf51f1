"""Score a model that writes code: how probable it finds the right text, and if what it writes works."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from podium.errors import PodiumError
from podium.metrics.answers import Numbers
from podium.metrics.sandbox.judge import CodeTask, judge_all
from podium.model_file.data import DataSpec

if TYPE_CHECKING:
    from mlflow.pyfunc import PyFuncModel


def score_generation(model: PyFuncModel, rows: pd.DataFrame, data: DataSpec) -> Numbers:
    """Return what is kept of the answers to rows: the columns of ``model_file.metric_names.GENERATED``.

    ``predict`` writes, and each text is run against the row's tests in the sandbox. The Python model's own
    ``log_likelihood(prompts, texts)`` says what the right texts take: (rows, 2), nats and tokens.

    Returns:
        Shape (rows, 3).

    Raises:
        PodiumError: The model has no ``log_likelihood``, or answers in another shape.
    """
    prompts, texts = _column(rows, data.inputs[0]), _column(rows, data.label)
    tests, names = _column(rows, str(data.tests)), _column(rows, str(data.entry_point))
    if not prompts:
        return np.empty((0, 3))
    likelihood = getattr(model.unwrap_python_model(), "log_likelihood", None)
    if likelihood is None:
        raise PodiumError(
            "the model's script has no method log_likelihood(prompts, texts), which perplexity needs"
        )
    nats_and_tokens = np.asarray(likelihood(prompts, texts), dtype=np.float64)
    if nats_and_tokens.shape != (len(rows), 2):
        raise PodiumError(f"log_likelihood answered with shape {nats_and_tokens.shape}, not {(len(rows), 2)}")
    written = model.predict(rows[list(data.inputs)])
    if not isinstance(written, list) or len(written) != len(rows):
        raise PodiumError(f"predict must return a list of {len(rows):,} texts, one per prompt")
    tasks = [CodeTask(*parts) for parts in zip(prompts, texts, tests, names, strict=True)]
    passed = [verdict.passed for verdict in judge_all(tasks, list(map(str, written)))]
    return np.column_stack([nats_and_tokens, np.asarray(passed, dtype=np.float64)])


def _column(rows: pd.DataFrame, name: str) -> Sequence[str]:
    return [str(value) for value in rows[name]]
