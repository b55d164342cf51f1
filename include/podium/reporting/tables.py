"""Tables for the terminal: plain values in, a rich table out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC
from math import nan
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.text import Text

from podium.gates.live_comparison import CONFIDENCE, Interval, LiveComparison
from podium.gates.report import OUTCOMES, GateReport, number, outcome
from podium.ledger.events import CHAMPION_MOVES, Event
from podium.names import Tag, version_name
from podium.registry.client import Registry
from podium.reporting.compare import Comparison
from podium.reporting.status import ModelStatus
from podium.reporting.terminal import ShownTable

if TYPE_CHECKING:
    from podium.scoring.diff import Diff

_SHORT = {
    "log_loss": "log loss",
    "accuracy": "accuracy",
    "brier_score": "Brier",
    "ranked_probability_score": "RPS",
}


def status_table(statuses: Iterable[ModelStatus]) -> ShownTable:
    """Render models, one row each."""
    columns = ("model", "champion", "candidate", "previous", "profiles", "versions", "waiting")
    table = ShownTable(*columns, box=SIMPLE_HEAD)
    for item in statuses:
        table.add_row(
            item.model,
            version_name(item.champion),
            version_name(item.candidate),
            version_name(item.previous_champion),
            ", ".join(f"{alias} {version_name(number)}" for alias, number in item.profiles.items()) or "none",
            str(len(item.versions)),
            "\n".join(item.needs()) or "nobody",
        )
    return table


def versions_table(status: ModelStatus, registry: Registry) -> ShownTable:
    """Render a model's versions, one row each, newest first, with their numbers on their own holdout."""
    table = ShownTable("version", "as of", "stage", *_SHORT.values(), "gates", "decided by", box=SIMPLE_HEAD)
    for version in status.versions:
        tags = version.tags
        metrics = registry.run_metrics(version.run_id, "holdout.")
        table.add_row(
            version_name(version.number),
            tags.get(Tag.AS_OF, "")[:10],
            tags.get(Tag.LIFECYCLE_STAGE, ""),
            *(f"{metrics.get(metric, float('nan')):.4f}" for metric in _SHORT),
            tags.get(Tag.VALIDATION_STATUS, ""),
            tags.get(Tag.DECIDED_BY, ""),
        )
    return table


def gates_table(report: GateReport) -> ShownTable:
    """Render gates, one row each, and their slices below them."""
    table = ShownTable("gate", box=SIMPLE_HEAD, pad_edge=False)
    for name in ("candidate", "limit"):
        table.add_column(name, justify="right")
    table.add_column("outcome")
    for result in report.results:
        came_out = f"{outcome(result)}{f': {result.note}' if result.note else ''}"
        style = "red" if result.refuses else None
        table.add_row(result.gate, number(result.value), number(result.limit), came_out, style=style)
        for part in result.slices:
            note = f": {part.note}" if part.note else ""
            table.add_row(
                f"  {part.name} ({part.rows:,} rows)",
                number(part.value),
                number(part.limit),
                f"{OUTCOMES[part.status]}{note}",
                style="dim",
            )
    return table


def scores_table(report: GateReport) -> ShownTable:
    """Render every model's metrics on the holdout, one row per metric."""
    titles = [version_name(report.version), *report.reference_titles()]
    scores = [report.scores.candidate, *report.scores.references.values()]
    return metrics_table(report.scores.rows, dict(zip(titles, scores, strict=True)))


def comparison_table(comparison: Comparison) -> ShownTable:
    """Render runs or versions as columns; of each metric the best is marked."""
    table = ShownTable("", box=SIMPLE_HEAD, pad_edge=False)
    for side in comparison.sides:
        table.add_column("\n".join(filter(None, (side.name, side.is_now))), justify="right")
    table.add_row("as of", *(side.as_of for side in comparison.sides))
    table.add_row("data version", *(side.data_version for side in comparison.sides), end_section=True)
    for name in comparison.differing_params():
        table.add_row(name, *(side.params.get(name, "") for side in comparison.sides))
    table.add_section()
    for metric in comparison.metrics():
        best = comparison.best(metric)
        cells = [
            Text(
                f"{number(side.metrics.get(metric))}{' *' if side is best else ''}",
                "bold" if side is best else "",
            )
            for side in comparison.sides
        ]
        table.add_row(metric, *cells)
    return table


def live_table(live: LiveComparison) -> ShownTable:
    """Render the metrics of two versions on live requests, one row each, with where they lie."""
    same = live.champion_labelled if live.paired else None
    table = ShownTable(f"on {same:,} labelled rows" if same else "", box=SIMPLE_HEAD, pad_edge=False)
    for version, rows in (
        (live.trial.champion, live.champion_labelled),
        (live.trial.candidate, live.candidate_labelled),
    ):
        table.add_column(version_name(version) + ("" if same else f"\n{rows:,} rows"), justify="right")
    table.add_column(f"difference ({CONFIDENCE:.0%})", justify="right")
    table.add_column("")
    for pair in live.metrics:
        table.add_row(
            pair.metric,
            "\n".join(filter(None, (number(pair.champion), _between(pair.champion_interval)))),
            "\n".join(filter(None, (number(pair.candidate), _between(pair.candidate_interval)))),
            _between(pair.difference, "+"),
            pair.note or pair.verdict,
        )
    return table


def describe_agreement(live: LiveComparison) -> str:
    """Say how many rows were compared, and how alike the answers are."""
    new, old = version_name(live.trial.candidate), version_name(live.trial.champion)
    newest = "the newest " if live.capped else ""
    if live.agreement is None:
        return f"Of {newest}live rows {new} answered {live.candidate_rows:,}, {old} {live.champion_rows:,}."
    agreement, differ = live.agreement, "their answers differ"
    words = f"On {newest}{live.champion_rows:,} live rows {new} and {old} agree on {agreement.same:.1%}"
    if agreement.difference_quantiles is None:
        differ = "their probabilities differ"
    words += f"; {differ} by {agreement.mean_absolute_difference:.4g} on average"
    if agreement.difference_quantiles is not None:
        low, middle, high = agreement.difference_quantiles
        words += f", 90% of the differences are between {low:+.4g} and {high:+.4g} (median {middle:+.4g})"
    if agreement.unanswered:
        words += f"; {agreement.unanswered:,} rows have an answer that is no finite number"
    return f"{words}."


def _between(interval: Interval | None, sign: str = "") -> str:
    return "" if interval is None else f"{interval.low:{sign}.4g} to {interval.high:{sign}.4g}"


def metrics_table(rows: int, by_model: Mapping[str, Mapping[str, float]]) -> ShownTable:
    """Render metrics on the holdout, a column per model, one row per metric of the first."""
    table = ShownTable(f"on {rows:,} holdout rows", box=SIMPLE_HEAD, pad_edge=False)
    for name in by_model:
        table.add_column(name, justify="right")
    for metric in next(iter(by_model.values())):
        table.add_row(metric, *(number(metrics.get(metric, nan)) for metrics in by_model.values()))
    return table


def history_table(events: Iterable[Event]) -> ShownTable:
    """Render events, one row each; the champion's moves in bold, with where it was before."""
    table = ShownTable("seq", box=SIMPLE_HEAD, pad_edge=False)
    # The day above the time, and two words of an event above each other: so reasons have room in 80 columns.
    table.add_column("at (UTC)", max_width=10)
    table.add_column("event", max_width=10)
    for name in ("version", "by", "reason"):
        table.add_column(name)
    for event in events:
        moved = event.event in CHAMPION_MOVES
        version = "" if event.version is None else version_name(event.version)
        table.add_row(
            str(event.seq),
            f"{event.at.astimezone(UTC):%Y-%m-%d %H:%M}",
            event.event.replace("_", " "),
            f"{version_name(event.from_version)} → {version}" if moved else version,
            event.actor,
            event.reason,
            style="bold" if moved else None,
        )
    return table


def diff_tables(diff: Diff) -> Iterator[ShownTable | str]:
    """Render two versions side by side: how many rows disagree, how, by how much, and which most."""
    names = [version_name(version) for version in diff.versions]
    scored = diff.rows - diff.rejected
    share = f"{diff.disagree / scored:.1%}" if scored else "none"
    yield f"{diff.model} {' and '.join(names)} disagree on {diff.disagree:,} of {scored:,} rows ({share})."
    if diff.labels:
        table = ShownTable(f"{names[0]} says, {names[1]} says", box=SIMPLE_HEAD, pad_edge=False)
        for label in diff.labels:
            table.add_column(label, justify="right")
        for label, others in diff.labels.items():
            table.add_row(label, *(f"{count:,}" for count in others.values()))
        yield table
    what = "total variation of the probabilities" if diff.labels else f"{names[1]} less {names[0]}"
    table = ShownTable(f"{what}{' (estimated)' if diff.estimated else ''}", *diff.quantiles, box=SIMPLE_HEAD)
    table.add_row("", *(f"{value:.4g}" for value in diff.quantiles.values()))
    yield table
    if diff.top:
        table = ShownTable(box=SIMPLE_HEAD, pad_edge=False)
        for title in ("row", *diff.keys, *names, "difference"):
            table.add_column(title)
        for row in diff.top:
            table.add_row(f"{row.row:,}", *row.keys, *row.answers, f"{row.difference:.4g}")
        yield table
    if diff.rejected:
        why = "; ".join(f"{reason} ({count:,})" for reason, count in diff.reasons.items())
        yield f"{diff.rejected:,} of {diff.rows:,} rows rejected to {diff.rejects}: {why}."
    yield f"Both answers to each row are in {diff.output}."
