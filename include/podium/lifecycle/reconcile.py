"""Reconcile: a champion that was moved outside Podium is found, recorded, and reverted by policy.

Until a move outside is settled, promotions and rollbacks of the model are refused (``errors.Frozen``).
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from podium.errors import NotFound, OtherLedger, Outage, PodiumError
from podium.ledger import history
from podium.ledger.events import Event, EventKind, NewEvent
from podium.ledger.history import Present
from podium.ledger.present import FEW_MOVES
from podium.lifecycle import promote, rollback
from podium.lifecycle.edited import gone_or_made_again
from podium.lifecycle.registry_sync import is_mirrored, mirror
from podium.lifecycle.settle import revert, revert_started
from podium.lifecycle.witness import record, witnessed
from podium.model_file.spec import ModelSpec
from podium.names import version_name
from podium.registry.labels import Labels
from podium.services import Services

log = logging.getLogger(__name__)


def reconcile_all(services: Services, specs: Iterable[ModelSpec]) -> tuple[list[Event], list[PodiumError]]:
    """Compare each model's live champion with the ledger, then mirror the ledger to MLflow, each for itself.

    What stops one model stops no other, and no mirroring comes before the last comparison.

    Returns:
        What was found (``moved_outside``, or ``outside_move_reverted`` where it was reverted at once), and
        what went wrong.
    """
    found: list[Event] = []
    errors: list[PodiumError] = []
    compared: list[str] = []
    for spec in _out_of_step(services, list(specs)):
        with _each_for_itself(spec.name, errors):
            event = _compare(services, spec)
            compared.append(spec.name)
            found += [event] if event is not None else []
    for model in compared:
        with _each_for_itself(model, errors), services.ledger.lock(model):
            mirror(services, model)
    return found, errors


def _out_of_step(services: Services, specs: Sequence[ModelSpec]) -> Iterator[ModelSpec]:
    """Yield the models of which MLflow does not say what the ledger says, by as many queries as for one."""
    # Labels first: what is recorded meanwhile is looked at once more, never left out.
    labels = services.registry.all_labels()
    presents = services.ledger.presents([spec.name for spec in specs], moves=FEW_MOVES)
    for spec in specs:
        events, live = presents[spec.name], labels.get(spec.name, Labels({}, {}))
        if not _is_settled(events, live):
            yield spec


def _is_settled(events: Present, live: Labels) -> bool:
    try:
        return history.outside_move(events) is None and is_mirrored(events, live)
    except PodiumError:
        return False  # What cannot be folded is told model by model.


@contextmanager
def _each_for_itself(model: str, errors: list[PodiumError]) -> Iterator[None]:
    """Collect what goes wrong with one model."""
    try:
        yield
    except PodiumError as error:
        log.error("%s", error)
        errors.append(error)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        # Details that no step of Podium writes so: somebody else appended to this model's record.
        log.exception("%s", model)
        errors.append(PodiumError(f"{model}: its record cannot be read: {error!r}"))


def _compare(services: Services, spec: ModelSpec) -> Event | None:
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
        events, live = services.ledger.present(model), services.registry.champion(model)
        recorded, open_move = history.champion(events), history.outside_move(events)
        if history.stopped_move(events, live) is not None:
            raise Outage(f"{model}: a move was stopped while reconcile looked; run reconcile again")
        new: Event | None = None
        if live != recorded and (open_move is None or open_move.version != live):
            new = record(services, _moved_outside(services, events, model, live))
            log.warning("%s", new.reason)
        if live != recorded and spec.champion_moved_outside == "revert":
            reason = "the model file has champion_moved_outside: revert"
            seen = services.ledger.present(model, recorded)
            reverted = NewEvent(EventKind.OUTSIDE_MOVE_REVERTED, model, reason=reason)
            new = revert(services, lock, seen, reverted)
        elif live == recorded and open_move is not None:
            new = record(services, _moved_back(events, open_move))
    return new


def _finish_stopped_move(services: Services, model: str) -> None:
    stopped = history.stopped_move(services.ledger.present(model), services.registry.champion(model))
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


def _moved_outside(services: Services, events: Sequence[Event], model: str, live: int | None) -> NewEvent:
    recorded = history.champion(events)
    edited = gone_or_made_again(services, model)
    if live is not None:
        what = f"{model}: its champion was moved from {version_name(recorded)} to {version_name(live)}"
        try:
            services.registry.version(model, live)
        except NotFound:
            what += ", which does not exist"
        edited = [what, *edited]
    elif not edited:
        edited = [f"{model}: its champion alias, at {version_name(recorded)}, was deleted"]
    frozen = "promotions and rollbacks are frozen until that is settled"
    return NewEvent(
        event=EventKind.MOVED_OUTSIDE,
        model=model,
        version=live,
        from_version=recorded,
        actor="unknown",
        reason=f"{'; '.join(edited)}, outside Podium; {frozen}",
    )
