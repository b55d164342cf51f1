"""Evidence made of plain numbers, and gates as the model file says them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from pydantic import TypeAdapter

from podium.gates.evidence import Evidence, Side
from podium.gates.report import GateResult
from podium.gates.rules import evaluate
from podium.metrics.answers import Answers
from podium.model_file.gates import Gate, TaggedGate
from podium.model_file.metric_names import TaskKind

LABELS = ("no", "yes")
_GATE: TypeAdapter[Gate] = TypeAdapter(TaggedGate)


def gate(**said: Any) -> Gate:
    """Parse a gate as the model file does."""
    return _GATE.validate_python(said)


def side(predictions: Any, classes: Sequence[str] = (), **more: Any) -> Side:
    return Side(np.asarray(predictions, dtype=float), tuple(classes), **more)


def probabilities(of_yes: Sequence[float]) -> np.ndarray:
    yes = np.asarray(of_yes, dtype=float)
    return np.column_stack([1 - yes, yes])


def classified(
    truth: Sequence[int], candidate: Sequence[float], champion: Sequence[float] | None = None, **more: Any
) -> Evidence:
    """A classification of two labels; models say the probability of ``yes``."""
    champions = {} if champion is None else {"champion": side(probabilities(champion), LABELS)}
    return Evidence(
        task=TaskKind.CLASSIFICATION,
        labels=LABELS,
        truth=np.asarray(truth, dtype=int),
        groups=None,
        candidate=side(probabilities(candidate), LABELS),
        **{"columns": pd.DataFrame(index=range(len(truth))), "references": champions, **more},
    )


def estimated(
    truth: Sequence[float],
    candidate: Sequence[float],
    references: Mapping[str, Any] | None = None,
    **more: Any,
) -> Evidence:
    """A regression."""
    others = {name: side(answered) for name, answered in (references or {}).items()}
    return Evidence(
        task=TaskKind.REGRESSION,
        labels=(),
        truth=np.asarray(truth, dtype=float),
        groups=None,
        candidate=side(candidate),
        **{"columns": pd.DataFrame(index=range(len(truth))), "references": others, **more},
    )


def judge(said: Mapping[str, Any], evidence: Evidence) -> GateResult:
    """Judge one gate."""
    return evaluate([gate(**said)], evidence)[1]


def classification(truth: Any, predictions: Any, labels: Sequence[str] | None = None, **more: Any) -> Answers:
    answered = np.asarray(predictions, dtype=float)
    names = labels or tuple("abcdefgh"[: answered.shape[1]])
    return Answers(TaskKind.CLASSIFICATION, tuple(names), np.asarray(truth), answered, **more)


def generation(texts: Any, numbers: Any) -> Answers:
    """Of each row: the right text; nats, tokens and if its tests passed."""
    return Answers(TaskKind.GENERATION, (), np.asarray(texts, dtype=object), np.asarray(numbers, dtype=float))


def regression(truth: Any, predictions: Any, **more: Any) -> Answers:
    return Answers(TaskKind.REGRESSION, (), np.asarray(truth, float), np.asarray(predictions, float), **more)


def ranking(relevance: Any, scores: Any, groups: Any) -> Answers:
    return Answers(
        TaskKind.RANKING,
        (),
        np.asarray(relevance, float),
        np.asarray(scores, float),
        groups=np.asarray(groups),
    )
