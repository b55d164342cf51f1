"""How a candidate compares with the champion: one sentence, the same wherever people read it."""

from __future__ import annotations

from collections.abc import Sequence

from podium.gates.report import WORSE, GateReport, GateResult, SliceResult, number
from podium.model_file.metric_gate import MetricGate
from podium.model_file.metric_names import KNOWN_METRICS
from podium.model_file.spec import ModelSpec
from podium.names import CHAMPION, version_name

_SMALL_NUMBERS = ("none", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def in_one_sentence(report: GateReport, spec: ModelSpec | None) -> str:
    """Say what an approval changes: ``v7 replaces v5: log loss 0.99 -> 0.98, two slices better, none worse``.

    Args:
        report: The gate report that people are asked about.
        spec: The model file; its gates name the metric that is told. Without one it is the report's first.
    """
    name = version_name(report.version)
    changes = (
        f"{name} becomes the first champion"
        if report.champion is None
        else f"{name} replaces {version_name(report.champion)}"
    )
    return f"{changes}: {', '.join([_metric(report, spec), *_slices(report.results)])}"


def _metric(report: GateReport, spec: ModelSpec | None) -> str:
    known, champion = report.scores.candidate, report.scores.references.get(CHAMPION, {})
    asked = [gate.metric for gate in spec.gates if isinstance(gate, MetricGate)] if spec is not None else []
    name = next((metric for metric in (*asked, *known) if metric in known), None)
    if name is None:
        return report.verdict()
    told, now = name.replace("_", " "), number(known[name])
    if name not in champion:
        return f"{told} {now}"
    before = number(champion[name])
    return f"{told} {now}, practically equal" if before == now else f"{told} {before} -> {now}"


def _slices(results: Sequence[GateResult]) -> list[str]:
    """Count the slices of the first gate that holds them against the champion, so that each counts once."""
    against = next((one for one in results if one.slices and CHAMPION in one.gate), None)
    if against is None:
        return []
    sides = [_side(against, part) for part in against.slices]
    better, worse = sides.count("better"), sides.count("worse")
    counted = {0: "no slice", 1: "one slice"}.get(better, f"{_spelled(better)} slices")
    return [f"{counted} better", f"{_spelled(worse)} worse"]


def _side(result: GateResult, part: SliceResult) -> str:
    """Say on which side of the champion a slice is; "" where the data do not tell."""
    if part.unit == WORSE and part.interval is not None:
        low, high = part.interval
        return "better" if high < 0 else "worse" if low > 0 else ""
    known = KNOWN_METRICS.get(result.gate.partition(" ")[0])
    if known is None or part.value is None or part.reference is None or part.value == part.reference:
        return ""
    return "better" if (part.value > part.reference) == known.greater_is_better else "worse"


def _spelled(count: int) -> str:
    return _SMALL_NUMBERS[count] if count < len(_SMALL_NUMBERS) else f"{count:,}"
