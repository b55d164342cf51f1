"""The gates: pure rules on evidence. ``evaluate`` keeps every number, and fails what it cannot judge."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from podium.gates.evidence import Evidence, Side
from podium.gates.metric_rules import judge_metric, without_version
from podium.gates.report import CONTRACT, WORSE, GateResult, GateStatus, Scores, count_rows
from podium.metrics.by_label import by_label
from podium.metrics.measures import measured, reported_metrics
from podium.model_file.gates import (
    CanaryGate,
    CostGate,
    CostName,
    DisagreementGate,
    Gate,
    LabelCoverageGate,
    OverlapGate,
    RowsGate,
    SchemaGate,
    SignatureGate,
    kind_of,
)
from podium.model_file.metric_gate import MetricGate
from podium.model_file.metric_names import GENERATED, TRAINER_METRIC, TaskKind
from podium.names import CANDIDATE, CHAMPION
from podium.registry.signature import incompatibilities

_SHARE = "of the rows"
_NO_CHAMPION = "there is no champion"


def evaluate(gates: Sequence[Gate], evidence: Evidence) -> tuple[GateResult, ...]:
    """Judge the contract, which no file can leave out, and then every gate.

    Fail closed: NaN, a metric without a value, a missing baseline, label, column or slice, no rows: failed.

    Args:
        gates: The model file's gates.
        evidence: What the models answered on the same rows.

    Raises:
        TrainerError: An own metric function is not there, or broke.
    """
    return (_contract(evidence), *(_judge(gate, evidence) for gate in gates))


def scores_of(gates: Sequence[Gate], evidence: Evidence) -> Scores:
    """Return the metrics of every model: those of the task, and those that a gate asks for."""
    asked = {
        f"{gate.metric} ({', '.join(gate.columns)})" if gate.columns else gate.metric: gate
        for gate in gates
        if isinstance(gate, MetricGate) and not gate.metric.startswith(TRAINER_METRIC)
    }

    def metrics(side: Side) -> dict[str, float]:
        answers = evidence.answers(side)
        reported = reported_metrics(answers)
        further = {
            name: measured(gate.metric, answers, gate.columns)[0]
            for name, gate in asked.items()
            if name not in reported
        }
        return {**reported, **further}

    judged = {CANDIDATE: evidence.candidate} | {
        name: side for name, side in evidence.references.items() if name == CHAMPION
    }
    return Scores(
        rows=len(evidence),
        candidate=metrics(evidence.candidate),
        references={name: metrics(side) for name, side in evidence.references.items()},
        by_label={name: by_label(evidence.answers(side)) for name, side in judged.items()},
    )


def _judge(gate: Gate, evidence: Evidence) -> GateResult:
    kind = str(kind_of(gate))
    return replace(_JUDGES[type(gate)](gate, evidence), kind=kind, level=gate.level)


def _contract(evidence: Evidence) -> GateResult:
    """The candidate answers its example as when trained, in the right shape, finite, and knows all labels."""
    missing = [label for label in evidence.labels if label not in evidence.candidate.classes]
    strange = ~np.isfinite(evidence.candidate.predictions)
    problem = evidence.candidate.broken or ("" if len(evidence) else "the holdout has no rows")
    if not problem and missing:
        problem = f"the model does not know {', '.join(missing)}"
    if not problem and strange.any():
        rows = int(strange.reshape(len(evidence), -1).any(axis=1).sum())
        problem = f"{rows:,} of {len(evidence):,} predictions are not finite"
    gate = "predicts its example as in training: finite numbers, every label"
    return GateResult(gate, _status(not problem), None, kind=CONTRACT, note=problem)


def _rows(gate: RowsGate, evidence: Evidence) -> GateResult:
    return GateResult(
        gate=f"at least {gate.min_holdout_rows:,} holdout rows",
        status=_status(len(evidence) >= gate.min_holdout_rows),
        value=len(evidence),
        limit=gate.min_holdout_rows,
        unit="rows",
    )


def _label_coverage(gate: LabelCoverageGate, evidence: Evidence) -> GateResult:
    words = f"every label of {_of_whom(gate)} in {', '.join(gate.of)}"
    if gate.min_rows > 1 and "holdout" in gate.of:
        words += f", at least {gate.min_rows:,} holdout rows of each"
    if gate.label_coverage == CHAMPION and CHAMPION not in evidence.references:
        return GateResult(words, without_version(gate.no_champion), None, note="there is no champion")
    wanted = _wanted_labels(gate, evidence)
    said = {
        "model": _unknown(evidence, wanted),
        "holdout": _too_few(evidence, wanted, gate.min_rows),
        "predictions": _never_predicted(evidence, wanted),
    }
    problems = [said[place] for place in gate.of if said[place]]
    if not wanted:
        problems = ["there is no label to look for"]
    return GateResult(words, _status(not problems), None, note="; ".join(problems))


def _unknown(evidence: Evidence, wanted: Sequence[str]) -> str:
    missing = [label for label in wanted if label not in evidence.candidate.classes]
    return f"the model does not know {', '.join(missing)}" if missing else ""


def _too_few(evidence: Evidence, wanted: Sequence[str], needed: int) -> str:
    counted = np.bincount(evidence.truth, minlength=len(evidence.labels))
    rows = {label: int(count) for label, count in zip(evidence.labels, counted, strict=True)}
    few = [label for label in wanted if rows.get(label, 0) < needed]
    said = [f"{count_rows(rows.get(label, 0))} of {label}" for label in few]
    return f"holdout: {', '.join(said)}, {needed:,} needed{' of each' if said[1:] else ''}" if said else ""


def _never_predicted(evidence: Evidence, wanted: Sequence[str]) -> str:
    predictions = evidence.candidate.predictions
    answered = predictions[np.isfinite(predictions).all(axis=1)]
    there = {evidence.labels[place] for place in set(answered.argmax(axis=1))}
    missing = [label for label in wanted if label not in there]
    return f"no row is predicted as {' or '.join(missing)}" if missing else ""


def _of_whom(gate: LabelCoverageGate) -> str:
    labels = gate.label_coverage
    return f"the {labels}" if labels == CHAMPION else labels if isinstance(labels, str) else ", ".join(labels)


def _wanted_labels(gate: LabelCoverageGate, evidence: Evidence) -> Sequence[str]:
    if not isinstance(gate.label_coverage, str):
        return gate.label_coverage
    if gate.label_coverage == CHAMPION:
        return evidence.references[CHAMPION].classes
    file = evidence.baseline_files.get(gate.label_coverage)
    return () if file is None else file.labels


def _schema(gate: SchemaGate, evidence: Evidence) -> GateResult:
    problems = evidence.schema_problems.get(gate.key, ["the columns were not checked"])
    words = f"columns {', '.join(gate.columns_schema)} match the schema"
    return GateResult(words, _status(not problems), None, note="; ".join(problems))


def _overlap(gate: OverlapGate, evidence: Evidence) -> GateResult:
    most = f"at most {gate.max_train_overlap:.3g} of the" if gate.max_train_overlap else "no"
    words = f"{most} holdout rows equal a training row in {', '.join(gate.columns) or 'all inputs'}"
    share = evidence.overlaps.get(gate.columns)
    if share is None:
        note = "the training run did not keep these columns; train again"
        return GateResult(
            words, GateStatus.FAILED, math.nan, limit=gate.max_train_overlap, note=note, unit=_SHARE
        )
    status = _status(share <= gate.max_train_overlap)
    return GateResult(words, status, share, limit=gate.max_train_overlap, unit=_SHARE)


def _signature(gate: SignatureGate, evidence: Evidence) -> GateResult:
    words = "signature compatible with the champion's clients"
    champion = evidence.references.get(CHAMPION)
    if champion is None:
        return GateResult(words, without_version(gate.no_champion), None, note=_NO_CHAMPION)
    sides = {"the champion": champion, "the candidate": evidence.candidate}
    if without := [name for name, side in sides.items() if not side.signature]:
        note = f"no signature: {' and '.join(without)}"
        return GateResult(words, GateStatus.FAILED, None, note=note)
    problems = incompatibilities(champion.signature, evidence.candidate.signature)
    return GateResult(words, _status(not problems), None, note="; ".join(problems))


def _cost(gate: CostGate, evidence: Evidence) -> GateResult:
    words, value = _describe_cost(gate), _cost_of(evidence.candidate, gate.cost)
    unit = _UNITS[gate.cost]
    if gate.max_mb is not None:
        return GateResult(words, _status(value <= gate.max_mb), value, limit=gate.max_mb, unit=unit)
    champion = evidence.references.get(CHAMPION)
    if champion is None:
        return GateResult(words, without_version(gate.no_champion), value, note=_NO_CHAMPION, unit=unit)
    reference = _cost_of(champion, gate.cost)
    if gate.min_ratio is not None:
        limit = reference * gate.min_ratio
        return GateResult(words, _status(value >= limit), value, reference, limit, unit=unit)
    limit = reference * (gate.max_ratio or math.nan)
    return GateResult(words, _status(value <= limit), value, reference, limit, unit=unit)


_NAMES = {
    CostName.LATENCY_P95: "p95 latency",
    CostName.THROUGHPUT: "throughput",
    CostName.LOAD_TIME: "load time",
    CostName.MODEL_SIZE: "model size",
}


_UNITS = {
    CostName.LATENCY_P95: "s",
    CostName.THROUGHPUT: "rows/s",
    CostName.LOAD_TIME: "s",
    CostName.MODEL_SIZE: "MB",
}


def _describe_cost(gate: CostGate) -> str:
    if gate.max_mb is not None:
        return f"{_NAMES[gate.cost]} ≤ {gate.max_mb:g} MB"
    ratio = f"≥ {gate.min_ratio:g}" if gate.min_ratio else f"≤ {gate.max_ratio:g}"
    return f"{_NAMES[gate.cost]} {ratio} × the champion's"


def _cost_of(side: Side, cost: CostName) -> float:
    measured_cost: float | None = None if side.cost is None else getattr(side.cost, cost)
    return math.nan if measured_cost is None else measured_cost


def _disagreement(gate: DisagreementGate, evidence: Evidence) -> GateResult:
    words = f"disagrees with the champion on at most {gate.max_disagreement:.3g} of the rows"
    champion = evidence.references.get(CHAMPION)
    if champion is None:
        return GateResult(words, without_version(gate.no_champion), None, note=_NO_CHAMPION)
    ours, theirs = evidence.candidate.predictions, champion.predictions
    if evidence.task is TaskKind.CLASSIFICATION:
        differs = ours.argmax(axis=1) != theirs.argmax(axis=1)
    elif evidence.task is TaskKind.GENERATION:
        # Two texts are hardly ever the same: what matters is if one works where the other does not.
        passed = GENERATED.index("passed")
        differs = ours[:, passed] != theirs[:, passed]
    else:
        differs = np.abs(ours - theirs) > gate.tolerance * np.abs(theirs)
    finite = np.isfinite(ours).all() and np.isfinite(theirs).all() and len(evidence) > 0
    share = float(np.mean(differs)) if finite else math.nan
    status = _status(share <= gate.max_disagreement)
    return GateResult(words, status, share, limit=gate.max_disagreement, unit=_SHARE)


def _canary(gate: CanaryGate, evidence: Evidence) -> GateResult:  # noqa: ARG001 - it is held later
    canary = gate.canary
    if canary.days is not None:
        words, limit, unit = (
            f"candidate for {canary.days:g} days before anybody approves",
            canary.days,
            "days",
        )
    elif canary.live is not None:
        live, limit, unit = canary.live, canary.live.not_worse.margin, WORSE
        words = (
            f"{live.metric} not worse than champion by more than {limit:g} on {live.labelled_rows:,} "
            "labelled live rows before anybody approves, "
            f"with {100 * live.not_worse.confidence:g}% confidence"
        )
    else:
        words = f"scored {canary.shadow_rows:,} rows beside the champion before anybody approves"
        limit, unit = float(canary.shadow_rows or 0), "rows"
    return GateResult(words, GateStatus.LATER, None, limit=limit, unit=unit)


# mypy cannot see that each judge gets its own gate.
_JUDGES: Mapping[type, Callable[[Any, Evidence], GateResult]] = {
    MetricGate: judge_metric,
    RowsGate: _rows,
    LabelCoverageGate: _label_coverage,
    SchemaGate: _schema,
    OverlapGate: _overlap,
    SignatureGate: _signature,
    CostGate: _cost,
    DisagreementGate: _disagreement,
    CanaryGate: _canary,
}


def _status(held: bool) -> GateStatus:
    return GateStatus.PASSED if held else GateStatus.FAILED
