"""The gates: pure rules on numbers. ``evaluate`` turns metrics into a report that keeps every number."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from podium.errors import version_name
from podium.metrics import GREATER_IS_BETTER
from podium.spec import Gate, Metric, MetricGate, RowsGate

CHAMPION = "champion"

Metrics = Mapping[Metric, float]


class GateStatus(StrEnum):
    """Outcome of one gate. ``no_champion`` is a first model's answer to a rule against the champion."""

    PASSED = "passed"
    FAILED = "failed"
    NO_CHAMPION = "no_champion"


@dataclass(frozen=True)
class Scores:
    """What the gates judge: all on the same holdout rows.

    Attributes:
        rows: Number of holdout rows.
        candidate: The candidate's metrics.
        references: Metrics of the champion (under ``champion``, if there is one) and of each baseline.
    """

    rows: int
    candidate: Metrics
    references: Mapping[str, Metrics]


@dataclass(frozen=True)
class GateResult:
    """One gate with its numbers.

    Attributes:
        gate: The rule in words.
        status: The outcome.
        value: The candidate's number.
        reference: The champion's or the baseline's number, for a relative rule.
        limit: The bound that the value was held against; None where there is no champion.
    """

    gate: str
    status: GateStatus
    value: float
    reference: float | None
    limit: float | None


@dataclass(frozen=True)
class GateReport:
    """All gates on one version.

    Attributes:
        model: The registered model.
        version: The candidate.
        champion: The champion that it was compared with, or None.
        scores: All metrics, also those that no gate asks for.
        results: One per gate, in the model file's order.
    """

    model: str
    version: int
    champion: int | None
    scores: Scores
    results: tuple[GateResult, ...]

    @property
    def passed(self) -> bool:
        """True if there are gates and none failed."""
        return bool(self.results) and all(result.status is not GateStatus.FAILED for result in self.results)

    def verdict(self) -> str:
        """Say what came out and why, without the version's name."""
        failed = [_in_words(result) for result in self.results if result.status is GateStatus.FAILED]
        if failed:
            return f"refused by {len(failed)} of {len(self.results)} gates: {'; '.join(failed)}"
        passed = sum(result.status is GateStatus.PASSED for result in self.results)
        rest = len(self.results) - passed
        if rest:
            return f"passed {passed} gates, {rest} had no champion to compare with"
        return f"passed all {passed} gates"

    def sentence(self) -> str:
        """Say in one sentence what came out and why."""
        return f"{self.model} {version_name(self.version)}: {self.verdict()}"

    def as_json(self) -> dict[str, Any]:
        """Return the report with plain JSON values; what JSON has no number for as ``"nan"``, ``"inf"``."""
        content: dict[str, Any] = _without_nan(asdict(self))
        return {**content, "passed": self.passed, "verdict": self.verdict(), "sentence": self.sentence()}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> GateReport:
        """Return the report that ``as_json`` wrote."""
        scores = content["scores"]
        return cls(
            model=content["model"],
            version=content["version"],
            champion=content["champion"],
            scores=Scores(
                rows=scores["rows"],
                candidate=_metrics(scores["candidate"]),
                references={name: _metrics(metrics) for name, metrics in scores["references"].items()},
            ),
            results=tuple(_result(result) for result in content["results"]),
        )

    def digest(self) -> str:
        """Return the sha256 of the report's canonical JSON."""
        return hashlib.sha256(json.dumps(self.as_json(), sort_keys=True).encode()).hexdigest()

    def markdown(self) -> str:
        """Render the gates and then the metrics as Markdown tables."""
        lines = [
            "| gate | candidate | limit | outcome |",
            "|---|---:|---:|---|",
            *(
                f"| {result.gate} | {_number(result.value)} | {_number(result.limit)} "
                f"| {_OUTCOMES[result.status]} |"
                for result in self.results
            ),
            "",
            f"| on {self.scores.rows:,} holdout rows | candidate {version_name(self.version)} | "
            + " | ".join(self._reference_titles())
            + " |",
            "|---|" + "---:|" * (1 + len(self.scores.references)),
        ]
        for metric, value in self.scores.candidate.items():
            numbers = [value, *(metrics[metric] for metrics in self.scores.references.values())]
            lines.append(f"| {metric} | " + " | ".join(map(_number, numbers)) + " |")
        return "\n".join(lines)

    def _reference_titles(self) -> list[str]:
        return [
            f"champion {version_name(self.champion)}" if name == CHAMPION else name
            for name in self.scores.references
        ]


_OUTCOMES = {
    GateStatus.PASSED: "✅ passed",
    GateStatus.FAILED: "❌ failed",
    GateStatus.NO_CHAMPION: "➖ no champion yet",
}


def evaluate(gates: Sequence[Gate], scores: Scores) -> tuple[GateResult, ...]:
    """Judge every gate. Fail closed: NaN, a missing metric or baseline, no rows: failed.

    Args:
        gates: The model file's gates.
        scores: Metrics of candidate, champion and baselines on the same rows.
    """
    return tuple(
        _judge_rows(gate, scores) if isinstance(gate, RowsGate) else _judge_metric(gate, scores)
        for gate in gates
    )


def _judge_rows(gate: RowsGate, scores: Scores) -> GateResult:
    return GateResult(
        gate=f"at least {gate.min_holdout_rows:,} holdout rows",
        status=_status(scores.rows >= gate.min_holdout_rows),
        value=scores.rows,
        reference=None,
        limit=gate.min_holdout_rows,
    )


def _judge_metric(gate: MetricGate, scores: Scores) -> GateResult:
    greater = gate.metric in GREATER_IS_BETTER
    words = _rule_in_words(gate, greater=greater)
    value = scores.candidate.get(gate.metric, math.nan)
    if gate.against == CHAMPION and CHAMPION not in scores.references:
        return GateResult(words, GateStatus.NO_CHAMPION, value, None, None)
    if gate.threshold is not None:
        reference, limit = None, gate.threshold
    else:
        reference = scores.references.get(str(gate.against), {}).get(gate.metric, math.nan)
        worse_by = gate.max_regression_abs if gate.max_regression_abs is not None else -_improvement(gate)
        limit = reference - worse_by if greater else reference + worse_by
    # A comparison with NaN is false, so NaN fails.
    holds = value >= limit if greater else value <= limit
    finite = math.isfinite(value) and scores.rows > 0
    return GateResult(words, _status(holds and finite), value, reference, limit)


def _improvement(gate: MetricGate) -> float:
    return gate.min_improvement or 0.0


def _rule_in_words(gate: MetricGate, *, greater: bool) -> str:
    bound = "at least" if greater else "at most"
    if gate.threshold is not None:
        return f"{gate.metric} {bound} {gate.threshold:g}"
    if gate.max_regression_abs is not None:
        return f"{gate.metric} no worse than {gate.against} by more than {gate.max_regression_abs:g}"
    return f"{gate.metric} better than {gate.against} by at least {_improvement(gate):g}"


def _status(holds: bool) -> GateStatus:
    return GateStatus.PASSED if holds else GateStatus.FAILED


def _in_words(result: GateResult) -> str:
    if result.limit is not None and math.isnan(result.limit):
        return f"{result.gate} (there is no such number to compare with; is the baseline's name right?)"
    return f"{result.gate} (is {_number(result.value)}, limit {_number(result.limit)})"


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int) else f"{value:.4f}"


def _metrics(content: Mapping[str, float | str]) -> dict[Metric, float]:
    return {Metric(name): float(value) for name, value in content.items()}


def _result(content: Mapping[str, Any]) -> GateResult:
    numbers = {
        name: float(content[name]) if isinstance(content[name], str) else content[name]
        for name in ("value", "reference", "limit")
    }
    return GateResult(gate=content["gate"], status=GateStatus(content["status"]), **numbers)


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
