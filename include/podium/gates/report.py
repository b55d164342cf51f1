"""The gate report: all gates on one version with every number, and its forms for people and programs."""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any

from podium.metrics.by_label import LabelScore
from podium.model_file.metric_gate import Level
from podium.names import CANDIDATE, CHAMPION, VERSIONS, version_name
from podium.text import one_line, visible

Metrics = Mapping[str, float]

# The kind of gate whose numbers are of this machine at that moment.
COST = "cost"
# The unit of a regression: how much worse than the reference.
WORSE = "worse"
_MOST_LABELS = 50
# Four digits behind the point show nothing of less.
_SMALL = 0.00005
# The rule that no model file names and none can leave out.
CONTRACT = "contract"


class GateStatus(StrEnum):
    """Outcome of one gate, or of one of its slices.

    ``no_champion``: a first model's answer to a rule against a champion; ``waived``: a slice too small to be
    judged, where the file says so; ``later``: a rule that is held when somebody approves.
    """

    PASSED = "passed"
    FAILED = "failed"
    NO_CHAMPION = "no_champion"
    WAIVED = "waived"
    LATER = "later"


@dataclass(frozen=True)
class SliceResult:
    """One slice of a gate with its numbers.

    Attributes:
        name: The slice, such as ``tournament = Friendly``.
        rows: Its rows.
        status: The outcome.
        value: The candidate's number; NaN where it could not be computed.
        reference: The champion's or the baseline's number, for a relative rule.
        limit: The bound that the value was held against.
        note: What else is to be said.
        unit: What value and limit count, such as ``worse``; "" where the rule's words say it.
        interval: Of the regression against the reference (positive is worse), for ``not_worse``.
    """

    name: str
    rows: int
    status: GateStatus
    value: float | None
    reference: float | None = None
    limit: float | None = None
    note: str = ""
    unit: str = ""
    interval: tuple[float, float] | None = None


@dataclass(frozen=True)
class GateResult:
    """One gate with its numbers.

    Attributes:
        gate: The rule in words.
        status: The outcome.
        value: The candidate's number, of slices that of the worst; None where there is none to tell.
        reference: The champion's or the baseline's number, for a relative rule.
        limit: The bound that the value was held against; None where there is no champion.
        kind: The key that the gate has in the model file.
        level: Whether it refuses a version or only tells.
        note: What else is to be said, such as why a number could not be computed.
        unit: What value and limit count, such as ``rows``; "" where the rule's words say it.
        interval: Of the regression against the reference (positive is worse), for ``not_worse``.
        slices: Each slice, if the gate has slices.
    """

    gate: str
    status: GateStatus
    value: float | None
    reference: float | None = None
    limit: float | None = None
    kind: str = "metric"
    level: Level = Level.REQUIRED
    note: str = ""
    unit: str = ""
    interval: tuple[float, float] | None = None
    slices: tuple[SliceResult, ...] = ()

    @property
    def refuses(self) -> bool:
        """True if a version must not go on because of this gate."""
        return self.level is Level.REQUIRED and self.status is GateStatus.FAILED


@dataclass(frozen=True)
class Scores:
    """All metrics, also those that no gate asks for, on the same holdout rows.

    Attributes:
        rows: Number of holdout rows.
        candidate: The candidate's metrics.
        references: Metrics of the champion (under ``champion``, if there is one), of the candidate that is to
            be replaced (under ``candidate``, if a gate asks for it) and of each baseline.
        by_label: Of a classification: the scores of each label, of the version that was judged (under
            ``candidate``) and of the champion.
    """

    rows: int
    candidate: Metrics
    references: Mapping[str, Metrics]
    by_label: Mapping[str, Mapping[str, LabelScore]] = field(default_factory=dict)


@dataclass(frozen=True)
class GateReport:
    """All gates on one version.

    Attributes:
        model: The registered model.
        version: The version that was judged.
        champion: The champion that it was compared with, or None.
        scores: The metrics.
        results: One per gate, in the model file's order, after that of the contract.
        notes: Sentences that must be known before the numbers are read.
    """

    model: str
    version: int
    champion: int | None
    scores: Scores
    results: tuple[GateResult, ...]
    notes: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """True if there are gates and none refuses."""
        return bool(self.results) and not any(result.refuses for result in self.results)

    def by_urgency(self) -> list[GateResult]:
        """Return the gates that refuse, then those that failed as advice, then the others."""
        return sorted(
            self.results, key=lambda result: (not result.refuses, result.status is not GateStatus.FAILED)
        )

    def verdict(self) -> str:
        """Say what came out and why, without the version's name."""
        # The contract is worth a word where it is broken.
        gates = [result for result in self.results if result.kind != CONTRACT or result.refuses]
        refusing = [_describe_result(result) for result in gates if result.refuses]
        if refusing:
            return f"refused by {len(refusing)} of {len(gates)} gates: {'; '.join(refusing)}"
        counts = Counter(result.status for result in gates)
        every = "all " if counts[GateStatus.PASSED] == len(gates) else ""
        said = [f"passed {every}{counts[GateStatus.PASSED]} gates"]
        if without := counts[GateStatus.NO_CHAMPION]:
            said.append(f"{without} had nothing to compare with yet")
        if advice := counts[GateStatus.FAILED]:
            said.append(f"{advice} advisory failed")
        if later := counts[GateStatus.LATER]:
            said.append(f"{later} held until approval")
        return ", ".join(said)

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
                # A report from before a field existed does not have it.
                by_label={
                    name: {label: LabelScore(**_numbers(score)) for label, score in scored.items()}
                    for name, scored in scores.get("by_label", {}).items()
                },
            ),
            notes=tuple(content.get("notes", ())),
            results=tuple(_result(result) for result in content["results"]),
        )

    def digest(self) -> str:
        """Return the sha256 of the report's canonical JSON, without what the machine's mood changes.

        Seconds differ from one measurement to the next: the outcome of their gates counts, not the numbers.
        """
        steady = tuple(
            replace(result, value=None, reference=None, limit=None, note="")
            if result.kind == COST
            else result
            for result in self.results
        )
        content = _without_nan(asdict(replace(self, results=steady)))
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def lines(self) -> list[str]:
        """Say the same as plain lines, for a log: the sentence first, then the gates, then the metrics."""
        gates = [
            (quantity(result.value, result.unit), quantity(result.limit, result.unit), result)
            for result in self.by_urgency()
        ]
        names = [version_name(self.version), *self.reference_titles()]
        scored = [self.scores.candidate, *self.scores.references.values()]
        return [
            one_line(self.sentence()),
            *(one_line(note) for note in self.notes),
            *(
                f"{outcome(result)}: {one_line(result.gate)}"
                + (f" (is {value}" + (f", limit {limit})" if limit else ")") if value else "")
                + one_line(_after(result.note))
                for value, limit, result in gates
            ),
            *(
                f"{one_line(metric)} on {count_rows(self.scores.rows)}: "
                + ", ".join(
                    f"{name} {number(scores.get(metric, math.nan))}"
                    for name, scores in zip(names, scored, strict=True)
                )
                for metric in self.scores.candidate
            ),
        ]

    def markdown(self) -> str:
        """Render the gates, their slices, the metrics and the labels as Markdown tables, below the notes."""
        return "\n".join([*self.warnings(), self.tables()])

    def tables(self) -> str:
        """Render the same without the notes."""
        return "\n".join(
            [*self.gates_table(), *self.slices_tables(), "", *self.metrics_table(), *self.labels_table()]
        )

    def warnings(self) -> list[str]:
        """Render the notes, an empty line after each."""
        return [line for note in self.notes for line in (f"**⚠️ {cell(note)}.**", "")]

    def gates_table(self) -> list[str]:
        """Render the gates as the lines of a Markdown table."""
        return [
            "| gate | measured | limit | outcome |",
            "|---|---:|---:|---|",
            *(
                f"| {cell(result.gate)} | {quantity(result.value, result.unit)} "
                f"| {quantity(result.limit, result.unit)} "
                f"| {outcome(result)}{cell(_after(result.note))} |"
                for result in self.by_urgency()
            ),
        ]

    def gates_list(self) -> list[str]:
        """Render the gates as a list, those that refuse first, for pages that show few rows of a table."""
        return [
            f"- {outcome(result)}: {cell(result.gate)}{_measured(result)}{cell(_after(result.note))}"
            for result in sorted(self.results, key=lambda result: not result.refuses)
        ]

    def metrics_table(self) -> list[str]:
        """Render all metrics, beside those of what the candidate was compared with."""
        lines = [
            f"| on {self.scores.rows:,} holdout rows | candidate {version_name(self.version)} | "
            + " | ".join(self.reference_titles())
            + " |",
            "|---|" + "---:|" * (1 + len(self.scores.references)),
        ]
        for metric, value in self.scores.candidate.items():
            numbers = [
                value,
                *(metrics.get(metric, math.nan) for metrics in self.scores.references.values()),
            ]
            lines.append(f"| {cell(metric)} | " + " | ".join(map(number, numbers)) + " |")
        return lines

    def labels_table(self) -> list[str]:
        """Render recall and precision of each label, an empty line before the table; none without labels."""
        sides = self.scores.by_label
        if not sides.get(CANDIDATE):
            return []
        titled = self.labels_by_title()
        heads = [f"{what} {title}" for title in titled for what in ("recall", "precision")]
        shown = list(sides[CANDIDATE])[:_MOST_LABELS]
        rows = [
            f"| {cell(label)} | {sides[CANDIDATE][label].rows:,} | {' | '.join(label_cells(label, titled))} |"
            for label in shown
        ]
        more = len(sides[CANDIDATE]) - len(shown)
        return [
            "",
            f"| label | rows | {' | '.join(heads)} |",
            "|---|---:|" + "---:|" * len(heads),
            *rows,
            *([f"| and {more:,} more labels, in report.json |" + " |" * (len(heads) + 1)] if more else []),
        ]

    def labels_by_title(self) -> dict[str, Mapping[str, LabelScore]]:
        """Return the scores of each label, by the names of the versions."""
        numbers = {CANDIDATE: self.version, CHAMPION: self.champion}
        return {
            f"{name} {version_name(numbers[name])}": scored for name, scored in self.scores.by_label.items()
        }

    def slices_tables(self) -> list[str]:
        """Render the slices of each gate that has some, an empty line before each table."""
        lines = []
        for result in self.by_urgency():
            if result.slices:
                lines += ["", f"| {cell(result.gate)} | rows | measured | limit | outcome |"]
                lines.append("|---|---:|---:|---:|---|")
            lines += [
                f"| {cell(part.name)} | {part.rows:,} | {quantity(part.value, part.unit)} "
                f"| {quantity(part.limit, part.unit)} "
                f"| {OUTCOMES[part.status]}{cell(_after(part.note))} |"
                for part in result.slices
            ]
        return lines

    def reference_titles(self) -> list[str]:
        """Name what the candidate was compared with, in the order of the scores."""
        titles = {CHAMPION: f"champion {version_name(self.champion)}"}
        return [
            titles.get(name, f"{name} now" if name in VERSIONS else name) for name in self.scores.references
        ]


OUTCOMES = {
    GateStatus.PASSED: "✅ passed",
    GateStatus.FAILED: "❌ failed",
    GateStatus.NO_CHAMPION: "➖ nothing to compare with yet",
    GateStatus.WAIVED: "➖ too few rows, waived",
    GateStatus.LATER: "⏳ held until approval",
}


def outcome(result: GateResult) -> str:
    """Say how a gate came out, and if it is advisory."""
    if result.level is Level.ADVISORY:
        return f"{OUTCOMES[result.status].replace('❌', '⚠️')} (advisory)"
    return OUTCOMES[result.status]


def number(value: float | None) -> str:
    """Write a number for people; nothing for None."""
    if value is None:
        return ""
    if isinstance(value, int) or (value.is_integer() and abs(value) >= 1000):
        return f"{value:,.0f}"
    return f"{value:.4f}"


def label_cells(label: str, by_model: Mapping[str, Mapping[str, LabelScore]]) -> list[str]:
    """Return recall and precision of a label by each model; "none" where no row allows it."""
    scored = [labels[label] for labels in by_model.values()]
    numbers = [value for score in scored for value in (score.recall, score.precision)]
    return ["none" if math.isnan(value) else number(value) for value in numbers]


def count_rows(rows: int) -> str:
    """Return ``no rows``, ``1 row``, ``33 rows``."""
    return {0: "no rows", 1: "1 row"}.get(rows, f"{rows:,} rows")


def quantity(value: float | None, unit: str) -> str:
    """Write a number with what it counts; of a regression as better or worse, without a sign."""
    if value is None or not unit:
        return number(value)
    if unit != WORSE:
        return f"{number(value)} {unit}"
    return f"{_size(value)} {_side(value)}"


def between(low: float, high: float) -> str:
    """Say where a regression lies (positive is worse): ``between 0.0011 better and 0.0007 worse``."""
    if _side(low) == _side(high):
        small, large = sorted((low, high), key=abs)
        return f"between {_size(small)} and {_size(large)} {_side(low)}"
    return f"between {quantity(low, WORSE)} and {quantity(high, WORSE)}"


def _size(regression: float) -> str:
    """Write a number without its sign; a small one is not nothing."""
    size = abs(regression)
    return f"{size:.1g}" if 0 < size < _SMALL else number(size)


def _side(regression: float) -> str:
    return "better" if regression < 0 else WORSE


def cell(text: str) -> str:
    """Write text, such as the value of a column, into a table's cell: it stays one cell of plain text."""
    flat = " ".join(visible(text).split())
    for sign, written in (("\\", "\\\\"), ("|", "\\|"), ("<", "&lt;"), ("[", "&#91;"), ("`", "'")):
        flat = flat.replace(sign, written)
    return flat


def _after(note: str) -> str:
    return f": {note}" if note else ""


def _measured(result: GateResult) -> str:
    """Say what was measured and what the limit was, as far as there are such."""
    pairs = (("measured", result.value), ("limit", result.limit))
    said = [f"{name} {quantity(value, result.unit)}" for name, value in pairs if value is not None]
    return f" ({', '.join(said)})" if said else ""


def _describe_result(result: GateResult) -> str:
    said = []
    if result.value is not None and result.limit is not None:
        value, limit = (quantity(value, result.unit) for value in (result.value, result.limit))
        said.append(f"is {value}, limit {limit}")
    if failed := [part.name for part in result.slices if part.status is GateStatus.FAILED]:
        said.append(
            f"in {', '.join(failed[:3])}" + (f" and {len(failed) - 3} more" if len(failed) > 3 else "")
        )
    if result.note:
        said.append(result.note)
    return f"{result.gate} ({'; '.join(said)})" if said else result.gate


def _metrics(content: Mapping[str, float | str]) -> dict[str, float]:
    return {name: float(value) for name, value in content.items()}


def _numbers(content: Mapping[str, float | str]) -> dict[str, Any]:
    return {name: _parsed_number(value) for name, value in content.items()}


def _result(content: Mapping[str, Any]) -> GateResult:
    # A report from before a field existed does not have it.
    level = Level(content.get("level", Level.REQUIRED))
    slices = tuple(SliceResult(**{**part, **_parsed(part)}) for part in content.get("slices", ()))
    return GateResult(**{**content, **_parsed(content), "level": level, "slices": slices})


def _parsed(content: Mapping[str, Any]) -> dict[str, Any]:
    interval = content.get("interval")
    return {
        **{name: _parsed_number(content.get(name)) for name in ("value", "reference", "limit")},
        "status": GateStatus(content["status"]),
        "interval": None if interval is None else (float(interval[0]), float(interval[1])),
    }


def _parsed_number(value: float | str | None) -> float | None:
    return float(value) if isinstance(value, str) else value


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
