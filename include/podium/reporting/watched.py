"""How a watch window stands, for people in a terminal and for machines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from podium.ledger.events import Event, EventKind
from podium.ledger.store import Ledger
from podium.metrics.paired import LOG_THRESHOLD
from podium.monitoring.watch_record import Standing, names_of
from podium.monitoring.watching import Question
from podium.names import in_utc, version_name
from podium.reporting.tables import Column, fitted
from podium.reporting.terminal import ShownTable

_BAR = 20


def watch_sentence(looked: Standing) -> str:
    """Say what is compared, until when, and how it stands."""
    window, verdict = looked.window, looked.verdict
    new, old = names_of(window)
    rows, processes = f"{looked.seen.counts.rows:,}", looked.seen.processes
    said = f"{verdict.ending}: {verdict.reason}" if verdict.ending else f"open, {verdict.reason}"
    return (
        f"{window.model}: {new} beside {old} since {in_utc(window.opened)}, until {in_utc(window.closes)} at "
        f"the latest; {rows} rows by {processes} server processes; auto_rollback: "
        f"{window.terms.auto_rollback}. {said}."
    )


def last_watch_sentence(model: str, last: Event | None) -> str:
    """Say that no window is open, and how the last one ended."""
    said = f"{model}: no watch window is open."
    if last is None:
        return said
    return f"{said} The last one, of {version_name(last.version)}, ended on {in_utc(last.at)}: {last.reason}."


def last_verdict(ledger: Ledger, model: str) -> Event | None:
    """Return the newest verdict on a watch window of a model, or None."""
    judged = ledger.newest([model], [EventKind.WATCH_JUDGED])[model]
    return judged[-1] if judged else None


def watch_table(looked: Standing, width: int) -> ShownTable:
    """Render each question with its evidence as a bar up to the threshold."""
    asked = looked.verdict.questions
    return fitted(
        width,
        Column("question", [one.name for one in asked], whole=True),
        Column("evidence", [bar(one.share) for one in asked], whole=True),
        Column("on", [f"{one.rows:,}" for one in asked], justify="right"),
        Column("seen", [one.reason for one in asked]),
    )


def problems(looked: Standing) -> list[str]:
    """Say why processes of servers cannot compare, each reason once."""
    return list(dict.fromkeys(looked.seen.problems))


def evidence_of(content: Mapping[str, Any]) -> list[Question]:
    """Return the questions of a verdict with their evidence, as they are kept."""
    return [Question(**one) for one in content["questions"]]


def bar(share: float) -> str:
    """Draw a share, 0 to 1, as a bar."""
    full = int(share * _BAR)
    return "█" * full + "░" * (_BAR - full)


def watch_json(looked: Standing) -> dict[str, Any]:
    """Return how a window stands for machines."""
    window, verdict = looked.window, looked.verdict
    return {
        "model": window.model,
        "promotion": window.promotion,
        "new": window.new,
        "old": window.old,
        "opened": window.opened.isoformat(),
        "closes": window.closes.isoformat(),
        "terms": window.terms.as_json(),
        "counts": looked.seen.counts._asdict(),
        "labelled_rows": looked.seen.sums.rows,
        "processes": looked.seen.processes,
        "problems": problems(looked),
        "threshold": LOG_THRESHOLD,
        "questions": [
            {"name": one.name, "rows": one.rows, "log_wealth": one.log_wealth, "seen": one.reason}
            for one in verdict.questions
        ],
        "said": verdict.ending and str(verdict.ending),
        "reason": verdict.reason,
    }
