"""How a lifecycle run came out: in one sentence, and what to do next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from podium.ledger.events import Event, EventKind
from podium.ledger.history import GATES
from podium.lifecycle.data_age import describe_as_of, older_than_champion
from podium.lifecycle.nominate import WAITS
from podium.lifecycle.ramped import GOOD
from podium.names import RunOutcome, version_name
from podium.services import Services

_DECIDED = {
    EventKind.REJECTED: RunOutcome.REJECTED,
    EventKind.EXPIRED: RunOutcome.EXPIRED,
    EventKind.SUPERSEDED: RunOutcome.SUPERSEDED,
    EventKind.VOIDED: RunOutcome.VOIDED,
}
_NEXT = {
    RunOutcome.PROMOTED: "Servers and batch scoring follow within seconds. The way back: rollback_champion",
    RunOutcome.REJECTED: "The champion stays. To ask again, start a run with version {number}",
    RunOutcome.EXPIRED: "The champion stays. To ask again, start a run with version {number}",
    RunOutcome.SUPERSEDED: "The newer candidate waits for a decision instead",
    RunOutcome.VOIDED: "The champion stays. To ask again, start a run with version {number}",
    RunOutcome.REFUSED: "Read the report; then change the data, the trainer or the gates, and start a run",
    RunOutcome.NOTHING_TO_PROMOTE: "Nothing to do",
    RunOutcome.ONLY_A_PROFILE: "To get a version that can be promoted, start a run without a profile",
    RunOutcome.OLDER_DATA: "Decide about the version on newer data first",
    RunOutcome.RAMP_ENDED: "The champion stays. Find the cause; then start a run with version {number}",
    RunOutcome.FAILED: "Read the log of the task that failed; then clear that task, or start a run",
    RunOutcome.UNDECIDED: "To be asked again, clear the task 'approve'",
}


class Outcome(NamedTuple):
    """How a run came out.

    Attributes:
        kind: What ended it.
        sentence: Version, ``as_of``, what came out and why, such as ``v2, as of 2025-07-01: rejected by amy:
            ...``.
        todo: What to do next.
        request: The number of the run's approval request in the ledger; None if nobody was asked.
    """

    kind: RunOutcome
    sentence: str
    todo: str
    request: int | None


def outcome_of(services: Services, model: str, run: str, failures: Mapping[str, str]) -> Outcome:
    """Say how a run came out, by what the ledger holds of it.

    Args:
        services: The ledger.
        model: The registered model.
        run: The Airflow run.
        failures: What each task that failed said.
    """
    recorded = services.ledger.of_run(model, run)
    number = next((event.version for event in reversed(recorded) if event.version is not None), None)
    champion = next((event.from_version for event in reversed(recorded) if event.from_version), None)
    events = services.ledger.present(model, number, champion)
    kind, said = _ending(recorded, failures)
    name = ""
    if number is not None:
        older = older_than_champion(events, number, champion)
        name = version_name(number) + describe_as_of(events, number) + (f" ({older})" if older else "") + ": "
    asked = [event.seq for event in recorded if event.event is EventKind.APPROVAL_REQUESTED]
    return Outcome(kind, name + said, _NEXT[kind].format(number=number), asked[-1] if asked else None)


def _ending(recorded: Sequence[Event], failures: Mapping[str, str]) -> tuple[RunOutcome, str]:
    newest = {event.event: event for event in recorded}
    kind, said = _on_record(newest)
    on_record = {"promote"} if EventKind.PROMOTION_REFUSED in newest else set[str]()
    failed = "; ".join(f"{task} failed: {said}" for task, said in failures.items() if task not in on_record)
    if not failed:
        return kind, said
    if kind is RunOutcome.UNDECIDED:
        return RunOutcome.FAILED, failed
    # A version that became champion is champion, also where nobody could be told.
    return (kind if kind is RunOutcome.PROMOTED else RunOutcome.FAILED), f"{said}; {failed}"


def _on_record(newest: Mapping[EventKind, Event]) -> tuple[RunOutcome, str]:
    if done := newest.get(EventKind.PROMOTED):
        over = (
            "as the first champion"
            if done.from_version is None
            else f"over {version_name(done.from_version)}"
        )
        return RunOutcome.PROMOTED, f"promoted {over}, approved by {done.actor}"
    for kind, came_out in _DECIDED.items():
        if decision := newest.get(kind):
            by = f" by {decision.actor}" if kind is EventKind.REJECTED else ""
            word = "void" if kind is EventKind.VOIDED else kind
            return came_out, f"{word}{by}: {decision.reason}"
    approved, stopped = newest.get(EventKind.APPROVED), newest.get(EventKind.PROMOTION_REFUSED)
    by = f"approved by {approved.actor}, " if approved else ""
    if stopped:
        return RunOutcome.FAILED, f"{by}not promoted: {stopped.reason}"
    ended = newest.get(EventKind.RAMP_ENDED)
    if ended and ended.details.get("said") != GOOD:
        return RunOutcome.RAMP_ENDED, f"{by}not promoted: its ramp went {ended.reason}"
    if approved:
        return RunOutcome.UNDECIDED, f"{by}not promoted yet"
    return _before_asking(newest)


def _before_asking(newest: Mapping[EventKind, Event]) -> tuple[RunOutcome, str]:
    report = next((newest[kind] for kind in GATES if kind in newest), None)
    if report is not None and report.version == report.from_version:
        return RunOutcome.NOTHING_TO_PROMOTE, "nothing to promote: it is the champion already"
    if refused := newest.get(EventKind.NOMINATION_REFUSED):
        older = WAITS in refused.details
        return (RunOutcome.OLDER_DATA if older else RunOutcome.ONLY_A_PROFILE), f"not asked: {refused.reason}"
    if report is not None and report.event is EventKind.GATES_REFUSED:
        return RunOutcome.REFUSED, report.reason
    return RunOutcome.UNDECIDED, "ended without a decision"
