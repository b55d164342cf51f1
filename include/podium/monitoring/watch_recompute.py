"""Does the verdict on a watch window follow from what was counted? Sums, wealth and ending again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from podium.errors import Outage, PodiumError
from podium.ledger.events import CHAMPION_MOVES, Event, EventKind, NewEvent
from podium.ledger.evidence import EvidenceStore
from podium.ledger.store import Ledger
from podium.ledger.watch_counts import told_of
from podium.lifecycle.ramped import OVER, ramp_of
from podium.lifecycle.watched import WatchWindow, window_of
from podium.monitoring.evidence import difference
from podium.monitoring.ramp import judge_step
from podium.monitoring.watch_record import content_of, digests, read_standing, verdict_event
from podium.names import version_name

_OF_RAMPS = (EventKind.RAMP_STEP, EventKind.RAMP_ENDED)


def watch_differences(ledger: Ledger, models: Sequence[str]) -> list[str]:
    """Say of each verdict on a watch window or a step of a ramp what of it does not follow.

    Args:
        ledger: The ledger.
        models: The registered models.

    Raises:
        Outage: The ledger did not answer.
    """
    watched = ledger.newest(models, [EventKind.WATCH_JUDGED, EventKind.RAMP_STEP])
    return [said for model in models if watched[model] for said in _of_model(ledger, model)]


def _of_model(ledger: Ledger, model: str) -> Iterator[str]:
    kinds = [*CHAMPION_MOVES, EventKind.APPROVED, EventKind.WATCH_JUDGED, *_OF_RAMPS]
    moves: dict[int, Event] = {}
    before: dict[str | None, Event] = {}
    for event in ledger.history(model, kinds=kinds):
        if event.event in CHAMPION_MOVES:
            moves[event.seq] = event
            continue
        said = "" if event.event is EventKind.APPROVED else _of_event(ledger, moves, before, event)
        if event.event in (EventKind.APPROVED, EventKind.RAMP_STEP):
            before[event.run] = event
        if said:
            what = "ramp" if event.event in _OF_RAMPS else "watch window"
            yield f"{what} of {model} {version_name(event.version)}: {said}"


def _of_event(
    ledger: Ledger, moves: Mapping[int, Event], before: Mapping[str | None, Event], event: Event
) -> str:
    """Say what differs first; "" if the event follows from what was counted."""
    try:
        if event.event is EventKind.WATCH_JUDGED:
            return _of_verdict(ledger, moves, event)
        return _of_step(ledger, before.get(event.run), event)
    except Outage:
        raise
    except (PodiumError, KeyError, TypeError, ValueError) as error:
        return f"event {event.seq} cannot be computed again: {error}"


def _of_verdict(ledger: Ledger, moves: Mapping[int, Event], event: Event) -> str:
    promotion = moves.get(event.details.get("promotion", 0))
    window = None if promotion is None else window_of(promotion)
    if window is None:
        return f"event {event.seq} names no promotion with a watch window"
    kept = EvidenceStore(ledger).one(str(event.details["digest"])).read()
    if kept["said"] != event.details["said"]:
        return f"event {event.seq} says {event.details['said']}, its evidence {kept['said']}"
    if said := _of_evidence(ledger, window, kept):
        return said
    verdict = read_standing(window, kept).verdict
    if verdict.ending is None:
        return f"event {event.seq} does not follow from its evidence"
    return _unlike(event, verdict_event(window, verdict.ending, verdict.reason))


def _of_step(ledger: Ledger, before: Event | None, event: Event) -> str:
    """Say what differs first of a step up, a stop or an end.

    Args:
        ledger: The ledger.
        before: The step before, or the approval that the first step follows from.
        event: The step.
    """
    if before is None:
        return f"event {event.seq} follows from no approval and no step"
    if before.event is EventKind.APPROVED:
        return _of_first(before, event)
    if "digest" not in event.details:
        # What ends without a verdict takes the share to 0.
        ends = event.event is EventKind.RAMP_ENDED and event.details["said"] == OVER
        return "" if ends and event.details["share"] == 0 else f"event {event.seq} has no evidence"
    ramp = ramp_of(before)
    kept = EvidenceStore(ledger).one(str(event.details["digest"])).read()
    if said := _of_evidence(ledger, ramp.judged, kept):
        return said
    again = judge_step(ramp, read_standing(ramp.judged, kept))
    return f"event {event.seq} does not follow from its evidence" if again is None else _unlike(event, again)


def _of_first(approved: Event, event: Event) -> str:
    ramp = ramp_of(event)
    begins = event.event is EventKind.RAMP_STEP and not ramp.stopped and ramp.counted == 0
    same = (event.version, event.from_version) == (approved.version, approved.from_version)
    if begins and same and ramp.share == ramp.steps[0]:
        return ""
    return f"event {event.seq} is not the first step of what was approved"


def _unlike(event: Event, again: NewEvent) -> str:
    """Say what of an event differs from what follows from its evidence."""
    return difference(_said(event, event.details), _said(again, {**event.details, **again.details}))


def _said(event: Event | NewEvent, details: Mapping[str, Any]) -> dict[str, Any]:
    who = {"version": event.version, "from_version": event.from_version}
    return {"event": str(event.event), **who, **details}


def _of_evidence(ledger: Ledger, window: WatchWindow, kept: Mapping[str, Any]) -> str:
    """Say what of the evidence differs from what it says of itself, or from what servers counted."""
    again = content_of(read_standing(window, kept), digests(ledger, window))
    if said := difference(kept, again):
        return said
    now = {one.process: one.counts for one in told_of(ledger, window.model, window.promotion)}
    for one in kept["told"]:
        counted = now.get(one["process"])
        # Servers may count on after the verdict, and never less.
        if counted is None or any(less < then for less, then in zip(counted, one["counts"], strict=True)):
            return f"what process {one['process']} counted is not what the verdict was made of"
    return ""
