"""Pictures of a gate report: candidate beside champion, and how sure the difference is."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from podium.gates.evidence import Evidence
from podium.gates.metric_rules import regressions
from podium.gates.report import CONTRACT, GateReport, GateResult, GateStatus
from podium.metrics import plots
from podium.metrics.measures import measured
from podium.metrics.slices import cut
from podium.model_file.gates import Gate
from podium.model_file.metric_gate import MetricGate
from podium.model_file.metric_names import TaskKind
from podium.names import CANDIDATE, CHAMPION

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
    if evidence.task is TaskKind.CLASSIFICATION:
        sides = {CANDIDATE: evidence.candidate}
        if CHAMPION in evidence.references:
            sides[CHAMPION] = evidence.references[CHAMPION]
        pictures["reliability"] = plots.calibration(
            {name: evidence.answers(side) for name, side in sides.items()}
        )
    judged = [result for result in report.results if result.kind != CONTRACT]
    for place, (gate, result) in enumerate(zip(gates, judged, strict=True)):
        if isinstance(gate, MetricGate) and any(part.value is not None for part in result.slices):
            pictures[f"slices_{place}"] = slices(gate, result, evidence)
        if isinstance(gate, MetricGate) and _bootstrapped(gate, result):
            pictures[f"bootstrap_{place}"] = bootstrap(gate, result, evidence)
    return pictures


def _bootstrapped(gate: MetricGate, result: GateResult) -> bool:
    return gate.slices is None and result.interval is not None and bool(np.isfinite(result.interval).all())


def slices(gate: MetricGate, result: GateResult, evidence: Evidence) -> Figure:
    """Draw the candidate's metric beside that of what it is held against, or of the champion, per slice.

    Slices that failed come first.
    """
    if gate.slices is None:
        raise ValueError("only of a gate with slices")
    judged = {part.name: part for part in result.slices if part.value is not None}
    there = [part for part in cut(gate.slices, evidence.columns) if part.name in judged]
    failed_first = sorted(there, key=lambda part: judged[part.name].status is not GateStatus.FAILED)
    parts = failed_first[:_MOST_BARS]
    other = gate.against if gate.against and gate.against in evidence.references else CHAMPION
    sides = {CANDIDATE: evidence.candidate}
    if other in evidence.references:
        sides[other] = evidence.references[other]
    places = np.arange(len(parts))
    figure = Figure(figsize=(8, 1.5 + 0.4 * len(parts)), layout="constrained")
    figure.suptitle(result.gate)
    axes = figure.add_subplot(xlabel=gate.metric)
    for place, (name, side) in enumerate(sides.items()):
        answers = evidence.answers(side)
        values = [measured(gate.metric, answers.subset(part.rows), gate.columns)[0] for part in parts]
        axes.barh(places + 0.4 * place, values, height=0.4, label=name, color="C7" if place else "C0")
    if gate.threshold is not None:
        axes.axvline(gate.threshold, color="red", label="limit")
    axes.set_yticks(places + 0.2, [f"{part.name} ({judged[part.name].rows:,} rows)" for part in parts])
    axes.invert_yaxis()
    figure.legend(loc="outside lower center", ncols=3)
    return figure


def bootstrap(gate: MetricGate, result: GateResult, evidence: Evidence) -> Figure:
    """Draw by how much the candidate is worse over the resamples, the interval and the margin."""
    rule = gate.not_worse
    if rule is None or result.interval is None:
        raise ValueError("only of a gate with not_worse")
    worse = regressions(gate, rule, evidence, np.ones(len(evidence), dtype=bool))
    worse = worse[np.isfinite(worse)]
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot(
        title=result.gate, xlabel=f"{gate.metric}: worse than {gate.against} by", ylabel="resamples"
    )
    # Of differences that are all but equal there are no bins between the smallest and the greatest.
    room = 1e-9 * max(1.0, float(np.abs(worse).max()))
    axes.hist(worse, bins=_BINS, range=(worse.min() - room, worse.max() + room), color="C0", alpha=0.7)
    axes.axvspan(
        *result.interval, color="C0", alpha=0.15, label=f"{rule.confidence:.0%} confidence, each side"
    )
    axes.axvline(rule.margin, color="red", label="margin")
    axes.axvline(0.0, color="grey", linestyle=":")
    figure.legend(loc="outside lower center", ncols=2)
    return figure
