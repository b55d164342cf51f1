"""Make MLflow's aliases and tags say what the ledger says, for people; nothing decides by them.

The champion alias is not touched here: only ``champion`` and ``reconcile`` move it.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import TYPE_CHECKING

from podium.ledger import history
from podium.ledger.chain import write_head
from podium.ledger.events import Event, EventKind
from podium.ledger.history import Present
from podium.lifecycle.approval_policy import Act, act_of
from podium.lifecycle.custody_rules import retired_problem, use_problem
from podium.lifecycle.witness import tell, witnessed
from podium.names import Alias, Tag
from podium.services import Services

if TYPE_CHECKING:
    from podium.registry.labels import Labels

# MLflow takes up to 5,000 characters; people read fewer.
_LONGEST_TAG = 1000
_LONGEST_NUMBER = 20
# More than one step records.
_NEWEST_EVENTS = 50
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
    Tag.RETENTION,
}


def mirror(services: Services, model: str) -> None:
    """Write what differs of the aliases, and of the tags of versions; safe to repeat under the model's lock.

    The versions are those that bear an alias or are to bear one, and those to which something happened since
    the last time; ``mirror_all`` looks at all.

    Raises:
        OtherLedger: The ledger lacks what MLflow was told; nothing was written.
        Outage: A part did not answer; run it again.
    """
    events = services.ledger.present(model)
    # After the events: what others tell meanwhile is no older than what is told here.
    live = witnessed(services, model)
    if not events:
        return
    named = {
        number
        for event in _new(services, model, live)
        for number in (event.version, event.from_version)
        # Of a version that was only adopted the ledger knows nothing that its tags do not say.
        if number and event.event is not EventKind.ADOPTED
    }
    pointed = {*live.aliases.values(), *history.aliases(events).values()}
    _mirror(services, model, live, sorted(named | pointed))


def mirror_all(services: Services, model: str) -> None:
    """Do the same with all versions that there are, also with those whose tags were edited by hand."""
    live = witnessed(services, model)
    _mirror(services, model, live, [version.number for version in services.registry.versions(model)])


def _mirror(services: Services, model: str, live: Labels, numbers: Sequence[int]) -> None:
    registry, events = services.registry, services.ledger.present(model, *numbers)
    if not events:
        return
    versions = {number: version for number in numbers if (version := registry.find_version(model, number))}
    wanted = wanted_aliases(events, versions)
    for alias in (alias for alias in Alias if alias is not Alias.CHAMPION):
        if alias in wanted and live.aliases.get(alias) != wanted[alias]:
            registry.set_alias(model, alias, wanted[alias])
        # What others set before Podium knew the model is theirs until it is adopted.
        elif alias in live.aliases and alias not in wanted and not history.is_foreign(events):
            registry.delete_alias(model, alias)
    for version in versions.values():
        tags = version_tags(events, version.number)
        changed: dict[str, str] = {
            tag: value for tag, value in tags.items() if version.tags.get(tag) != value
        }
        registry.set_tags(model, version.number, changed)
        registry.delete_tags(model, version.number, _MIRRORED & set(version.tags) - set(tags))
    _mirror_retirement(services, model, events, live)
    tell(services, events[-1], live)
    if _mirrored(live) != events[-1].seq:
        registry.set_model_tag(model, Tag.MIRRORED, str(events[-1].seq))


def _mirror_retirement(services: Services, model: str, events: Present, live: Labels) -> None:
    """Write on the registered model that it was ended; an empty text says that this was undone."""
    said = retired_problem(events)[:_LONGEST_TAG]
    if live.tags.get(Tag.RETIRED, "") != said:
        services.registry.set_model_tag(model, Tag.RETIRED, said)


def is_mirrored(events: Present, live: Labels) -> bool:
    """Whether MLflow says of a model what its present in the ledger says; nothing else is asked."""
    if not events:
        return not live.aliases and Tag.LEDGER_HEAD not in live.tags
    return (
        live.aliases == {str(alias): number for alias, number in history.aliases(events).items()}
        and live.tags.get(Tag.LEDGER_HEAD) == write_head(events[-1])
        and _mirrored(live) == events[-1].seq
    )


def wanted_aliases(events: Sequence[Event], there: Container[int]) -> dict[Alias, int]:
    """Return where each alias must point; the champion's always, the others' only to versions that are there.

    A version that was deleted in MLflow can bear no alias.
    """
    return {
        alias: number
        for alias, number in history.aliases(events).items()
        if alias is Alias.CHAMPION or number in there
    }


def _new(services: Services, model: str, live: Labels) -> list[Event]:
    """Return the events that came since the tags of versions were written.

    An earlier Podium named no event up to which it had, and wrote them all after each step.
    """
    if seq := _mirrored(live):
        return services.ledger.history(model, after=seq)
    return services.ledger.history(model, newest=_NEWEST_EVENTS)


def _mirrored(live: Labels) -> int:
    """Return the number of the event up to which the tags of versions were written, 0 where none is named."""
    seq = live.tags.get(Tag.MIRRORED, "")
    return int(seq) if seq.isascii() and seq.isdigit() and len(seq) < _LONGEST_NUMBER else 0


def version_tags(events: Sequence[Event], version: int) -> dict[Tag, str]:
    """Return the tags that the ledger gives a version."""
    # What is asked and decided about a rollback says nothing of whether the version was approved.
    about = [event for event in events if event.version == version and act_of(event) is not Act.ROLLBACK]
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
    if kept_back := use_problem(events, version):
        tags[Tag.RETENTION] = kept_back
    if away := history.rolled_away(events, version):
        tags[Tag.ROLLED_BACK] = f"by {away.actor}: {away.reason}"
    return {tag: value[:_LONGEST_TAG] for tag, value in tags.items()}
