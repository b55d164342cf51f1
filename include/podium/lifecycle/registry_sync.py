"""Make MLflow's aliases and tags say what the ledger says, for people; nothing decides by them.

The champion alias is not touched here: only ``champion`` and ``reconcile`` move it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from podium.ledger import history
from podium.ledger.events import Event, EventKind
from podium.lifecycle.witness import tell, witnessed
from podium.names import Alias, Tag
from podium.registry.client import Version
from podium.services import Services

# MLflow takes up to 5,000 characters; people read fewer.
_LONGEST_TAG = 1000
_MIRRORED = {
    Tag.LIFECYCLE_STAGE,
    Tag.VALIDATION_STATUS,
    Tag.GATES,
    Tag.GATES_DIGEST,
    Tag.APPROVAL_STATUS,
    Tag.DECIDED_BY,
    Tag.DECISION_REASON,
    Tag.ROLLED_BACK,
    Tag.PROFILE,
}


def mirror(services: Services, model: str, known: Sequence[Event] = ()) -> None:
    """Write what differs; safe to repeat.

    Args:
        services: The registry and the ledger.
        model: The registered model.
        known: The beginning of its history, which need not be read again.

    Raises:
        OtherLedger: The ledger lacks what MLflow was told; nothing was written.
        Outage: A part did not answer; run it again.
    """
    registry = services.registry
    events = [*known, *services.ledger.history(model, after=known[-1].seq if known else 0)]
    # After the history: what others tell meanwhile is no older than what is told here.
    live = witnessed(services, model)
    if not events:
        return
    versions = registry.versions(model)
    wanted = wanted_aliases(events, versions)
    for alias in (alias for alias in Alias if alias is not Alias.CHAMPION):
        if alias in wanted and live.aliases.get(alias) != wanted[alias]:
            registry.set_alias(model, alias, wanted[alias])
        elif alias in live.aliases and alias not in wanted:
            registry.delete_alias(model, alias)
    for version in versions:
        tags = version_tags(events, version.number)
        changed: dict[str, str] = {
            tag: value for tag, value in tags.items() if version.tags.get(tag) != value
        }
        registry.set_tags(model, version.number, changed)
        registry.delete_tags(model, version.number, _MIRRORED & set(version.tags) - set(tags))
    tell(services, events[-1], live)


def wanted_aliases(events: Sequence[Event], versions: Iterable[Version]) -> dict[Alias, int]:
    """Return where each alias must point; the champion's always, the others' only to versions that are there.

    A version that was deleted in MLflow can bear no alias.
    """
    there = {version.number for version in versions}
    return {
        alias: number
        for alias, number in history.aliases(events).items()
        if alias is Alias.CHAMPION or number in there
    }


def version_tags(events: Sequence[Event], version: int) -> dict[Tag, str]:
    """Return the tags that the ledger gives a version."""
    about = [event for event in events if event.version == version]
    tags = {
        Tag.LIFECYCLE_STAGE: history.lifecycle_stage(events, version),
        Tag.VALIDATION_STATUS: "pending",
        Tag.APPROVAL_STATUS: "pending",
    }
    if profile := history.profile_of(events, version):
        tags[Tag.PROFILE] = profile
    for event in about:
        if event.event in history.GATES:
            tags[Tag.VALIDATION_STATUS] = history.GATES[event.event]
            tags[Tag.GATES] = event.reason
            tags[Tag.GATES_DIGEST] = event.details["digest"]
        elif event.event is EventKind.APPROVAL_REQUESTED:
            tags[Tag.APPROVAL_STATUS] = "pending"
        elif event.event in history.DECISIONS:
            tags[Tag.APPROVAL_STATUS] = str(event.event)
            tags[Tag.DECIDED_BY] = event.actor
            tags[Tag.DECISION_REASON] = event.reason
    if away := history.rolled_away(events).get(version):
        tags[Tag.ROLLED_BACK] = f"by {away.actor}: {away.reason}"
    return {tag: value[:_LONGEST_TAG] for tag, value in tags.items()}
