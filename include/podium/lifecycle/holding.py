"""What approvers say about versions and models: hold, release, restore from quarantine, retire."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum

from podium.errors import NotFound, NothingToDo, OutOfUse
from podium.ledger import custody, history
from podium.ledger.events import Event, EventKind, NewEvent
from podium.ledger.history import Present
from podium.lifecycle.approval_policy import Person, approver_of
from podium.lifecycle.custody_rules import use_problem
from podium.lifecycle.registry_sync import mirror
from podium.lifecycle.witness import record, witnessed
from podium.model_file.spec import ModelSpec
from podium.names import version_name
from podium.services import Services
from podium.versions import check_bytes


class Keeping(StrEnum):
    """What an approver can say about a version."""

    HOLD = "hold"
    RELEASE = "release"
    RESTORE = "restore"


class Ending(StrEnum):
    """What an approver can say about a model."""

    RETIRE = "retire"
    UNDO = "undo"


_KEEPING = {
    Keeping.HOLD: EventKind.HELD,
    Keeping.RELEASE: EventKind.HOLD_RELEASED,
    Keeping.RESTORE: EventKind.RESTORED,
}
_ENDING = {Ending.RETIRE: EventKind.RETIRED, Ending.UNDO: EventKind.RETIREMENT_UNDONE}


def keeping_request(  # noqa: PLR0913 - what a form says
    spec: ModelSpec, keeping: Keeping, version: int, *, asks: Person | None, reason: str, run: str
) -> NewEvent:
    """Describe what an approver says about a version.

    Raises:
        PodiumError: Nobody is known to ask, who asks is no approver, or the reason is none.
    """
    request = _request(spec, _KEEPING[keeping], asks=asks, reason=reason, run=run)
    return replace(request, version=version)


def ending_request(
    spec: ModelSpec, ending: Ending, *, asks: Person | None, reason: str, run: str
) -> NewEvent:
    """Describe what an approver says about a model; raises what ``keeping_request`` does."""
    return _request(spec, _ENDING[ending], asks=asks, reason=reason, run=run)


def say(services: Services, request: NewEvent) -> Event:
    """Record what an approver says about a version or a model, if it is possible.

    Returns:
        The event; on a re-run, the first one.

    Raises:
        NotFound: There is no such version, or no such model.
        NothingToDo: It is so already.
        OutOfUse: The version was deleted, or its deletion has begun.
        BytesChanged: The files of a version to restore are not those that were registered.
        Outage: A part did not answer; run it again.
    """
    with services.ledger.lock(request.model):
        witnessed(services, request.model)
        events = services.ledger.present(request.model, request.version)
        done = services.ledger.find(str(request.key))
        if done is None:
            _refuse(services, events, request)
            done = record(services, request)
        mirror(services, request.model)
    return done


def _refuse(services: Services, events: Present, request: NewEvent) -> None:
    if request.version is not None:
        _refuse_about_version(services, events, request, request.version)
    elif not events:
        known = ", ".join(services.ledger.models()) or "none"
        raise NotFound(f"no version of {request.model} was ever registered; available: {known}")
    elif request.event in _ENDING.values():
        ended = history.retirement(events) is not None
        if ended == (request.event is EventKind.RETIRED):
            raise NothingToDo(f"{request.model} is {'retired already' if ended else 'not retired'}")


def _refuse_about_version(services: Services, events: Present, request: NewEvent, number: int) -> None:
    name = f"{request.model} {version_name(number)}"
    if history.registration(events, number) is None:
        newest = custody.newest_numbers(services.ledger, request.model, 1)
        there = f"the newest is {version_name(newest[0])}" if newest else "no version is"
        raise NotFound(f"{name} is not on record; {there}")
    kept, held = history.custody(events, number), history.hold(events, number)
    if kept is not None and kept.event in (EventKind.DELETED, EventKind.DELETION_STARTED):
        raise OutOfUse(use_problem(events, number))
    if request.event is EventKind.HELD and held is not None:
        raise NothingToDo(f"{name} is held already, by {held.actor}: {held.reason}")
    if request.event is EventKind.HOLD_RELEASED and held is None:
        raise NothingToDo(f"{name} is not held")
    if request.event is EventKind.RESTORED:
        if not use_problem(events, number):
            raise NothingToDo(f"{name} is not in quarantine")
        check_bytes(services, events, request.model, number)


def _request(spec: ModelSpec, event: EventKind, *, asks: Person | None, reason: str, run: str) -> NewEvent:
    model = spec.name
    actor = approver_of(model, spec.approval, asks, reason)
    return NewEvent(
        event=event, model=model, actor=actor, reason=reason.strip(), run=run, key=f"{event}:{run}"
    )
