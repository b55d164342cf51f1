"""What somebody changed by hand in MLflow, past aliases: seen against the ledger, and mended by it.

A registered model that was renamed, deleted or made again, a version that is gone, an experiment that was
deleted. MLflow numbers the versions of a model that is made again from 1, so a number alone proves nothing:
a version is the ledger's if its training run is.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple, NoReturn

from podium.errors import EditedByHand, NotFound, NothingToDo
from podium.ledger import history
from podium.ledger.custody import deleted_versions
from podium.ledger.events import ENTERED, Event
from podium.lifecycle.registry_sync import mirror_all
from podium.lifecycle.witness import witnessed
from podium.names import Alias, Tag, version_name
from podium.registry.client import Registry
from podium.registry.manifest import Manifest, check_same, downloaded
from podium.services import Services
from podium.training.run import read_trained_run

log = logging.getLogger(__name__)

# People go back to the newest ones.
_FORMER = 10
_MOVES = 3 * _FORMER


class _Seen(NamedTuple):
    """What is on record of some versions of a model, and what MLflow has.

    Attributes:
        is_there: There is a registered model of this name.
        recorded: The training run of each version by the ledger.
        there: That of each version that MLflow has.
    """

    is_there: bool
    recorded: dict[int, str]
    there: dict[int, str]

    def others(self) -> list[str]:
        """Say which numbers are of other runs than those on record."""
        return [
            f"{version_name(number)} is of run {run or 'none'}, by the ledger of run {self.recorded[number]}"
            for number, run in sorted(self.there.items())
            if self.recorded.get(number, run) != run
        ]


def edits(services: Services, model: str) -> list[str]:
    """Say what was edited by hand of a registered model, its versions and its experiment; empty if nothing.

    Looked at are the newest version, the champion, the candidate and the newest former champions.

    Raises:
        Outage: MLflow did not answer.
    """
    return edits_of(services, [model])[model]


def edits_of(services: Services, models: Sequence[str]) -> dict[str, list[str]]:
    """Say what ``edits`` does of each of these models, by as many requests as for one, pages aside."""
    presents = services.ledger.presents(models, moves=_MOVES)
    newest = {model: found for model in models if (found := _newest_registered(presents[model]))}
    gone = deleted_versions(services.ledger, list(newest))
    needed = {
        model: {
            number: what for number, what in _needed(presents[model]).items() if (model, number) not in gone
        }
        for model in newest
    }
    seen = _look(services, {model: {int(newest[model].version or 0), *needed[model]} for model in newest})
    deleted = services.registry.deleted_runs(
        run for model in newest for run in _runs_of(seen[model], needed[model]).values()
    )
    said: dict[str, list[str]] = {model: [] for model in models}
    for model, one in seen.items():
        said[model] = _gone_or_made_again(services, model, one) or [
            f"{model} {version_name(number)}, {what}, was deleted in MLflow"
            for number, what in needed[model].items()
            if number not in one.there
        ]
        runs = _runs_of(one, needed[model])
        said[model] += _deleted_runs(model, sorted(number for number in runs if runs[number] in deleted))
    return said


def _runs_of(seen: _Seen, numbers: Iterable[int]) -> dict[int, str]:
    return {number: seen.recorded[number] for number in numbers if number in seen.recorded}


def _look(services: Services, numbers: Mapping[str, set[int]]) -> dict[str, _Seen]:
    """Look at versions of models, and at the newest one of each that MLflow has."""
    labels = services.registry.labels_of(numbers)
    newest = {(model, bears.newest[0]): bears.newest[1] for model, bears in labels.items() if bears.newest}
    asked = {(model, number) for model in numbers for number in numbers[model]} | set(newest)
    recorded = services.ledger.training_runs(asked)
    there = services.registry.versions_of_runs(numbers, recorded.values()) | newest
    for model, number in sorted(asked - set(there)):
        # Deleted, or of another run: few are.
        if model in labels and (version := services.registry.find_version(model, number)):
            there[model, number] = version.run_id
    return {
        model: _Seen(
            model in labels,
            {number: run for (name, number), run in recorded.items() if name == model},
            {number: there[name, number] for name, number in asked & set(there) if name == model},
        )
        for model in numbers
    }


def gone_or_made_again(services: Services, model: str) -> list[str]:
    """Say that a registered model was renamed, deleted or made again; empty where it is the ledger's.

    The newest version that the ledger has, and the newest that MLflow has, must be of the runs on record.

    Raises:
        Outage: MLflow did not answer.
    """
    newest = _newest_registered(services.ledger.present(model))
    if newest is None:
        return []
    return _gone_or_made_again(services, model, _look(services, {model: {int(newest.version or 0)}})[model])


def _gone_or_made_again(services: Services, model: str, seen: _Seen) -> list[str]:
    if not seen.is_there:
        renamed = _renamed_to(services, model)
        how = "was deleted" if renamed is None else f"was renamed to {renamed}"
        count = len(services.ledger.history(model, kinds=ENTERED))
        return [f"{model}: the registered model {how} in MLflow; the ledger has {count} versions of it"]
    if others := seen.others():
        return [f"{model}: the registered model was made again in MLflow: {', '.join(others)}"]
    return []


def mending(model: str) -> str:
    """Return the command that mends what ``edits`` says."""
    return f"`podium mend {model}` restores the state of the ledger"


def refuse_taken_numbers(services: Services, model: str) -> None:
    """Refuse to register a version where its number would be, or is, that of another one on record.

    Raises:
        EditedByHand: The registered model was renamed, deleted or made again.
    """
    if said := gone_or_made_again(services, model):
        raise EditedByHand(
            f"{'; '.join(said)}. A new version would get a number that the ledger already uses. Nothing was "
            f"registered: {mending(model)}"
        )


def refuse_number(registered: Event) -> NoReturn:
    """Refuse a version that MLflow gave a number which the ledger has.

    Raises:
        EditedByHand: Always.
    """
    raise EditedByHand(
        f"{registered.model}: MLflow gave the new version the number {registered.version}, which the ledger "
        f"already has for run {registered.details['mlflow_run']}: the registered model was created again. "
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
        if not edits(services, model):
            raise NothingToDo(f"{model}: nothing of it was edited by hand in MLflow")
        done = _restored(services, model, events)
        renamed = _renamed_to(services, model)
        if renamed is not None:
            services.registry.rename(renamed, model)
            done.append(f"the registered model {renamed} is called {model} again")
        if edits(services, model):
            witnessed(services, model)
            done += _made_anew(services, model, events)
        mirror_all(services, model)
    return done


def _runs(events: Sequence[Event]) -> dict[int, str]:
    """Return the training run of each version that the ledger registered."""
    return {
        int(event.version or 0): str(event.details["mlflow_run"])
        for event in events
        if event.event in ENTERED and "mlflow_run" in event.details
    }


def _newest_registered(events: Sequence[Event]) -> Event | None:
    found = [event for event in events if event.event in ENTERED]
    return found[-1] if found and "mlflow_run" in found[-1].details else None


def _needed(events: Sequence[Event]) -> dict[int, str]:
    """Return the versions that may have to serve, and what each is."""
    needed = dict.fromkeys(history.former_champions(events)[:_FORMER], "a former champion")
    champion, candidate = history.champion(events), history.candidate(events)
    for number, what in ((candidate, "the candidate"), (champion, "the champion")):
        if number is not None:
            needed[number] = what
    return needed


def _renamed_to(services: Services, model: str) -> str | None:
    """Return the registered model that has this one's versions, where none has its name."""
    if services.registry.exists(model):
        return None
    runs = _runs(services.ledger.history(model, kinds=ENTERED))
    for other in services.registry.models():
        versions = services.registry.versions(other)
        if versions and all(runs.get(version.number) == version.run_id for version in versions):
            return other
    return None


def _deleted_runs(model: str, numbers: Sequence[int]) -> list[str]:
    if not numbers:
        return []
    return [
        f"{model}: the experiment or training run of {', '.join(map(version_name, numbers))} was deleted in "
        "MLflow; the next `mlflow gc` removes the files"
    ]


def _restored(services: Services, model: str, events: Sequence[Event]) -> list[str]:
    runs = _runs(events)
    deleted = {number for _, number in deleted_versions(services.ledger, [model])}
    restored = [
        number
        for number in sorted(set(_needed(events)) - deleted)
        if number in runs and services.registry.restore(runs[number])
    ]
    if not restored:
        return []
    return [f"{model}: the training runs of {', '.join(map(version_name, restored))} are restored"]


def _made_anew(services: Services, model: str, events: Sequence[Event]) -> list[str]:
    registry, runs = services.registry, _runs(events)
    beside = f"{model}-mended"
    registry.delete_model(beside)  # of an earlier try
    deleted = {number for _, number in deleted_versions(services.ledger, [model])}
    kept, champion = _kept(services, model, events) - deleted, history.champion(events)
    there = {number for number in kept & set(runs) if registry.made_model(runs[number])}
    if not there or champion not in (None, *there):
        raise NotFound(
            f"{model}: the training run of champion {version_name(champion)} is gone from MLflow, so the "
            "version cannot be restored: restore MLflow from a backup"
        )
    _fill(registry, beside, events, there)
    if champion is not None:
        _crown(registry, beside, events, champion)
    done = [f"{model} is created again, with the versions of the ledger", *_put_aside(registry, model)]
    registry.rename(beside, model)
    if gone := sorted((kept & set(runs)) - there):
        done.append(f"lost for good, with their training runs: {', '.join(map(version_name, gone))}")
    return done


def _fill(registry: Registry, beside: str, events: Sequence[Event], there: Collection[int]) -> None:
    """Make the versions again whose training runs are there, each with its number."""
    runs = _runs(events)
    for number in range(1, max(runs) + 1):
        if number not in there:
            # MLflow counts on from a version that was deleted, so that the next one gets its own number.
            registry.delete_version(beside, registry.add_version(beside, runs[min(there)], {}))
            continue
        registered = history.registration(events, number)
        tags = dict(read_trained_run(registry, runs[number]).tags)
        if registered is not None:
            tags[str(Tag.MANIFEST_DIGEST)] = registered.details["manifest_digest"]
        registry.add_version(beside, runs[number], tags)


def _crown(registry: Registry, beside: str, events: Sequence[Event], champion: int) -> None:
    """Set the alias of the champion, if its files are those that were registered."""
    registered = history.registration(events, champion)
    manifest = Manifest.from_json(registered.details["manifest"] if registered else [])
    with downloaded(registry, beside, champion, manifest) as folder:
        check_same(manifest, folder, f"{events[-1].model} {version_name(champion)}")
    registry.set_alias(beside, Alias.CHAMPION, champion)


def _put_aside(registry: Registry, model: str) -> list[str]:
    """Give a registered model that was edited another name; return what was done."""
    if not registry.exists(model):
        return []
    aside = f"{model}-edited-{datetime.now(UTC):%Y%m%d-%H%M%S}"
    # Else the aliases would go along, and there would be a champion that the ledger does not know.
    for alias in Alias:
        if alias in registry.aliases(model):
            registry.delete_alias(model, alias)
    registry.rename(model, aside)
    return [f"the old one is called {aside} now; delete it when nobody needs it"]


def _kept(services: Services, model: str, events: Sequence[Event]) -> set[int]:
    """Return the versions to make again: all of a model that is gone, else those that are there or needed."""
    runs = _runs(events)
    if gone_or_made_again(services, model):
        return set(runs)
    return {version.number for version in services.registry.versions(model)} | set(_needed(events))
