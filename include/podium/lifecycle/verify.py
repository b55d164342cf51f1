"""Do the registry's aliases say what the ledger says?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from podium.errors import Outage, PodiumError
from podium.ledger import history
from podium.ledger.chain import read_head
from podium.ledger.history import Present
from podium.lifecycle.edited import edits_of, mending
from podium.lifecycle.registry_sync import wanted_aliases
from podium.names import Alias, Tag, version_name
from podium.services import Services


def told_heads(services: Services, models: Iterable[str]) -> Iterator[tuple[str, int, str]]:
    """Yield the newest event of each model that the registry was told of; see ``lifecycle.registry_sync``."""
    for model, bears in services.registry.labels_of(list(models)).items():
        if head := read_head(bears.tags.get(Tag.LEDGER_HEAD)):
            yield model, *head


def all_differences(services: Services, named: Iterable[str]) -> list[str]:
    """Say what was edited by hand of any model, and where its live aliases are not what the ledger says.

    Args:
        services: The registry and the ledger.
        named: Such as the models that have a model file.

    Raises:
        Outage: The registry or the ledger did not answer.
    """
    models = models_to_compare(services, named)
    edited, aliases = edits_of(services, models), aliases_of(services, models)
    return [
        said
        for model in models
        for said in (*(f"{edit}: {mending(model)}" for edit in edited[model]), *aliases[model])
    ]


def models_to_compare(services: Services, named: Iterable[str]) -> list[str]:
    """Return the models whose aliases must be those of the ledger.

    They are those on record, those that bear a champion alias, whoever set it, and those that are named.

    Args:
        services: The registry and the ledger.
        named: Such as the models that have a model file.
    """
    labels = services.registry.all_labels()
    crowned = {model for model, bears in labels.items() if Alias.CHAMPION in bears.aliases}
    return sorted({*services.ledger.models(), *named, *crowned})


def alias_differences(services: Services, model: str) -> list[str]:
    """Say where the live aliases of a model are not what the ledger says."""
    return aliases_of(services, [model])[model]


def aliases_of(services: Services, models: Sequence[str]) -> dict[str, list[str]]:
    """Say what ``alias_differences`` does of each of these models, by as many requests as for one."""
    presents, labels = services.ledger.presents(models), services.registry.labels_of(models)
    return {
        model: _alias_differences(
            services, model, presents[model], labels[model].aliases if model in labels else {}
        )
        for model in models
    }


def _alias_differences(services: Services, model: str, events: Present, live: Mapping[str, int]) -> list[str]:
    try:
        pointed = history.aliases(events)
        if dict(live) == pointed:
            return []
        there = {number for number in set(pointed.values()) if services.registry.find_version(model, number)}
        wanted = wanted_aliases(events, there)
        stopped = history.stopped_move(events, live.get(Alias.CHAMPION))
    except Outage:
        raise
    except PodiumError as error:
        return [str(error)]
    said = []
    for alias in Alias:
        if wanted.get(alias) == live.get(alias):
            continue
        # What others set before Podium knew the model is theirs; only a champion must be adopted.
        if alias is not Alias.CHAMPION and history.is_foreign(events):
            continue
        why = ""
        if alias is Alias.CHAMPION and stopped is not None:
            why = f" (run {stopped.run} was stopped while moving it; its retry or reconcile finishes that)"
        said.append(
            f"{model}: alias {alias} is {version_name(live.get(alias))}, "
            f"the ledger says {version_name(wanted.get(alias))}{why}"
        )
    return said
