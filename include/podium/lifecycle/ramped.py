"""The ramp of an approved version, as a fold over the record: which share of the clients it answers now.

Each step holds all that servers and whoever judges need: the newest one is enough.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from podium.errors import DecisionVoid, PodiumError
from podium.ledger.events import CHAMPION_MOVES, Event, EventKind
from podium.lifecycle.watched import Terms, WatchWindow
from podium.model_file.spec import ModelSpec
from podium.model_file.watch import WatchSpec
from podium.names import in_utc, version_name

# What servers ask the ledger for: of each kind the newest one.
RAMP_KINDS = (*CHAMPION_MOVES, EventKind.RAMP_STEP, EventKind.RAMP_ENDED)
GOOD = "good"
# How a ramp ends that nothing was judged of: what was approved has changed, or its run has ended.
OVER = "over"
# Without a section `watch` losses are compared where the gates have one.
_WITH_LOSSES = 1


@dataclass(frozen=True)
class Ramp:
    """An approved version that answers a share of the clients.

    Attributes:
        window: The version as the new one, beside the champion; named after the first step.
        run: The lifecycle run that was approved.
        steps: The shares, in percent.
        share: The share of now.
        counted: Rows that were counted before this step.
        since: When this step began.
        stopped: Whether the share is raised no more.
        reason: Why it is at this step, in words.
    """

    window: WatchWindow
    run: str
    steps: tuple[int, ...]
    share: int
    counted: int
    since: datetime
    stopped: bool
    reason: str

    @property
    def judged(self) -> WatchWindow:
        """The window as this step is judged: by all evidence there is, and rows of this step."""
        terms = self.window.terms
        return replace(self.window, terms=replace(terms, rows=self.counted + terms.rows))

    @property
    def step(self) -> int:
        """Which step it is at, from 1 on."""
        return sum(share <= self.share for share in self.steps)

    @property
    def next_share(self) -> int | None:
        """The share of the next step; None after the last."""
        return next((share for share in self.steps if share > self.share), None)

    @property
    def closes(self) -> datetime:
        """When it stops; of one that has stopped, when it ends."""
        if self.stopped:
            return self.since + timedelta(seconds=self.window.terms.at_most_seconds)
        return self.window.closes

    def __str__(self) -> str:
        """Say where it stands, as a sentence without its end."""
        name = version_name(self.window.new)
        if self.stopped:
            return f"the ramp of {name} stopped at {self.share}% of the clients: {self.reason}"
        return f"{name} answers {self.share}% of the clients until {in_utc(self.closes)} at the latest"


def ramp_terms(spec: ModelSpec) -> Terms | None:
    """Return how a ramp of a model file is judged; None: there is none.

    The questions and margins are those of its watch window; ``rows`` are those of each step.
    """
    if spec.ramp is None:
        return None
    section = spec.watch or WatchSpec(labelled_rows=_WITH_LOSSES if spec.row_metric else 0)
    return replace(
        Terms.of_section(spec, section),
        rows=spec.ramp.each.rows,
        at_most_seconds=spec.ramp.at_most.total_seconds(),
        labelled_rows=0,
        auto_rollback="on",
    )


def open_ramp(events: Iterable[Event]) -> Ramp | None:
    """Return the ramp that servers follow by these events; None where there is none.

    A move of the champion ends it, its promotion too; and so does an end with the share 0.

    Args:
        events: The model's history, ``Present``, or of ``RAMP_KINDS`` the newest events.

    Raises:
        PodiumError: A step is not what Podium records.
    """
    ramp: Ramp | None = None
    for event in events:
        if event.event in CHAMPION_MOVES:
            ramp = None
        elif event.event is EventKind.RAMP_STEP:
            ramp = ramp_of(event)
        elif event.event is EventKind.RAMP_ENDED and ramp is not None and ends(event, ramp):
            ramp = None if not event.details.get("share") else ramp
    return ramp


def ends(event: Event, ramp: Ramp) -> bool:
    """Whether an event is about the end of a ramp."""
    return event.details.get("ramp") == ramp.window.promotion


def ramp_of(step: Event) -> Ramp:
    """Return the ramp as of one of its steps.

    Raises:
        PodiumError: The event is not what Podium records.
    """
    details = step.details
    try:
        if step.version is None or step.from_version is None:
            raise KeyError("version")
        opened = details["opened"]
        return Ramp(
            window=WatchWindow(
                model=step.model,
                promotion=int(details["ramp"] or step.seq),
                new=step.version,
                old=step.from_version,
                opened=step.at if opened is None else datetime.fromisoformat(opened),
                terms=Terms.read(details["terms"]),
            ),
            run=str(step.run),
            steps=tuple(details["steps"]),
            share=int(details["share"]),
            counted=int(details["counted"]),
            since=step.at,
            stopped=bool(details["stopped"]),
            reason=step.reason,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise PodiumError(
            f"{step.model}: event {step.seq} of the ledger, {step.event}, is not what Podium records: {error}"
        ) from error


def end_key(run: str) -> str:
    """Name the end of the ramp of a run."""
    return f"ramp_ended:{run}"


def last_moment(events: Sequence[Event], decision: Event, *, ramped: bool) -> datetime:
    """Return until when an approval may promote: the ramp's time if it had one, else its own.

    Args:
        events: The present of the model, with all events of the run.
        decision: The approval.
        ramped: Whether the model file asks for a ramp.

    Raises:
        DecisionVoid: Its ramp did not end well, or has not begun.
    """
    name, run = f"{decision.model} {version_name(decision.version)}", decision.run
    steps = [event for event in events if event.event is EventKind.RAMP_STEP and event.run == run]
    if not steps:
        if ramped and decision.from_version is not None:
            raise DecisionVoid(
                f"{name}: its ramp has not begun, so it is not promoted. Marking a task as success raises no "
                "share. Clear the task 'ramp'."
            )
        return datetime.fromisoformat(decision.details["valid_until"])
    ramp = ramp_of(steps[-1])
    ended = [
        event for event in events if event.event is EventKind.RAMP_ENDED and event.key == end_key(str(run))
    ]
    if not ended:
        raise DecisionVoid(
            f"{name}: its ramp has not ended, so it is not promoted: {ramp}. Clear the task 'ramp'."
        )
    if ended[-1].details.get("said") != GOOD:
        raise DecisionVoid(
            f"{name}: its ramp did not end well, so it is not promoted: {ended[-1].reason}. To ask again, "
            "start a run with this version."
        )
    return ramp.window.closes
