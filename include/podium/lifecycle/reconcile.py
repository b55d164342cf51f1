"""Reconcile: a champion that was moved outside Podium is found, recorded, and reverted by policy.

Until a move outside is settled, promotions and rollbacks of the model are refused (``errors.Frozen``).
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import replace

from podium.errors import NotFound, OtherLedger, Outage, PodiumError
from podium.ledger import history
from podium.ledger.events import Event, EventKind, NewEvent
from podium.lifecycle import promote, rollback
from podium.lifecycle.registry_sync import mirror
from podium.lifecycle.settle import revert, revert_started
from podium.lifecycle.witness import record, witnessed
from podium.model_file.spec import ModelSpec
from podium.names import version_name
from podium.services import Services

log = logging.getLogger(__name__)


def reconcile_all(services: Services, specs: Iterable[ModelSpec]) -> tuple[list[Event], list[PodiumError]]:
    """Reconcile every model, each for itself: what stops one stops no other.

    Returns:
        What was recorded, and what went wrong; outages last, since only they are worth a retry.
    """
    found: list[Event] = []
    errors: list[PodiumError] = []
    for spec in specs:
        try:
            event = reconcile(services, spec)
        except PodiumError as error:
            log.error("%s", error)
            errors.append(error)
            continue
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            # Details that no step of Podium writes so: somebody else appended to this model's record.
            log.exception("%s", spec.name)
            errors.append(PodiumError(f"{spec.name}: its record cannot be folded: {error!r}"))
            continue
        if event is not None:
            found.append(event)
    return found, sorted(errors, key=lambda error: isinstance(error, Outage))


def reconcile(services: Services, spec: ModelSpec) -> Event | None:
    """Compare a model's live champion with the ledger; record a move outside, and revert it by policy.

    A promotion or rollback that was stopped between moving the alias and recording it is finished first.

    Returns:
        What was recorded (``moved_outside`` or ``outside_move_reverted``), or None where nothing is new.

    Raises:
        BytesChanged: The champion to go back to is not what was registered; the model stays frozen.
        NotFound: The champion to go back to does not exist any more; the model stays frozen.
        OtherLedger: The ledger lacks what MLflow was told.
        Outage: A part did not answer.
    """
    model = spec.name
    witnessed(services, model)
    _finish_stopped_move(services, model)
    with services.ledger.lock(model) as lock:
        events, live = services.ledger.history(model), services.registry.champion(model)
        recorded, open_move = history.champion(events), history.outside_move(events)
        if history.stopped_move(events, live) is not None:
            raise Outage(f"{model}: a move was stopped while this looked; look again")
        new: Event | None = None
        seen = events
        if live != recorded and (open_move is None or open_move.version != live):
            new = record(services, _moved_outside(services, model, recorded, live))
            seen = [*events, new]
            log.warning("%s", new.reason)
        if live != recorded and spec.champion_moved_outside == "revert":
            reason = "the model file says champion_moved_outside: revert"
            reverted = NewEvent(EventKind.OUTSIDE_MOVE_REVERTED, model, reason=reason)
            new = revert(services, lock, seen, reverted)
        elif live == recorded and open_move is not None:
            new = record(services, _moved_back(events, open_move))
        mirror(services, model, events)
    return new


def _finish_stopped_move(services: Services, model: str) -> None:
    stopped = history.stopped_move(services.ledger.history(model), services.registry.champion(model))
    if stopped is None:
        return
    log.info("%s: finishing what run %s began.", model, stopped.run)
    try:
        if stopped.event is EventKind.PROMOTION_STARTED:
            promote.promote(services, model, str(stopped.run))
        else:
            rollback.rollback(services, _asked_before(stopped), asked=None)
    except (Outage, OtherLedger):
        raise
    except PodiumError as error:
        # Refused and on record: so it is no stopped move, but one outside.
        log.warning("%s: what run %s began cannot be finished: %s", model, stopped.run, error)


def _moved_back(events: Sequence[Event], open_move: Event) -> NewEvent:
    """Describe the end of a move outside whose champion is back: by a revert that was stopped, or by hand."""
    started = revert_started(events, open_move)
    back = NewEvent(
        event=EventKind.OUTSIDE_MOVE_REVERTED,
        model=open_move.model,
        version=open_move.from_version,
        from_version=open_move.version,
        actor="unknown",
        reason="moved back outside Podium",
    )
    if started is None:
        return back
    key = f"settled:{started.run}" if started.run else None
    return replace(back, actor=started.actor, reason=started.reason, run=started.run, key=key)


def _asked_before(stopped: Event) -> NewEvent:
    return NewEvent(
        event=stopped.event,
        model=stopped.model,
        version=stopped.version,
        actor=stopped.actor,
        reason=stopped.reason,
        run=stopped.run,
        details=stopped.details,
    )


def _moved_outside(services: Services, model: str, recorded: int | None, live: int | None) -> NewEvent:
    if live is None:
        what = f"its champion alias, at {version_name(recorded)}, was deleted"
    else:
        what = f"its champion was moved from {version_name(recorded)} to {version_name(live)}"
        try:
            services.registry.version(model, live)
        except NotFound:
            what += ", which does not exist"
    return NewEvent(
        event=EventKind.MOVED_OUTSIDE,
        model=model,
        version=live,
        from_version=recorded,
        actor="unknown",
        reason=f"{model}: {what}, outside Podium; promotions and rollbacks are frozen until that is settled",
    )
