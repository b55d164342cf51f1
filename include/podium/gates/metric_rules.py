"""Rules on metrics: absolute and relative bounds, with confidence, on all rows or on each slice."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from podium.errors import NoSlices
from podium.gates.evidence import Evidence, Side
from podium.gates.report import WORSE, GateResult, GateStatus, SliceResult, between, count_rows
from podium.metrics.answers import Numbers
from podium.metrics.bootstrap import is_settled, metric_differences
from podium.metrics.measures import measured
from podium.metrics.slices import Mask, Slice, cut
from podium.model_file.metric_gate import MetricGate, NotWorse, Slices
from podium.model_file.metric_names import TRAINER_METRIC
from podium.names import VERSIONS

ALL_ROWS = "all rows"
_MOST_NAMED = 3


def judge_metric(gate: MetricGate, evidence: Evidence) -> GateResult:
    """Judge one rule on one metric.

    Raises:
        TrainerError: The own function is not there, or broke.
    """
    words = describe_rule(gate)
    everything = Slice(ALL_ROWS, np.ones(len(evidence), dtype=bool))
    if gate.against in VERSIONS and gate.against not in evidence.references:
        value, _, note = _numbers(gate, evidence, everything)
        note = note or f"there is no {gate.against}"
        return GateResult(words, without_version(gate.no_champion), value, note=note)
    if gate.slices is None:
        return _whole(words, _judge(gate, evidence, everything))
    try:
        slices = cut(gate.slices, evidence.columns)
    except NoSlices as reason:
        return GateResult(words, GateStatus.FAILED, math.nan, note=str(reason))
    parts = [_judge_slice(gate, gate.slices, evidence, part) for part in slices]
    if gate.max_slice_difference is not None:
        return _difference(words, gate.max_slice_difference, parts)
    return _worst(gate, words, parts)


def without_version(no_champion: str) -> GateStatus:
    """Return how a gate comes out where there is no champion to compare with."""
    return GateStatus.FAILED if no_champion == "fail" else GateStatus.NO_CHAMPION


def regressions(gate: MetricGate, rule: NotWorse, evidence: Evidence, rows: Mask) -> Numbers:
    """Return by how much the candidate is worse than the reference in each resample; shape (resamples,).

    As many are drawn as settle the verdict, if so many may be.
    """
    candidate, reference = (
        evidence.answers(side).subset(rows)
        for side in (evidence.candidate, evidence.references[str(gate.against)])
    )
    sign = -1 if gate.greater else 1
    return sign * metric_differences(
        gate.metric, gate.columns, rule, candidate, reference, lambda drawn: is_settled(sign * drawn, rule)
    )


def bound(gate: MetricGate, reference: float | None) -> float:
    """Return the limit of a rule: the candidate's number may be on its good side or on it."""
    if gate.threshold is not None:
        return gate.threshold
    if reference is None:
        return math.nan
    if gate.max_regression_rel is not None:
        worse_by = gate.max_regression_rel * abs(reference)
    elif gate.max_regression_abs is not None:
        worse_by = gate.max_regression_abs
    else:
        worse_by = -(gate.min_improvement or 0.0)
    return reference - worse_by if gate.greater else reference + worse_by


def holds(gate: MetricGate, value: float, limit: float) -> bool:
    """Return whether a number is within its limit; a comparison with NaN is false, so NaN fails."""
    return math.isfinite(value) and (value >= limit if gate.greater else value <= limit)


def describe_rule(gate: MetricGate) -> str:
    """Say what a gate asks."""
    least = "at least" if gate.greater else "at most"
    other = gate.against or gate.baseline
    if gate.threshold is not None:
        words = f"{gate.metric} {least} {gate.threshold:g}"
    elif gate.max_slice_difference is not None:
        words = f"{gate.metric} differs by at most {gate.max_slice_difference:g}"
    elif gate.max_regression_abs is not None:
        words = f"{gate.metric} no worse than {other} by more than {gate.max_regression_abs:g}"
    elif gate.max_regression_rel is not None:
        words = f"{gate.metric} no worse than {other} by more than {gate.max_regression_rel:.3g} of it"
    elif gate.not_worse is not None:
        words = (
            f"{gate.metric} not worse than {other} by more than {gate.not_worse.margin:g}, "
            f"with {100 * gate.not_worse.confidence:g}% confidence"
        )
    else:
        words = f"{gate.metric} better than {other} by at least {gate.min_improvement or 0.0:g}"
    if gate.slices is None:
        return words
    between = "between slices of" if gate.max_slice_difference is not None else "in each slice of"
    return f"{words} {between} {gate.slices.column}"


def _judge(gate: MetricGate, evidence: Evidence, part: Slice) -> SliceResult:
    value, reference, note = _numbers(gate, evidence, part)
    if gate.not_worse is not None and not note:
        return _judge_confidence(gate, gate.not_worse, evidence, part, reference or 0.0)
    limit = bound(gate, reference)
    status = _status(not note and holds(gate, value, limit))
    return SliceResult(part.name, int(part.rows.sum()), status, value, reference, limit, note)


def _judge_confidence(
    gate: MetricGate, rule: NotWorse, evidence: Evidence, part: Slice, reference: float
) -> SliceResult:
    resampled = regressions(gate, rule, evidence, part.rows)
    low, high = (_quantile(resampled, share) for share in (1 - rule.confidence, rule.confidence))
    settled = is_settled(resampled, rule)
    drawn = f"{len(resampled):,} resamples"
    return SliceResult(
        name=part.name,
        rows=int(part.rows.sum()),
        status=_status(settled and high <= rule.margin),
        value=high,
        reference=reference,
        limit=rule.margin,
        note=f"{between(low, high)}, "
        + (drawn if settled else f"too near to the limit to tell: within the noise of {drawn}"),
        unit=WORSE,
        interval=(low, high),
    )


def _quantile(resampled: Numbers, share: float) -> float:
    """Return a quantile; a resample that has no number counts as the worst."""
    with np.errstate(invalid="ignore"):
        found = float(np.quantile(np.where(np.isnan(resampled), np.inf, resampled), share))
    return found if math.isfinite(found) else math.nan


def _judge_slice(gate: MetricGate, slices: Slices, evidence: Evidence, part: Slice) -> SliceResult:
    rows = int(part.rows.sum())
    if rows >= slices.min_support:
        return _judge(gate, evidence, part)
    status = GateStatus.WAIVED if slices.below_support == "waive" else GateStatus.FAILED
    note = f"{count_rows(rows)}, {slices.min_support:,} needed"
    # A listed value that is not there at all is not small: it is missing.
    if not rows:
        status = GateStatus.FAILED
    return SliceResult(part.name, rows, status, None, note=note)


def _numbers(gate: MetricGate, evidence: Evidence, part: Slice) -> tuple[float, float | None, str]:
    """Return the candidate's number, the reference's, and why one of them has none."""
    if gate.metric.startswith(TRAINER_METRIC):
        name = gate.metric.removeprefix(TRAINER_METRIC)
        value = evidence.trainer_metrics.get(name, math.nan)
        note = "" if math.isfinite(value) else f"the trainer returned no number '{name}'"
    else:
        name = gate.metric
        value, note = _measured(gate, evidence, evidence.candidate, part)
    if gate.baseline is not None:
        file = evidence.baseline_files.get(gate.baseline)
        reference = None if file is None else file.metrics.get(name)
        missing = "" if reference is not None else f"{gate.baseline} has no number '{name}'"
        return value, reference, note or missing
    if gate.against is None or (gate.against in VERSIONS and gate.against not in evidence.references):
        return value, None, note
    if gate.against not in evidence.references:
        there = ", ".join(name for name in evidence.references if name not in VERSIONS) or "none"
        return value, None, f"the trainer has no baseline '{gate.against}'; available: {there}"
    reference, missing = _measured(gate, evidence, evidence.references[gate.against], part)
    return value, reference, note or (missing and f"of {gate.against}: {missing}")


def _measured(gate: MetricGate, evidence: Evidence, side: Side, part: Slice) -> tuple[float, str]:
    return measured(gate.metric, evidence.answers(side).subset(part.rows), gate.columns)


def _whole(words: str, judged: SliceResult) -> GateResult:
    return GateResult(
        gate=words,
        status=judged.status,
        value=judged.value,
        reference=judged.reference,
        limit=judged.limit,
        note=judged.note,
        unit=judged.unit,
        interval=judged.interval,
    )


def _worst(gate: MetricGate, words: str, parts: Sequence[SliceResult]) -> GateResult:
    """Sum up slices: one that failed fails the gate, and where none could be judged nothing was shown."""
    judged = [part for part in parts if part.value is not None]
    failed = [part for part in parts if part.status is GateStatus.FAILED]
    if not judged:
        note = _too_small(parts) or "there are no slices"
        return GateResult(words, GateStatus.FAILED, math.nan, note=note, slices=tuple(parts))
    sign = -1.0 if gate.greater and gate.not_worse is None else 1.0
    worst = max(judged, key=lambda part: _excess(part, sign))
    note = "; ".join(filter(None, (f"worst: {worst.name}", _too_small(failed))))
    return replace(_whole(words, worst), status=_status(not failed), note=note, slices=tuple(parts))


def _too_small(parts: Sequence[SliceResult]) -> str:
    """Name slices that have too few rows to be judged, with the rows that they have."""
    few = [f"{part.name} has {part.note}" for part in parts if part.value is None]
    return "; ".join(few[:_MOST_NAMED]) + (
        f"; and {len(few) - _MOST_NAMED} more" if few[_MOST_NAMED:] else ""
    )


def _excess(part: SliceResult, sign: float) -> float:
    excess = ((part.value or 0.0) - (part.limit or 0.0)) * sign
    return math.inf if math.isnan(excess) else excess


def _difference(words: str, limit: float, parts: Sequence[SliceResult]) -> GateResult:
    """Judge the distance between the best and the worst slice; a slice that has no number fails it."""
    judged = tuple(part if part.value is None else _measured_slice(part) for part in parts)
    values = [part.value for part in parts if part.value is not None]
    if len(values) < 2:
        note = "; ".join(filter(None, ("fewer than two slices have enough rows", _too_small(parts))))
        return GateResult(words, GateStatus.FAILED, math.nan, limit=limit, note=note, slices=judged)
    difference = float(np.ptp(values))
    failed = [part for part in judged if part.status is GateStatus.FAILED]
    status = _status(not failed and difference <= limit)
    return GateResult(words, status, difference, None, limit, note=_too_small(failed), slices=judged)


def _measured_slice(part: SliceResult) -> SliceResult:
    """A slice has no limit of its own here: it is there, or its number is missing."""
    return replace(part, status=_status(not part.note), limit=None)


def _status(held: bool) -> GateStatus:
    return GateStatus.PASSED if held else GateStatus.FAILED
