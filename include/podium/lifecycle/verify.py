"""Do the registry's aliases say what the ledger says?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from podium.errors import Outage, PodiumError
from podium.ledger import history
from podium.ledger.chain import read_head
from podium.lifecycle.edited import edits, mending
from podium.lifecycle.registry_sync import wanted_aliases
from podium.names import Alias, Tag, version_name
from podium.services import Services


def told_heads(services: Services, models: Iterable[str]) -> Iterator[tuple[str, int, str]]:
    """Yield the newest event of each model that the registry was told of; see ``lifecycle.registry_sync``."""
    for model in models:
        head = read_head(services.registry.labels(model).tags.get(Tag.LEDGER_HEAD))
        if head is not None:
            yield model, *head


def all_differences(services: Services, named: Iterable[str]) -> list[str]:
    """Say what was edited by hand of any model, and where its live aliases are not what the ledger says.

    Args:
        services: The registry and the ledger.
        named: Such as the models that have a model file.

    Raises:
        Outage: The registry or the ledger did not answer.
    """
    said = []
    for model in models_to_compare(services, named):
        try:
            said += [
                f"{edit}: {mending(model)}" for edit in edits(services, model, services.ledger.history(model))
            ]
            said += alias_differences(services, model)
        except Outage:
            raise
        except PodiumError as error:
            said.append(str(error))
    return said


def models_to_compare(services: Services, named: Iterable[str]) -> list[str]:
    """Return the models whose aliases must be those of the ledger.

    They are those on record, those that bear a champion alias, whoever set it, and those that are named.

    Args:
        services: The registry and the ledger.
        named: Such as the models that have a model file.
    """
    crowned = {model for model in services.registry.models() if services.registry.champion(model) is not None}
    return sorted({*services.ledger.models(), *named, *crowned})


def alias_differences(services: Services, model: str) -> list[str]:
    """Say where the live aliases of a model are not what the ledger says."""
    events = services.ledger.history(model)
    live = services.registry.aliases(model)
    wanted = wanted_aliases(events, services.registry.versions(model) if live or events else [])
    stopped = history.stopped_move(events, live.get(Alias.CHAMPION))
    said = []
    for alias in Alias:
        if wanted.get(alias) == live.get(alias):
            continue
        why = ""
        if alias is Alias.CHAMPION and stopped is not None:
            why = f" (run {stopped.run} was stopped while moving it; its retry or reconcile finishes that)"
        said.append(
            f"{model}: alias {alias} is {version_name(live.get(alias))}, "
            f"the ledger says {version_name(wanted.get(alias))}{why}"
        )
    return said
