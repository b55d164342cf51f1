"""MLflow is the witness of the ledger's end: a tag of each model names its newest event, by number and hash.

An event that was told and is not in the ledger was cut off, or this is another ledger: a step that records,
moves or decides then stops before it does, and the tag stays as it is until a person has looked.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from podium.errors import NotFound, OtherLedger, Outage, PodiumError
from podium.ledger.chain import read_head, write_head
from podium.ledger.events import Event, EventKind, NewEvent
from podium.names import Tag
from podium.services import Services

if TYPE_CHECKING:
    from podium.registry.labels import Labels

log = logging.getLogger(__name__)

_REFUSALS = {
    EventKind.PROMOTION_STARTED: EventKind.PROMOTION_REFUSED,
    EventKind.ROLLBACK_STARTED: EventKind.ROLLBACK_REFUSED,
    EventKind.OUTSIDE_MOVE_ACCEPTED: EventKind.SETTLEMENT_REFUSED,
    EventKind.OUTSIDE_MOVE_REVERTED: EventKind.SETTLEMENT_REFUSED,
    EventKind.CHAMPION_ADOPTED: EventKind.ADOPTION_REFUSED,
}


def witnessed(services: Services, model: str) -> Labels:
    """Return the aliases and tags of a model, after proof that the ledger holds what MLflow was told.

    Raises:
        OtherLedger: It does not.
        Outage: MLflow or the ledger did not answer.
    """
    labels = services.registry.labels(model)
    _refuse_other_ledger(services, model, labels)
    return labels


def _refuse_other_ledger(services: Services, model: str, labels: Labels) -> None:
    if problem := told_problems(services, {model: labels}).get(model):
        raise OtherLedger(f"{model}: {problem}")


def told_problems(services: Services, labels: Mapping[str, Labels]) -> dict[str, str]:
    """Say what the ledger lacks of what MLflow was told of models, and what to do; most often of none."""
    told = {model: read_head(bears.tags.get(Tag.LEDGER_HEAD)) for model, bears in labels.items()}
    heads = {model: head for model, head in told.items() if head is not None}
    there = services.ledger.models_of(set(heads.values()))
    return {model: _lacking(model, *head) for model, head in heads.items() if head not in there}


def _lacking(model: str, seq: int, digest: str) -> str:
    return (
        f"this is not the ledger that MLflow knows: it lacks event {seq} with the hash "
        f"{digest[:12]}. Nothing was moved or decided, and {model} stays blocked until the ledger has that "
        f"event again. Restore the ledger; if the event is lost for good, remove the tag {Tag.LEDGER_HEAD} "
        f"of the registered model {model}"
    )


def record(services: Services, new: NewEvent) -> Event:
    """Record an event and tell MLflow of it.

    With MLflow away the event stands, and the next step or reconcile tells of it.

    Raises:
        OtherLedger: The ledger lacks what MLflow was told; nothing was recorded.
        Outage: The ledger did not answer.
    """
    try:
        labels = services.registry.labels(new.model)
    except Outage as error:
        event = services.ledger.append(new)
        log.warning("%s: MLflow does not know of event %s yet: %s", event.model, event.seq, error)
        return event
    _refuse_other_ledger(services, new.model, labels)
    event = services.ledger.append(new)
    try:
        tell(services, event, labels)
    except (Outage, NotFound) as error:
        log.warning("%s: MLflow does not know of event %s yet: %s", event.model, event.seq, error)
    return event


def record_refusal(services: Services, intent: NewEvent, error: PodiumError) -> None:
    """Record a refusal; once per run and reason, however often it is run again."""
    kind = _REFUSALS[intent.event]
    reason = hashlib.sha256(str(error).encode()).hexdigest()[:16]
    refusal = replace(intent, event=kind, reason=str(error), key=f"{kind}:{intent.run}:{reason}")
    record(services, refusal)


def tell(services: Services, event: Event, labels: Labels) -> None:
    """Name an event in the tag of its model, unless the tag names a later one of that model.

    Args:
        services: The registry and the ledger.
        event: The newest one of its model that is known.
        labels: Of that model; what they tell is in the ledger.
    """
    head = read_head(labels.tags.get(Tag.LEDGER_HEAD))
    if (
        head is not None
        and head[0] >= event.seq
        and services.ledger.models_of({head}).get(head) == event.model
    ):
        return
    services.registry.set_model_tag(event.model, Tag.LEDGER_HEAD, write_head(event))
