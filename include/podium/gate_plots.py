"""Pictures of a gate report: candidate beside champion, and how sure the difference is."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from podium import plots
from podium.evidence import Evidence
from podium.gate_report import CONTRACT, GateReport, GateResult, GateStatus
from podium.gate_spec import CANDIDATE, CHAMPION, Gate, MetricGate
from podium.metric_gates import regressions
from podium.metric_names import Task

_BINS = 60
_MOST_BARS = 30


def gate_pictures(report: GateReport, gates: tuple[Gate, ...], evidence: Evidence) -> dict[str, Figure]:
    """Draw what a gate report shows.

    Args:
        report: The report.
        gates: The model file's gates.
        evidence: What they judged.

    Returns:
        Figures by file name: ``reliability``, and of gate N of the model file (from 0) ``slices_N`` and
        ``bootstrap_N``.
    """
    if not len(evidence) or evidence.candidate.broken:
        return {}
    pictures = {}
    if evidence.task is Task.CLASSIFICATION:
        sides = {CANDIDATE: evidence.candidate}
        if CHAMPION in evidence.references:
            sides[CHAMPION] = evidence.references[CHAMPION]
        pictures["reliability"] = plots.calibration(
            {name: evidence.answers(side) for name, side in sides.items()}
        )
    judged = [result for result in report.results if result.kind != CONTRACT]
    for place, (gate, result) in enumerate(zip(gates, judged, strict=True)):
        if isinstance(gate, MetricGate) and any(part.value is not None for part in result.slices):
            pictures[f"slices_{place}"] = slices(result)
        if (
            isinstance(gate, MetricGate)
            and gate.slices is None
            and np.isfinite(result.interval or np.nan).all()
        ):
            pictures[f"bootstrap_{place}"] = bootstrap(gate, result, evidence)
    return pictures


def slices(result: GateResult) -> Figure:
    """Draw the candidate's number beside the reference's and the limit, a bar per slice, failures first."""
    judged = [part for part in result.slices if part.value is not None]
    parts = sorted(judged, key=lambda part: part.status is not GateStatus.FAILED)[:_MOST_BARS]
    places = np.arange(len(parts))
    figure = Figure(figsize=(8, 1.5 + 0.35 * len(parts)), layout="constrained")
    axes = figure.add_subplot(title=result.gate)
    axes.barh(places - 0.2, [part.value or 0.0 for part in parts], height=0.4, label="candidate")
    if any(part.reference is not None for part in parts):
        axes.barh(
            places + 0.2, [part.reference or 0.0 for part in parts], height=0.4, label="reference", color="C7"
        )
    for place, part in zip(places, parts, strict=True):
        if part.limit is not None and np.isfinite(part.limit):
            axes.plot([part.limit] * 2, [place - 0.45, place + 0.45], color="red", linewidth=2)
    axes.set_yticks(places, [f"{part.name} ({part.rows:,} rows)" for part in parts])
    axes.invert_yaxis()
    axes.legend()
    return figure


def bootstrap(gate: MetricGate, result: GateResult, evidence: Evidence) -> Figure:
    """Draw by how much the candidate is worse over the resamples, the interval and the margin."""
    rule = gate.not_worse
    if rule is None or result.interval is None:
        raise ValueError("only of a gate with not_worse")
    worse = regressions(gate, rule, evidence, np.ones(len(evidence), dtype=bool))
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot(
        title=result.gate, xlabel=f"{gate.metric}: worse than {gate.against} by", ylabel="resamples"
    )
    # Of differences that are all but equal there are no bins between the smallest and the greatest.
    room = 1e-9 * max(1.0, float(np.abs(worse).max()))
    axes.hist(worse, bins=_BINS, range=(worse.min() - room, worse.max() + room), color="C0", alpha=0.7)
    axes.axvspan(*result.interval, color="C0", alpha=0.15, label=f"{rule.confidence:.0%} interval, each side")
    axes.axvline(rule.margin, color="red", label="margin")
    axes.axvline(0.0, color="grey", linestyle=":")
    axes.legend()
    return figure
