"""The section `notify`: which channels are told of what."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from pydantic import TypeAdapter, ValidationError

from podium.errors import PodiumError
from podium.model_file.types import Name


class Topic(StrEnum):
    """What a channel can be told of."""

    ALL = "all"
    APPROVAL_WANTED = "approval_wanted"
    REMINDER = "reminder"
    ESCALATION = "escalation"
    ANSWER_DID_NOT_COUNT = "answer_did_not_count"
    DECIDED = "decided"
    REFUSED_BY_GATES = "refused_by_gates"
    RUN_FAILED = "run_failed"
    RUN_MISSING = "run_missing"
    CHAMPION_CHANGED = "champion_changed"
    NOT_PROMOTED = "not_promoted"
    ROLLED_BACK = "rolled_back"
    MOVED_OUTSIDE = "moved_outside"
    SETTLED = "settled"
    MONITORING = "monitoring"
    WATCH = "watch"
    REMOVAL_WANTED = "removal_wanted"
    QUARANTINED = "quarantined"
    DELETED = "deleted"
    DAMAGED = "damaged"
    SERVERS_BEHIND = "servers_behind"
    LEDGER_DAMAGED = "ledger_damaged"


Notify = Mapping[Topic, tuple[Name, ...]]

_NOTIFY: TypeAdapter[dict[Topic, tuple[Name, ...]]] = TypeAdapter(dict[Topic, tuple[Name, ...]])


def channels_of(topic: Topic, own: Notify, defaults: Notify) -> tuple[str, ...]:
    """Return the channels that are told of a topic: what is named most closely counts, an empty list too.

    Args:
        topic: What happened.
        own: The model file's section `notify`.
        defaults: Those of the settings, for all models.
    """
    for chosen in (own, defaults):
        for name in (topic, Topic.ALL):
            if name in chosen:
                return tuple(chosen[name])
    return ()


def read_defaults(text: str) -> Notify:
    """Read `PODIUM_NOTIFY`: the section `notify` as JSON, for models that say nothing themselves.

    Raises:
        PodiumError: It is no such JSON; names what is wrong.
    """
    try:
        return _NOTIFY.validate_json(text or "{}")
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(key) for key in first["loc"] if key != "[key]")
        at = f": {place}" if place else ""
        raise PodiumError(
            f'PODIUM_NOTIFY{at}: {first["msg"]}; write such as {{"all": ["team"]}}; '
            f"topics are {', '.join(Topic)}"
        ) from error
