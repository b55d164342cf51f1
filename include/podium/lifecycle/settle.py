"""Settle: a champion that was moved outside Podium is accepted or reverted."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from podium.errors import CannotAdopt, Outage, ProfileOnly, Refused
from podium.ledger import history
from podium.ledger.events import Event, EventKind, NewEvent
from podium.ledger.store import Lock
from podium.lifecycle.approval_policy import Person, approver_of
from podium.lifecycle.asked import Asked, asking_problem, refused_before
from podium.lifecycle.champion import refusals_on_record
from podium.lifecycle.custody_rules import refuse_out_of_use
from podium.lifecycle.profile_rules import promotion_problem
from podium.lifecycle.registry_sync import mirror
from podium.lifecycle.witness import record, witnessed
from podium.model_file.spec import ModelSpec
from podium.names import Alias, in_utc, version_name
from podium.registry.manifest import downloaded, read_manifest
from podium.registry.model_files import read_signature
from podium.services import Services
from podium.training.taken_example import take_example
from podium.versions import check_bytes, verified

log = logging.getLogger(__name__)


class Settlement(StrEnum):
    """What can be done about a champion that was moved outside Podium."""

    ACCEPT = "accept"
    REVERT = "revert"


_SETTLED_BY = {
    Settlement.ACCEPT: EventKind.OUTSIDE_MOVE_ACCEPTED,
    Settlement.REVERT: EventKind.OUTSIDE_MOVE_REVERTED,
}


def settle(services: Services, spec: ModelSpec, request: NewEvent, asked: Asked) -> Event:
    """Accept or revert a champion that was moved outside, as an approver asks.

    Args:
        services: The registry and the ledger.
        spec: The model file; accepting takes as many people as approving.
        request: Who asks for what and why, from ``settle_request``.
        asked: When it was asked for: the move outside that was open then is settled, and no other.

    Where nothing was moved outside and a watch window froze the model, accepting keeps the champion of now.

    Returns:
        The ``outside_move_accepted`` or ``outside_move_reverted`` event, or ``acceptance_given`` while people
        are missing; ``watch_settled`` where a watch window froze the model.

    Raises:
        Refused: There is nothing to settle, the move outside was found after this was asked for, this run was
            refused before, or nobody can tell what its asker saw.
        NotFound: The version to accept does not exist.
        BytesChanged: The version's files are not those that were registered.
        ProfileOnly: The version to accept was trained in a profile.
        OutOfUse: The version to accept is in quarantine.
        Outage: A part did not answer.
    """
    model = spec.name
    with services.ledger.lock(model) as lock:
        witnessed(services, model)
        events = services.ledger.present(model, run=request.run)
        settled = history.with_key(events, str(request.key))
        if settled is None:
            if refused := refused_before(events, request.run):
                raise Refused(refused)
            with refusals_on_record(services, request):
                if frozen := _frozen_by_watch(services, events, request, asked):
                    return record(services, frozen)
                open_move = _move_that_was_seen(services, events, request, asked)
                events = services.ledger.present(model, open_move.version, history.champion(events))
                settled = _settle(services, lock, events, spec, open_move, request)
        mirror(services, model)
    return settled


def _settle(  # noqa: PLR0913 - what is settled, by whom and by which rules
    services: Services,
    lock: Lock,
    events: Sequence[Event],
    spec: ModelSpec,
    open_move: Event,
    request: NewEvent,
) -> Event:
    if request.event is EventKind.OUTSIDE_MOVE_REVERTED:
        return revert(services, lock, events, request)
    return _accept(services, events, spec, open_move, request)


def _frozen_by_watch(
    services: Services, events: Sequence[Event], request: NewEvent, asked: Asked
) -> NewEvent | None:
    """Describe the end of a freeze by a watch window; None if there is none, or a move outside is first.

    Raises:
        Refused: Whoever asked did not see the verdict that froze the model.
    """
    model, frozen = request.model, history.watch_freeze(events)
    moved = history.outside_move(events) or services.registry.champion(model) != history.champion(events)
    if frozen is None or moved or request.event is not EventKind.OUTSIDE_MOVE_ACCEPTED:
        return None
    if problem := asking_problem(events, model, request.run, asked):
        raise Refused(problem)
    if frozen.at > asked.at:
        raise Refused(
            f"{model}: its watch window ended on {in_utc(frozen.at)}, after this run was requested "
            f"({in_utc(asked.at)}), so the person who asked could not know. Look at it, and trigger a new run"
        )
    return replace(
        request,
        event=EventKind.WATCH_SETTLED,
        version=history.champion(events),
        details={"verdict": frozen.seq},
    )


def _move_that_was_seen(
    services: Services, events: Sequence[Event], request: NewEvent, asked: Asked
) -> Event:
    """Return the open move outside, if it is the one that was open when this was asked for."""
    model, live = request.model, services.registry.champion(request.model)
    if problem := asking_problem(events, model, request.run, asked):
        raise Refused(problem)
    open_move = history.outside_move(events)
    reverting = request.event is EventKind.OUTSIDE_MOVE_REVERTED
    # By an earlier try of this that was stopped before it could record it.
    moved_back = reverting and live == history.champion(events)
    if open_move is None or (live != open_move.version and not moved_back):
        raise Refused(
            f"{model}: no move outside Podium waits to be settled; the champion is {version_name(live)}. "
            "reconcile records later moves within minutes; trigger a new run then"
        )
    seen = history.outside_move(services.ledger.present(model, at=asked.at))
    if seen is None or seen.seq != open_move.seq:
        raise Refused(
            f"{model}: Podium found the champion's move to {version_name(open_move.version)} on "
            f"{in_utc(open_move.at)}, after this run was requested "
            f"({in_utc(asked.at)}), so the person who asked could not know. Look at it, and trigger a new run"
        )
    return open_move


def settle_request(
    spec: ModelSpec, settlement: Settlement, *, asks: Person | None, reason: str, run: str
) -> NewEvent:
    """Describe who asks to settle a move outside, how and why.

    Raises:
        PodiumError: Nobody is known to ask, who asks is no approver, or the reason is none.
    """
    model = spec.name
    actor = approver_of(model, spec.approval, asks, reason)
    return NewEvent(
        event=_SETTLED_BY[settlement],
        model=model,
        actor=actor,
        reason=reason.strip(),
        run=run,
        key=f"settled:{run}",
    )


def revert_started(events: Sequence[Event], open_move: Event) -> Event | None:
    """Return the newest intent to revert this move outside."""
    found = [
        event for event in events if event.event is EventKind.REVERT_STARTED and event.seq > open_move.seq
    ]
    return found[-1] if found else None


def revert(services: Services, lock: Lock, events: Sequence[Event], reverted: NewEvent) -> Event:
    """Move the alias back to what the ledger says, whose bytes must be those that were registered.

    Args:
        services: The registry and the ledger.
        lock: The model's lock, which is held.
        events: The model's history.
        reverted: What is recorded of it.

    Raises:
        BytesChanged: The champion to go back to is not what was registered.
        Outage: A part did not answer, or the alias reads another version; run it again.
    """
    model, registry = reverted.model, services.registry
    recorded, open_move = history.champion(events), history.outside_move(events)
    if recorded is not None:
        check_bytes(services, events, model, recorded)
    if open_move is not None and revert_started(events, open_move) is None:
        record(services, replace(reverted, event=EventKind.REVERT_STARTED, version=recorded, key=None))
    lock.assert_held()
    if recorded is None:
        registry.delete_alias(model, Alias.CHAMPION)
    else:
        registry.set_alias(model, Alias.CHAMPION, recorded)
    found = registry.champion(model)
    if found != recorded:
        raise Outage(
            f"{model}: champion was set back to {version_name(recorded)}, but MLflow returns "
            f"{version_name(found)}"
        )
    from_version = None if open_move is None else open_move.version
    return record(services, replace(reverted, version=recorded, from_version=from_version))


def _accept(
    services: Services, events: Sequence[Event], spec: ModelSpec, open_move: Event, request: NewEvent
) -> Event:
    accepted, digest = _what_is_accepted(services, events, spec, open_move)
    about = {"outside_move": open_move.seq, "manifest_digest": digest}
    given = replace(
        request,
        event=EventKind.ACCEPTANCE_GIVEN,
        version=open_move.version,
        key=f"acceptance:{open_move.seq}:{digest}:{request.actor}",
        details=about,
    )
    acceptance = record(services, given)
    # By name: the same person's, given in an earlier run, is on record already.
    acceptances = services.ledger.history(
        open_move.model, after=open_move.seq, kinds=[EventKind.ACCEPTANCE_GIVEN]
    )
    people = dict.fromkeys(event.actor for event in acceptances if event.details == about)
    if len(people) < spec.approval.required:
        return acceptance
    settled = replace(
        request,
        version=open_move.version,
        from_version=open_move.from_version,
        actor=", ".join(people),
        details={"outside_move": open_move.seq, **accepted},
    )
    return services.ledger.append_move(settled, after=history.champion_move(events))


def _what_is_accepted(
    services: Services, events: Sequence[Event], spec: ModelSpec, open_move: Event
) -> tuple[dict[str, Any], str | None]:
    """Check the bytes of a registered version; make the manifest of one that Podium never registered.

    Returns:
        What is recorded of a version that Podium never registered, and the digest of what is accepted.
    """
    model, version = open_move.model, open_move.version
    if version is None:
        return {}, None
    if problem := promotion_problem(events, version):
        raise ProfileOnly(f"{problem}. Revert the champion")
    refuse_out_of_use(events, version)
    if (registered := history.registration(events, version)) is not None:
        with verified(services, events, model, version) as (folder, _):
            made_here = registered.event is EventKind.REGISTERED
            known = made_here or history.example_of(events, version) is not None
            taken = {} if known else _example(spec, services, folder, f"{model} {version_name(version)}")
        return taken, registered.details["manifest_digest"]
    with downloaded(services.registry, model, version) as folder:
        manifest = read_manifest(folder)
        made = {
            "manifest": manifest.as_json(),
            "manifest_digest": manifest.digest(),
            "signature": read_signature(folder),
            **_example(spec, services, folder, f"{model} {version_name(version)}"),
        }
    return made, manifest.digest()


def _example(spec: ModelSpec, services: Services, folder: Path, name: str) -> dict[str, Any]:
    """Return by what a version that Podium never registered can prove itself, or why it cannot.

    One that cannot stays champion: it is that already. `podium adopt` takes an example later.
    """
    try:
        return {history.EXAMPLE: dict(take_example(spec, services.settings.home, folder, name).example)}
    except CannotAdopt as error:
        log.warning("%s. Until then it is neither served nor rolled back to", error)
        return {history.NO_EXAMPLE: str(error)}
