"""What somebody changed by hand in MLflow, past aliases: seen against the ledger, and mended by it.

A registered model that was renamed, deleted or made again, a version that is gone, an experiment that was
deleted. MLflow numbers the versions of a model that is made again from 1, so a number alone proves nothing:
a version is the ledger's if its training run is.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NoReturn

from podium.errors import EditedByHand, NotFound, NothingToDo
from podium.ledger import history
from podium.ledger.events import Event, EventKind
from podium.lifecycle.registry_sync import mirror
from podium.lifecycle.witness import witnessed
from podium.names import Alias, Tag, version_name
from podium.registry.manifest import Manifest, check_same, downloaded
from podium.services import Services
from podium.training.run import read_trained_run

log = logging.getLogger(__name__)


def edits(services: Services, model: str, events: Sequence[Event]) -> list[str]:
    """Say what was edited by hand of a registered model, its versions and its experiment; empty if nothing.

    Raises:
        Outage: MLflow did not answer.
    """
    if not _runs(events):
        return []
    said = _gone_or_made_again(services, model, events)
    if not said:
        there = {version.number for version in services.registry.versions(model)}
        said = [
            f"{model} {version_name(number)}, {what}, was deleted in MLflow"
            for number, what in _needed(events).items()
            if number not in there
        ]
    return said + _deleted_runs(services, model, events)


def mending(model: str) -> str:
    """Return the command that mends what ``edits`` says."""
    return f"`podium mend {model}` puts back what the ledger says"


def refuse_taken_numbers(services: Services, model: str, events: Sequence[Event]) -> None:
    """Refuse to register a version where its number would be, or is, that of another one on record.

    Raises:
        EditedByHand: The registered model was renamed, deleted or made again.
    """
    if said := _gone_or_made_again(services, model, events):
        raise EditedByHand(
            f"{'; '.join(said)}. A version that is registered now would get a number that the ledger has "
            f"already. Nothing was registered: {mending(model)}"
        )


def refuse_number(registered: Event) -> NoReturn:
    """Refuse a version that MLflow gave a number which the ledger has.

    Raises:
        EditedByHand: Always.
    """
    raise EditedByHand(
        f"{registered.model}: MLflow gave the new version the number {registered.version}, which the ledger "
        f"has already, of run {registered.details['mlflow_run']}: the registered model was made again. "
        f"Nothing was registered: {mending(registered.model)}"
    )


def mend(services: Services, model: str) -> list[str]:
    """Put back what was edited by hand; what stands in the way is renamed, not deleted.

    Experiment and runs are restored, a renamed model gets its name back. Else the model is made anew beside
    the one that is there, with the ledger's numbers, each version from its training run; when the champion's
    files are proved to be those that were registered, it takes the name. Run it again where it was stopped.

    Returns:
        What was done.

    Raises:
        NothingToDo: Nothing was edited.
        BytesChanged: The champion's files are not those that were registered.
        NotFound: The champion's training run is gone: restore MLflow from a backup.
        Outage: A part did not answer; run it again.
    """
    with services.ledger.lock(model):
        events = services.ledger.history(model)
        if not edits(services, model, events):
            raise NothingToDo(f"{model}: nothing of it was edited by hand in MLflow")
        done = _restored(services, model, events)
        renamed = _renamed_to(services, model, events)
        if renamed is not None:
            services.registry.rename(renamed, model)
            done.append(f"the registered model {renamed} is called {model} again")
        if edits(services, model, events):
            witnessed(services, model)
            done += _made_anew(services, model, events)
        mirror(services, model, events)
    return done


def _runs(events: Sequence[Event]) -> dict[int, str]:
    """Return the training run of each version that the ledger registered."""
    return {
        int(event.version or 0): str(event.details["mlflow_run"])
        for event in events
        if event.event is EventKind.REGISTERED and "mlflow_run" in event.details
    }


def _needed(events: Sequence[Event]) -> dict[int, str]:
    """Return the versions that may have to serve, and what each is."""
    needed = dict.fromkeys(history.former_champions(events), "a former champion")
    champion, candidate = history.champion(events), history.candidate(events)
    for number, what in ((candidate, "the candidate"), (champion, "the champion")):
        if number is not None:
            needed[number] = what
    return needed


def _gone_or_made_again(services: Services, model: str, events: Sequence[Event]) -> list[str]:
    runs = _runs(events)
    if not runs:
        return []
    if not services.registry.exists(model):
        renamed = _renamed_to(services, model, events)
        how = "was deleted" if renamed is None else f"was renamed to {renamed}"
        return [f"{model}: the registered model {how} in MLflow; the ledger has {len(runs)} versions of it"]
    others = [
        f"{version_name(version.number)} is of run {version.run_id or 'none'}, by the ledger of run "
        f"{runs[version.number]}"
        for version in services.registry.versions(model)
        if runs.get(version.number, version.run_id) != version.run_id
    ]
    if not others:
        return []
    return [f"{model}: the registered model was made again in MLflow: {', '.join(sorted(others))}"]


def _renamed_to(services: Services, model: str, events: Sequence[Event]) -> str | None:
    """Return the registered model that has this one's versions, where none has its name."""
    if services.registry.exists(model):
        return None
    runs = _runs(events)
    for other in services.registry.models():
        versions = services.registry.versions(other)
        if versions and all(runs.get(version.number) == version.run_id for version in versions):
            return other
    return None


def _deleted_runs(services: Services, model: str, events: Sequence[Event]) -> list[str]:
    runs = _runs(events)
    deleted = [
        version_name(number)
        for number in sorted(_needed(events))
        if number in runs and services.registry.is_deleted(runs[number])
    ]
    if not deleted:
        return []
    return [
        f"{model}: the experiment or training run of {', '.join(deleted)} was deleted in MLflow; the next "
        "`mlflow gc` removes the files"
    ]


def _restored(services: Services, model: str, events: Sequence[Event]) -> list[str]:
    runs = _runs(events)
    restored = [
        number
        for number in sorted(_needed(events))
        if number in runs and services.registry.restore(runs[number])
    ]
    if not restored:
        return []
    return [f"{model}: the training runs of {', '.join(map(version_name, restored))} are restored"]


def _made_anew(services: Services, model: str, events: Sequence[Event]) -> list[str]:
    registry, runs = services.registry, _runs(events)
    beside = f"{model}-mended"
    registry.delete_model(beside)  # of an earlier try
    kept, champion = _kept(services, model, events), history.champion(events)
    there = {number for number in kept & set(runs) if registry.made_model(runs[number])}
    if not there or champion not in (None, *there):
        raise NotFound(
            f"{model}: the training run of champion {version_name(champion)} is gone from MLflow, so that it "
            "cannot be made again: restore MLflow from a backup"
        )
    for number in range(1, max(runs) + 1):
        if number not in there:
            # MLflow counts on from a version that was deleted, so that the next one gets its own number.
            registry.delete_version(beside, registry.add_version(beside, runs[min(there)], {}))
            continue
        source = runs[number]
        registered = history.registration(events, number)
        tags = dict(read_trained_run(registry, source).tags)
        if registered is not None:
            tags[str(Tag.MANIFEST_DIGEST)] = registered.details["manifest_digest"]
        registry.add_version(beside, source, tags)
    if champion is not None:
        registered = history.registration(events, champion)
        manifest = Manifest.from_json(registered.details["manifest"] if registered else [])
        with downloaded(registry, beside, champion, manifest) as folder:
            check_same(manifest, folder, f"{model} {version_name(champion)}")
        registry.set_alias(beside, Alias.CHAMPION, champion)
    done = []
    if registry.exists(model):
        aside = f"{model}-edited-{datetime.now(UTC):%Y%m%d-%H%M%S}"
        # Else the aliases would go along, and there would be a champion that the ledger does not know.
        for alias in Alias:
            if alias in registry.aliases(model):
                registry.delete_alias(model, alias)
        registry.rename(model, aside)
        done.append(f"what was there is called {aside} now; delete it when nobody needs it")
    registry.rename(beside, model)
    done.insert(0, f"{model} is made anew, with the versions of the ledger")
    if gone := sorted((kept & set(runs)) - there):
        done.append(f"lost for good, with their training runs: {', '.join(map(version_name, gone))}")
    return done


def _kept(services: Services, model: str, events: Sequence[Event]) -> set[int]:
    """Return the versions to make again: all of a model that is gone, else those that are there or needed."""
    runs = _runs(events)
    if _gone_or_made_again(services, model, events):
        return set(runs)
    return {version.number for version in services.registry.versions(model)} | set(_needed(events))
