"""A watch window as it stands, and its verdict on record with the evidence that it follows from."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np

from podium.errors import Outage, PodiumError
from podium.gates.live_comparison import Subject, labelled_answers
from podium.ledger import history
from podium.ledger.events import Event, EventKind, NewEvent, canonical_json
from podium.ledger.evidence import Evidence, EvidenceStore
from podium.ledger.live_answers import LiveStore, VersionOnTrial
from podium.ledger.store import Ledger
from podium.ledger.watch_counts import Counts, Told, told_of
from podium.lifecycle.watched import KINDS, WatchWindow, open_window
from podium.lifecycle.witness import record
from podium.metrics.paired import LOG_THRESHOLD, Sums
from podium.metrics.row_scores import row_scores
from podium.model_file.metric_names import KNOWN_METRICS
from podium.monitoring.watching import Ending, Seen, Verdict, judge
from podium.names import version_name
from podium.services import Services

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Standing:
    """A window with what was seen of it and what that says.

    Attributes:
        window: The window.
        told: What each process of the servers told.
        seen: The same together, and the labels.
        verdict: What it says.
    """

    window: WatchWindow
    told: Sequence[Told]
    seen: Seen
    verdict: Verdict


def standing(ledger: Ledger, window: WatchWindow) -> Standing:
    """Return how a window stands now, by the clock that opened it; changes nothing.

    Raises:
        Outage: The ledger's database did not answer.
    """
    told = told_of(ledger, window.model, window.promotion)
    sums, unread = _labels(ledger, window)
    seen = _together(told, ledger.now(), sums, unread)
    return Standing(window, told, seen, judge(window.terms, names_of(window), window.opened, seen))


def standing_of(ledger: Ledger, model: str) -> Standing | None:
    """Return how the open window of a model stands; None where none is open.

    Raises:
        Outage: The ledger's database did not answer.
        PodiumError: The record of its promotion is not what Podium records.
    """
    window = open_window(ledger.newest([model], KINDS)[model])
    return None if window is None else standing(ledger, window)


def ended_windows(ledger: Ledger, models: Sequence[str]) -> list[WatchWindow]:
    """Return the windows that are open and have their verdict, which is not on record yet."""
    return [window for window in open_windows(ledger, models) if has_verdict(ledger, window)]


def has_verdict(ledger: Ledger, window: WatchWindow) -> bool:
    """Whether what was seen of a window is enough to end it."""
    return standing(ledger, window).verdict.ending is not None


def open_windows(ledger: Ledger, models: Sequence[str]) -> list[WatchWindow]:
    """Return the windows that are open; one whose record cannot be read hides no other.

    Raises:
        Outage: The ledger did not answer.
    """
    windows, found = [], ledger.newest(models, KINDS)
    for model in models:
        try:
            window = open_window(found[model])
        except PodiumError as error:
            log.error("%s", error)
            continue
        if window is not None:
            windows.append(window)
    return windows


def judge_window(services: Services, model: str) -> Event | None:
    """Record the verdict on a model's open window, if there is one; None where it stays open.

    Of two that judge at once one records; the other finds the verdict on record.

    Raises:
        Outage: A part did not answer; run it again.
    """
    ledger = services.ledger
    with ledger.lock(model):
        looked = standing_of(ledger, model)
        if looked is None or looked.verdict.ending is None:
            return None
        window, ending = looked.window, looked.verdict.ending
        evidence = Evidence.of(model, window.new, content_of(looked, digests(ledger, window)))
        EvidenceStore(ledger).keep([evidence])
        new = verdict_event(window, ending, looked.verdict.reason)
        return record(services, replace(new, details={**new.details, "digest": evidence.digest}))


def digests(ledger: Ledger, window: WatchWindow) -> dict[int, str]:
    """Return the digests of the manifests of both versions; of one that has none on record ""."""
    events = ledger.present(window.model, window.new, window.old)
    found = {number: history.registration(events, number) for number in (window.new, window.old)}
    return {
        number: "" if event is None else str(event.details.get("manifest_digest") or "")
        for number, event in found.items()
    }


def content_of(looked: Standing, manifests: Mapping[int, str]) -> dict[str, Any]:
    """Return the evidence of a verdict as it is kept, as JSON gives it back."""
    window, seen, verdict = looked.window, looked.seen, looked.verdict
    content = {
        "promotion": window.promotion,
        "opened": window.opened.astimezone(UTC).isoformat(),
        "at": seen.at.astimezone(UTC).isoformat(),
        "terms": window.terms.as_json(),
        "new": {"version": window.new, "digest": manifests[window.new]},
        "old": {"version": window.old, "digest": manifests[window.old]},
        "told": [
            {"process": one.process, "counts": list(one.counts), "problem": one.problem}
            for one in looked.told
        ],
        "losses": list(seen.sums),
        "unread": seen.unread,
        "threshold": LOG_THRESHOLD,
        "questions": [
            {"name": one.name, "rows": one.rows, "log_wealth": one.log_wealth, "reason": one.reason}
            for one in verdict.questions
        ],
        "said": str(verdict.ending),
        "reason": verdict.reason,
    }
    found: dict[str, Any] = json.loads(canonical_json(content))
    return found


def read_standing(window: WatchWindow, content: Mapping[str, Any]) -> Standing:
    """Compute a verdict again, from what was counted for it."""
    at = datetime.fromisoformat(content["at"])
    told = [
        Told(str(one["process"]), Counts(*one["counts"]), str(one["problem"]), at) for one in content["told"]
    ]
    seen = _together(told, at, Sums(*content["losses"]), str(content["unread"]))
    return Standing(window, told, seen, judge(window.terms, names_of(window), window.opened, seen))


def names_of(window: WatchWindow) -> tuple[str, str]:
    """Name the new version and the old one."""
    return version_name(window.new), version_name(window.old)


def verdict_event(window: WatchWindow, ending: Ending, reason: str) -> NewEvent:
    """Return what is recorded of a verdict, but for the digest of its evidence."""
    goes_back = ending is Ending.BAD and window.terms.auto_rollback == "on"
    return NewEvent(
        EventKind.WATCH_JUDGED,
        window.model,
        window.new,
        window.old,
        actor=window.actor,
        reason=f"{ending}: {reason}",
        run=window.run,
        key=f"watch:{window.model}:{window.promotion}",
        details={
            "promotion": window.promotion,
            "said": str(ending),
            "auto_rollback": window.terms.auto_rollback,
            # The model is frozen until an approver settles it.
            "freezes": goes_back or ending is Ending.BOTH_BAD,
        },
    )


def _together(told: Sequence[Told], at: datetime, sums: Sums, unread: str) -> Seen:
    counts = Counts()
    for one in told:
        counts = counts.plus(one.counts)
    problems = tuple(one.problem for one in told if one.problem)
    return Seen(at, counts, sums, len(told), problems, unread)


def _labels(ledger: Ledger, window: WatchWindow) -> tuple[Sums, str]:
    """Add up the losses of the new version less those of the old one, on rows whose labels have come."""
    metric = window.terms.metric
    if not metric:
        return Sums(), ""
    known = KNOWN_METRICS[metric]
    subject = Subject(window.model, known.task, window.terms.labels)
    trial = VersionOnTrial(window.new, window.old)
    try:
        new, old = labelled_answers(LiveStore(ledger), subject, trial, window.opened, paired=True)
        if not len(new):
            return Sums(), ""
        difference = row_scores(metric, new).values - row_scores(metric, old).values
    except Outage:
        raise
    except PodiumError as error:
        return Sums(), str(error)
    losses = -difference if known.greater_is_better else difference
    finite = losses[np.isfinite(losses)]
    return Sums(len(finite), float(finite.sum()), float((finite**2).sum())), ""
