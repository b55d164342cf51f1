"""Tables for the terminal: plain values in, a rich table out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC
from math import nan
from typing import TYPE_CHECKING, Literal

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.text import Text

from podium.gates.report import OUTCOMES, GateReport, label_cells, number, outcome, quantity
from podium.ledger.events import CHAMPION_MOVES, Event
from podium.names import Tag, version_name
from podium.reporting.terminal import ShownTable
from podium.text import visible

# `podium history` and `status` answer at once; whoever has one of these has imported MLflow or pandas.
if TYPE_CHECKING:
    from podium.gates.live_comparison import Interval, LiveComparison
    from podium.metrics.by_label import LabelScore
    from podium.registry.client import Registry
    from podium.reporting.compare import Comparison
    from podium.reporting.status import ModelStatus
    from podium.scoring.diff import Diff

LONGEST_REASON = 200
# Who acts where nobody else does: not worth a word in each line.
_ITSELF = "podium"
# A column that may be broken into lines is at least so wide; between two columns, and around all, is so much.
_NARROW, _BETWEEN, _AROUND = 12, 3, 2
_SHORT = {
    "log_loss": "log loss",
    "accuracy": "accuracy",
    "brier_score": "Brier",
    "ranked_probability_score": "RPS",
}


def status_table(statuses: Iterable[ModelStatus], width: int) -> ShownTable:
    """Render models, one row each; where there is little room, the less important columns are left out.

    Args:
        statuses: The models.
        width: Of the terminal, in characters.
    """
    items = list(statuses)
    profiles = [
        ", ".join(f"{alias} {version_name(number)}" for alias, number in item.profiles.items()) or "-"
        for item in items
    ]
    return fitted(
        width,
        Column("model", [item.model for item in items], whole=True),
        Column("champion", [version_name(item.champion) for item in items], whole=True),
        Column("waits (UTC)", [_waits(item) for item in items], whole=True),
        Column("candidate", [version_name(item.candidate) for item in items], drop=1),
        Column("previous", [version_name(item.previous_champion) for item in items], drop=2),
        Column("newest", [version_name(item.newest_version) for item in items], drop=3),
        Column("profiles", profiles, drop=4),
    )


def _waits(item: ModelStatus) -> str:
    frozen = ["FROZEN"] if item.is_frozen or item.damaged or item.unsettled else []
    frozen += ["retired"] if item.retired else []
    frozen += ["ramp stopped"] if item.ramp is not None and item.ramp.stopped else []
    return "\n".join([*frozen, *(waiting.short() for waiting in item.waiting)]) or "-"


def versions_table(model: str, registry: Registry, width: int) -> ShownTable:
    """Render a model's versions, one row each, newest first, with their numbers on their own holdout."""
    versions = registry.versions(model)
    metrics = [registry.run_metrics(version.run_id, "holdout.") for version in versions]

    def tags(tag: Tag) -> list[str]:
        return [version.tags.get(tag, "") for version in versions]

    table = fitted(
        width,
        Column("version", [version_name(version.number) for version in versions], whole=True),
        Column("as of", [as_of[:10] for as_of in tags(Tag.AS_OF)], whole=True),
        Column("stage", tags(Tag.LIFECYCLE_STAGE), whole=True),
        *(
            Column(title, [f"{of.get(metric, nan):.4f}" for of in metrics], whole=True, drop=place)
            for place, (metric, title) in enumerate(_SHORT.items())
        ),
        Column("gates", tags(Tag.VALIDATION_STATUS), whole=True),
        Column("decided by", tags(Tag.DECIDED_BY)),
    )
    table.title = "metrics of each on its own holdout"
    return table


@dataclass(frozen=True)
class Column:
    """A column of a table that has to fit.

    Attributes:
        title: Its head.
        cells: One for each row.
        whole: No cell of it is broken into lines, as one by which a row is known.
        drop: Where there is no room, the column with the greatest goes first; 0 stays.
        justify: Where in the column a cell stands.
    """

    title: str
    cells: Sequence[str | Text]
    whole: bool = False
    drop: int = 0
    justify: Literal["left", "right"] = "left"

    def least(self) -> int:
        """Return how many characters wide it must be."""
        lines = [line for cell in (self.title, *self.cells) for line in visible(str(cell)).split("\n")]
        longest = max(cell_len(line) for line in lines)
        return longest if self.whole else min(longest, max(_NARROW, cell_len(self.title)))


def fitted(width: int, *columns: Column) -> ShownTable:
    """Render columns so that they fit into so many characters, and no whole one is broken if possible."""
    shown = list(columns)
    while _width(shown) > width and (most := max(column.drop for column in shown)) > 0:
        shown = [column for column in shown if column.drop != most]
    table = ShownTable(box=SIMPLE_HEAD, pad_edge=False)
    # Names may be longer than a terminal is wide: then the first column is broken into lines, never cut.
    too_wide = _width(shown) > width
    for place, column in enumerate(shown):
        no_wrap = column.whole and not (too_wide and place == 0)
        table.add_column(column.title, justify=column.justify, no_wrap=no_wrap)
    for cells in zip(*(column.cells for column in shown), strict=True):
        table.add_row(*cells)
    return table


def _width(columns: Sequence[Column]) -> int:
    return sum(column.least() for column in columns) + _BETWEEN * (len(columns) - 1) + _AROUND


def gates_table(report: GateReport) -> ShownTable:
    """Render gates, one row each, and their slices below them."""
    table = ShownTable("gate", box=SIMPLE_HEAD, pad_edge=False)
    for name in ("measured", "limit"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("outcome")
    for result in report.results:
        came_out = f"{outcome(result)}{f': {result.note}' if result.note else ''}"
        style = "red" if result.refuses else None
        value, limit = (quantity(value, result.unit) for value in (result.value, result.limit))
        table.add_row(result.gate, value, limit, came_out, style=style)
        for part in result.slices:
            note = f": {part.note}" if part.note else ""
            table.add_row(
                f"  {part.name} ({part.rows:,} rows)",
                quantity(part.value, part.unit),
                quantity(part.limit, part.unit),
                f"{OUTCOMES[part.status]}{note}",
                style="dim",
            )
    return table


def scores_table(report: GateReport) -> ShownTable:
    """Render every model's metrics on the holdout, one row per metric."""
    titles = [version_name(report.version), *report.reference_titles()]
    scores = [report.scores.candidate, *report.scores.references.values()]
    return metrics_table(report.scores.rows, dict(zip(titles, scores, strict=True)))


def labels_table(by_model: Mapping[str, Mapping[str, LabelScore]]) -> ShownTable | None:
    """Render recall and precision of each label, by the name of a model; None without labels."""
    labels = next(iter(by_model.values()), {})
    if not labels:
        return None
    table = ShownTable("label", "rows", box=SIMPLE_HEAD, pad_edge=False)
    for name in by_model:
        table.add_column(f"{name}\nrecall", justify="right")
        table.add_column("\nprecision", justify="right")
    for label, score in labels.items():
        table.add_row(label, f"{score.rows:,}", *label_cells(label, by_model))
    return table


def comparison_tables(comparison: Comparison, width: int) -> Iterator[ShownTable]:
    """Render runs or versions as columns, in as many tables as the width asks for; of each metric the best.

    Args:
        comparison: What is compared.
        width: Of the terminal, in characters.
    """
    rows = _comparison_rows(comparison)
    names = Column("", [name for name, _ in rows], whole=True)
    sides = [
        Column(
            "\n".join(filter(None, (side.name, side.is_now))),
            [cells[place] for _, cells in rows],
            whole=True,
            justify="right",
        )
        for place, side in enumerate(comparison.sides)
    ]
    while sides:
        fits = [number for number in range(1, len(sides) + 1) if _width([names, *sides[:number]]) <= width]
        block, sides = sides[: max(fits, default=1)], sides[max(fits, default=1) :]
        yield fitted(width, names, *block)


def _comparison_rows(comparison: Comparison) -> list[tuple[str, list[str | Text]]]:
    sides = comparison.sides
    rows: list[tuple[str, list[str | Text]]] = [
        ("as of", [side.as_of for side in sides]),
        ("data version", [side.data_version for side in sides]),
    ]
    if not comparison.same_rows:
        rows.append(("judged on", [side.judged_on for side in sides]))
    rows += [(name, [side.params.get(name, "") for side in sides]) for name in comparison.differing_params()]
    for metric in comparison.metrics():
        best = comparison.best(metric)
        cells = [
            Text(f"{number(side.metrics.get(metric))}{' *' if side is best else ''}", "bold" * (side is best))
            for side in sides
        ]
        rows.append((metric, [*cells]))
    return rows


def live_table(live: LiveComparison) -> ShownTable:
    """Render the metrics of two versions on live requests, one row each, with where they lie."""
    from podium.gates.live_comparison import CONFIDENCE

    same = live.champion_labelled if live.paired else None
    table = ShownTable(f"on {same:,} labelled rows" if same else "", box=SIMPLE_HEAD, pad_edge=False)
    for version, rows in (
        (live.trial.champion, live.champion_labelled),
        (live.trial.candidate, live.candidate_labelled),
    ):
        table.add_column(version_name(version) + ("" if same else f"\n{rows:,} rows"), justify="right")
    table.add_column(
        f"{version_name(live.trial.candidate)} is ({CONFIDENCE:.0%} confidence)", justify="right"
    )
    table.add_column("")
    for pair in live.metrics:
        table.add_row(
            pair.metric,
            "\n".join(filter(None, (number(pair.champion), _between(pair.champion_interval)))),
            "\n".join(filter(None, (number(pair.candidate), _between(pair.candidate_interval)))),
            pair.describe(),
            pair.note or pair.verdict,
        )
    return table


def describe_agreement(live: LiveComparison) -> str:
    """Say how many rows were compared, and how alike the answers are."""
    new, old = version_name(live.trial.candidate), version_name(live.trial.champion)
    newest = "the newest " if live.capped else ""
    if live.agreement is None:
        return f"{new} answered {live.candidate_rows:,} of {newest}live rows, {old} {live.champion_rows:,}."
    agreement, differ = live.agreement, "their answers differ"
    words = f"On {newest}{live.champion_rows:,} live rows {new} and {old} agree on {agreement.same:.1%}"
    if agreement.difference_quantiles is None:
        differ = "their probabilities differ"
    words += f"; {differ} by {agreement.mean_absolute_difference:.4g} on average"
    if agreement.difference_quantiles is not None:
        low, middle, high = agreement.difference_quantiles
        words += f", 90% of the differences are between {low:+.4g} and {high:+.4g} (median {middle:+.4g})"
    if agreement.unanswered:
        words += f"; {agreement.unanswered:,} rows have an answer that is not a finite number"
    return f"{words}."


def _between(interval: Interval | None) -> str:
    return "" if interval is None else f"{interval.low:.4g} to {interval.high:.4g}"


def metrics_table(rows: int, by_model: Mapping[str, Mapping[str, float]]) -> ShownTable:
    """Render metrics on the holdout, a column per model, one row per metric of the first."""
    table = ShownTable(f"on {rows:,} holdout rows", box=SIMPLE_HEAD, pad_edge=False)
    for name in by_model:
        table.add_column(name, justify="right", no_wrap=True)
    for metric in next(iter(by_model.values())):
        table.add_row(metric, *(number(metrics.get(metric, nan)) for metrics in by_model.values()))
    return table


def history_table(events: Iterable[Event]) -> ShownTable:
    """Render events, one row each; the champion's moves in bold, with where it was before."""
    table = ShownTable(box=SIMPLE_HEAD, pad_edge=False)
    for name in ("seq", "at (UTC)"):
        table.add_column(name, no_wrap=True)
    table.add_column("what happened")
    for event in events:
        moved = event.event in CHAMPION_MOVES
        at = f"{event.at.astimezone(UTC):%Y-%m-%d %H:%M}"
        table.add_row(str(event.seq), at, in_one_line(event), style="bold" if moved else None)
    return table


def in_one_line(event: Event) -> str:
    """Say what happened to which version, by whom and why; a long reason is shortened, ``--json`` has all."""
    version = "" if event.version is None else version_name(event.version)
    if event.event in CHAMPION_MOVES:
        version = f"{version_name(event.from_version)} → {version}"
    by = "" if event.actor == _ITSELF else f"by {event.actor}"
    what = " ".join(filter(None, (version, event.event.replace("_", " "), by)))
    reason = " ".join(event.reason.split())
    if len(reason) > LONGEST_REASON:
        reason = f"{reason[: LONGEST_REASON - 1]}…"
    return f"{what}: {reason}" if reason else what


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
