"""Does the verdict on a watch window follow from what was counted? Sums, wealth and ending again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from podium.errors import Outage, PodiumError
from podium.ledger.events import CHAMPION_MOVES, Event, EventKind
from podium.ledger.evidence import EvidenceStore
from podium.ledger.store import Ledger
from podium.ledger.watch_counts import told_of
from podium.lifecycle.ramped import ramp_of
from podium.lifecycle.watched import WatchWindow, window_of
from podium.monitoring.evidence import difference
from podium.monitoring.ramp import judge_step
from podium.monitoring.watch_record import content_of, digests, read_standing
from podium.names import version_name


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
    ramps = (EventKind.RAMP_STEP, EventKind.RAMP_ENDED)
    events = ledger.history(model, kinds=[*CHAMPION_MOVES, EventKind.WATCH_JUDGED, *ramps])
    moves = {event.seq: event for event in events if event.event in CHAMPION_MOVES}
    steps: dict[str | None, Event] = {}
    for event in events:
        if event.event in CHAMPION_MOVES:
            continue
        try:
            if event.event is EventKind.WATCH_JUDGED:
                said = _of_verdict(ledger, moves, event)
            else:
                said = _of_step(ledger, steps.get(event.run), event)
        except Outage:
            raise
        except (PodiumError, KeyError, TypeError, ValueError) as error:
            said = f"cannot be computed again: {error}"
        if event.event is EventKind.RAMP_STEP:
            steps[event.run] = event
        if said:
            what = "ramp" if event.event in ramps else "watch window"
            yield f"{what} of {model} {version_name(event.version)}: {said}"


def _of_verdict(ledger: Ledger, moves: Mapping[int, Event], event: Event) -> str:
    """Say what differs first; "" if the verdict follows."""
    promotion = moves.get(event.details.get("promotion", 0))
    window = None if promotion is None else window_of(promotion)
    if window is None:
        return f"event {event.seq} names no promotion with a watch window"
    return _of_evidence(ledger, window, event)


def _of_step(ledger: Ledger, before: Event | None, event: Event) -> str:
    """Say what differs first of a step up, a stop or an end; "" if it follows from what was counted."""
    if "digest" not in event.details:
        # The first step follows from an approval, and what ends without a verdict takes the share to 0.
        raises = event.details["share"] > (0 if before is None else before.details["share"])
        return f"event {event.seq} raises the share without evidence" if before is not None and raises else ""
    if before is None:
        return f"event {event.seq} has no step before it"
    ramp = ramp_of(before)
    if said := _of_evidence(ledger, ramp.judged, event):
        return said
    kept = EvidenceStore(ledger).one(str(event.details["digest"])).read()
    again = judge_step(ramp, read_standing(ramp.judged, kept))
    if again is None or (again.event, again.details["share"]) != (event.event, event.details["share"]):
        return f"event {event.seq} does not follow from its evidence"
    return ""


def _of_evidence(ledger: Ledger, window: WatchWindow, event: Event) -> str:
    kept = EvidenceStore(ledger).one(str(event.details["digest"])).read()
    if kept["said"] != event.details["said"]:
        return f"event {event.seq} says {event.details['said']}, its evidence {kept['said']}"
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
