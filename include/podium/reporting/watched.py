"""How a watch window or a ramp stands, for people in a terminal and for machines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from podium.ledger.events import Event, EventKind
from podium.ledger.store import Ledger
from podium.lifecycle.ramped import Ramp
from podium.metrics.paired import LOG_THRESHOLD
from podium.monitoring.ramp import ramp_standing
from podium.monitoring.watch_record import Standing, names_of, standing_of
from podium.monitoring.watching import Question
from podium.names import in_utc, version_name
from podium.reporting.tables import Column, fitted
from podium.reporting.terminal import ShownTable

_BAR = 20


class Compared(NamedTuple):
    """Two versions that are beside each other now.

    Attributes:
        looked: How they stand; of a ramp, how its step does.
        ramp: The ramp; None in a watch window.
        waits: Whether it waits: an open watch window has the memory first.
    """

    looked: Standing
    ramp: Ramp | None = None
    waits: bool = False


class Side(NamedTuple):
    """What is known of one of two versions that were asked the same.

    Attributes:
        version: The version.
        answers: Whom it answers, in words.
        requests: How many it was asked.
        rows: Their rows.
        failed: How many of these requests it failed.
    """

    version: int
    answers: str
    requests: int
    rows: int
    failed: int


@dataclass(frozen=True)
class Beside:
    """What there is to tell of the versions beside each other of one model.

    Attributes:
        model: The registered model.
        now: The open watch window, then the ramp; empty where there is neither.
        last_window: The newest verdict on a watch window, or None.
        last_ramp: The newest end of a ramp, or None.
    """

    model: str
    now: Sequence[Compared]
    last_window: Event | None
    last_ramp: Event | None


def beside_each_other(ledger: Ledger, model: str) -> Beside:
    """Look at the open watch window and the ramp of a model, and at how the last ones ended.

    Raises:
        Outage: The ledger's database did not answer.
        PodiumError: What they began with is not what Podium records.
    """
    window, ramp = standing_of(ledger, model), ramp_standing(ledger, model)
    now = [] if window is None else [Compared(window)]
    if ramp is not None:
        now.append(Compared(*ramp, waits=window is not None))
    ended = ledger.newest([model], [EventKind.WATCH_JUDGED, EventKind.RAMP_ENDED])[model]
    newest = {event.event: event for event in ended}
    return Beside(
        model,
        now,
        last_window=newest.get(EventKind.WATCH_JUDGED),
        last_ramp=newest.get(EventKind.RAMP_ENDED),
    )


def sentence(compared: Compared) -> str:
    """Say what is compared, until when, and how it stands."""
    window, seen, verdict = compared.looked.window, compared.looked.seen, compared.looked.verdict
    new, old = names_of(window)
    rows = f"{seen.counts.rows:,} rows by {seen.processes} server processes"
    said = f"{verdict.ending}: {verdict.reason}" if verdict.ending else f"open, {verdict.reason}"
    since = f"since {in_utc(window.opened)}, until"
    ramp = compared.ramp
    if ramp is None:
        return (
            f"{window.model}: {new} beside {old} {since} {in_utc(window.closes)} at most; {rows}; "
            f"auto_rollback: {window.terms.auto_rollback}. {said}."
        )
    if compared.waits:
        said = f"It waits: a watch window has the memory first, and {new} answers nobody"
    elif ramp.stopped:
        said = f"It stopped: {ramp.reason}"
    return (
        f"{window.model}: {new} on its ramp beside {old} {since} {in_utc(ramp.closes)} at most; step "
        f"{ramp.step} of {len(ramp.steps)}, {ramp.share}% of the clients since {in_utc(ramp.since)}; "
        f"{rows}, {seen.counts.rows - ramp.counted:,} of them at this step. {said}."
    )


def last_sentence(beside: Beside) -> str:
    """Say that nothing is compared now, and how the last watch window and the last ramp ended."""
    said = [f"{beside.model}: no watch window is open, and no version is on its ramp."]
    for what, last in (("watch window", beside.last_window), ("ramp", beside.last_ramp)):
        if last is not None:
            of = f"The last {what}, of {version_name(last.version)},"
            said.append(f"{of} ended on {in_utc(last.at)}: {last.reason}.")
    return " ".join(said)


def sides(compared: Compared) -> tuple[Side, Side]:
    """Return what is known of the new version, and of the one beside it."""
    window, counts, ramp = compared.looked.window, compared.looked.seen.counts, compared.ramp
    if ramp is None:
        answers = ("all clients", "nobody")
    elif compared.waits:
        answers = ("nobody", "all clients")
    else:
        answers = (f"{ramp.share}% of the clients", "the other clients")
    return (
        Side(window.new, answers[0], counts.requests, counts.rows, counts.new_failed + counts.both_failed),
        Side(window.old, answers[1], counts.requests, counts.rows, counts.old_failed + counts.both_failed),
    )


def sides_table(compared: Compared, width: int) -> ShownTable:
    """Render both versions, a line each."""
    both = sides(compared)
    return fitted(
        width,
        Column("version", [version_name(one.version) for one in both], whole=True),
        Column("answers", [one.answers for one in both]),
        Column("asked requests", [f"{one.requests:,}" for one in both], justify="right"),
        Column("rows", [f"{one.rows:,}" for one in both], justify="right"),
        Column("failed requests", [f"{one.failed:,}" for one in both], justify="right"),
    )


def evidence_table(compared: Compared, width: int) -> ShownTable:
    """Render each question with its evidence as a bar up to the threshold."""
    asked = compared.looked.verdict.questions
    return fitted(
        width,
        Column("question", [one.name for one in asked], whole=True),
        Column("evidence", [bar(one.share) for one in asked], whole=True),
        Column("on", [f"{one.rows:,}" for one in asked], justify="right"),
        Column("seen", [one.reason for one in asked]),
    )


def problems(compared: Compared) -> list[str]:
    """Say why processes of servers cannot compare, each reason once."""
    return list(dict.fromkeys(compared.looked.seen.problems))


def evidence_of(content: Mapping[str, Any]) -> list[Question]:
    """Return the questions of a verdict with their evidence, as they are kept."""
    return [Question(**one) for one in content["questions"]]


def bar(share: float) -> str:
    """Draw a share, 0 to 1, as a bar."""
    full = int(share * _BAR)
    return "█" * full + "░" * (_BAR - full)


def as_json(beside: Beside) -> dict[str, Any]:
    """Return how a model's versions beside each other stand, for machines."""
    found = {"ramp" if one.ramp else "open": _compared_json(one) for one in beside.now}
    last = {"last": beside.last_window, "last_ramp": beside.last_ramp}
    ended = {name: event and event.as_json() for name, event in last.items()}
    return {"model": beside.model, "open": None, "ramp": None, **found, **ended}


def _compared_json(compared: Compared) -> dict[str, Any]:
    window, seen, verdict = compared.looked.window, compared.looked.seen, compared.looked.verdict
    return {
        "model": window.model,
        "promotion": window.promotion,
        "new": window.new,
        "old": window.old,
        "opened": window.opened.isoformat(),
        "closes": window.closes.isoformat(),
        "terms": window.terms.as_json(),
        "sides": [one._asdict() for one in sides(compared)],
        "counts": seen.counts._asdict(),
        "labelled_rows": seen.sums.rows,
        "processes": seen.processes,
        "problems": problems(compared),
        "threshold": LOG_THRESHOLD,
        "questions": [
            {"name": one.name, "rows": one.rows, "log_wealth": one.log_wealth, "seen": one.reason}
            for one in verdict.questions
        ],
        "said": verdict.ending and str(verdict.ending),
        "reason": verdict.reason,
        **({} if compared.ramp is None else _ramp_json(compared.ramp, compared)),
    }


def _ramp_json(ramp: Ramp, compared: Compared) -> dict[str, Any]:
    return {
        "closes": ramp.closes.isoformat(),
        "share": ramp.share,
        "steps": list(ramp.steps),
        "step": ramp.step,
        "since": ramp.since.isoformat(),
        "rows_at_this_step": compared.looked.seen.counts.rows - ramp.counted,
        "stopped": ramp.reason if ramp.stopped else None,
        "waits": compared.waits,
    }
