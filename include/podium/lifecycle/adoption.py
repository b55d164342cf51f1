"""What a registry had before Podium: its versions, and which is champion. Nothing is written here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from podium.errors import CannotAdopt, NotFound, PodiumError
from podium.ledger import history
from podium.ledger.events import ENTERED, Event, EventKind
from podium.lifecycle.champion import refuse_frozen
from podium.lifecycle.custody_rules import refuse_out_of_use
from podium.model_file.spec import ModelSpec
from podium.names import Alias, version_name
from podium.registry.client import RunFacts, Version
from podium.registry.manifest import Manifest, check_same, downloaded, read_manifest
from podium.registry.model_files import read_signature
from podium.services import Services
from podium.training.taken_example import refuse_pickles, take_example

# Of these MLflow reads from the store at once; more do not make it faster.
_AT_ONCE = 4
# Podium puts these where its own runs say, so that nobody else's may be there.
_OWN = (Alias.CANDIDATE, Alias.SMOKE, Alias.CI_SMOKE)


@dataclass(frozen=True)
class Plan:
    """What is to be adopted.

    Attributes:
        model: The registered model.
        versions: Those that the ledger does not have yet, oldest first.
        champion: Who is to be champion; None: nobody.
        former: The version that Podium is to be able to go back to from there; None: none.
        recorded: The ledger has the champion already.
        alias: The alias `champion` is at it already.
        runs: What MLflow knows of the runs of the versions.
    """

    model: str
    versions: Sequence[Version]
    champion: int | None
    former: int | None
    recorded: bool
    alias: bool
    runs: Mapping[str, RunFacts]

    @property
    def must_prove(self) -> list[int]:
        """The versions that may have to serve."""
        return [number for number in (self.champion, self.former) if number is not None]


@dataclass(frozen=True)
class Seen:
    """One version whose bytes were read.

    Attributes:
        version: The version.
        details: What goes on record of it; empty if it cannot be adopted.
        notes: What it lacks, a sentence each.
        size: Bytes of its files.
        left_out: Why it cannot be adopted; "" if it can.
    """

    version: Version
    details: Mapping[str, Any] = field(default_factory=dict)
    notes: Sequence[str] = ()
    size: int = 0
    left_out: str = ""


def plan_adoption(services: Services, spec: ModelSpec, champion: str | None, stage: str | None) -> Plan:
    """Look at what MLflow has of a model, and find the champion in it.

    Args:
        services: The registry and the ledger.
        spec: The model file.
        champion: An alias or a number; None: the alias `champion`, if there is one.
        stage: Instead of it the stage whose version is champion, such as ``Production``.

    Raises:
        NotFound: There is no such model, alias, stage or version.
        CannotAdopt: Another version is champion, or an alias that Podium itself sets is set; says what to do.
        Frozen: The ledger has a champion, and it was moved outside Podium.
        OutOfUse: The champion to adopt is in quarantine.
        Outage: A part did not answer.
    """
    model = spec.name
    versions = {version.number: version for version in services.registry.versions(model)}
    if not versions:
        raise NotFound(
            f"{model}: MLflow has no version of it; the name in the model file must be the one there"
        )
    live, events = services.registry.aliases(model), services.ledger.present(model)
    recorded = history.champion(events)
    if recorded is not None:
        refuse_frozen(model, events, live.get(Alias.CHAMPION))
    _refuse_own_aliases(model, live, history.aliases(events))
    chosen = _chosen(model, versions, live, champion, stage)
    if chosen is None:
        chosen = recorded
    if recorded is not None and chosen != recorded:
        raise CannotAdopt(
            f"{model}: its champion is {version_name(recorded)}, which Podium has on record, and adopting "
            f"moves nothing. For {version_name(chosen)}, move the alias champion in MLflow, wait until "
            "reconcile has found that, and let settle_champion accept it"
        )
    if recorded is None and chosen is not None and live.get(Alias.CHAMPION) not in (None, chosen):
        raise CannotAdopt(
            f"{model}: the alias champion is at {version_name(live[Alias.CHAMPION])} in MLflow, not at "
            f"{version_name(chosen)}; adopting moves nothing. Leave the champion out, or move the alias first"
        )
    if chosen is not None:
        refuse_out_of_use(services.ledger.present(model, chosen), chosen)
    former = live.get(Alias.PREVIOUS_CHAMPION) if recorded is None and chosen is not None else None
    known = _entered(services, model)
    to_enter = [versions[number] for number in sorted(set(versions) - known)]
    proves = chosen if chosen is not None and _lacks_example(services, model, chosen) else None
    if proves is not None and proves in known:
        to_enter.insert(0, versions[proves])
    return Plan(
        model=model,
        versions=to_enter,
        champion=chosen,
        former=None if former == chosen else former,
        recorded=recorded is not None,
        alias=live.get(Alias.CHAMPION) == chosen,
        runs=services.registry.run_facts(version.run_id for version in to_enter if version.run_id),
    )


def read_versions(
    services: Services, spec: ModelSpec, plan: Plan, tell: Callable[[int, int, int], None]
) -> Iterator[Seen]:
    """Read the bytes of each version once, those that must prove themselves first.

    Args:
        services: The registry and the ledger.
        spec: The model file.
        plan: What is to be adopted.
        tell: Told after each how many versions of how many were read, and how many bytes.

    Raises:
        CannotAdopt: One that must prove itself cannot, or one is a pickle that nobody trusts.
        BytesChanged: The files of one that is on record are not those that were.
        Outage: A part did not answer.
    """
    done = read = 0
    by_number = {version.number: version for version in plan.versions}
    first = [by_number[number] for number in plan.must_prove if number in by_number]
    rest = [version for version in plan.versions if version.number not in plan.must_prove]

    def look(version: Version) -> Seen:
        return _look(services, spec, plan, version)

    with ThreadPoolExecutor(_AT_ONCE, "adopt") as pool:
        # What must prove itself comes alone and first: nothing else is begun where it cannot.
        for seen in chain(map(look, first), _of_pool(pool, look, rest)):
            done, read = done + 1, read + seen.size
            tell(done, len(plan.versions), read)
            yield seen


def _of_pool(
    pool: ThreadPoolExecutor, look: Callable[[Version], Seen], versions: Sequence[Version]
) -> Iterator[Seen]:
    yield from pool.map(look, versions)


def _look(services: Services, spec: ModelSpec, plan: Plan, version: Version) -> Seen:
    name, proves = f"{plan.model} {version_name(version.number)}", version.number in plan.must_prove
    try:
        with downloaded(services.registry, plan.model, version.number) as folder:
            manifest = read_manifest(folder)
            if not any(file.path == "MLmodel" for file in manifest.files):
                raise NotFound(f"{name}: the store has no MLmodel of it: its files are gone")
            refuse_pickles(spec, folder, name)
            details = {
                **_known_to_mlflow(plan, version),
                "manifest": manifest.as_json(),
                "manifest_digest": manifest.digest(),
                "signature": read_signature(folder),
            }
            events = services.ledger.present(plan.model, version.number)
            if (registered := history.registration(events, version.number)) is not None:
                check_same(Manifest.from_json(registered.details["manifest"]), folder, name)
            notes: Sequence[str] = ()
            if proves:
                taken = take_example(spec, services.settings.home, folder, name)
                details[history.EXAMPLE], notes = dict(taken.example), taken.notes
    except NotFound as error:
        if proves:
            raise CannotAdopt(
                f"{error}; it cannot be champion. Name another one, or restore its files"
            ) from error
        return Seen(version, left_out=str(error))
    size = sum(file.size for file in manifest.files)
    return Seen(version, details, [f"{name}: {note}" for note in notes], size)


def _known_to_mlflow(plan: Plan, version: Version) -> dict[str, Any]:
    facts = plan.runs.get(version.run_id)
    known: dict[str, Any] = {
        "created_at": version.created_at.isoformat(),
        "created_by": version.created_by or (facts.user if facts else "") or "unknown",
        "source": version.source,
        "run_name": facts.name if facts else "",
        "stage": version.stage,
        "run_deleted": facts.deleted if facts else False,
    }
    # A run that is gone for good can be neither restored nor compared with.
    run = {"mlflow_run": version.run_id} if facts is not None else {}
    return {**run, **{name: value for name, value in known.items() if value}}


def _chosen(
    model: str,
    versions: Mapping[int, Version],
    live: Mapping[str, int],
    champion: str | None,
    stage: str | None,
) -> int | None:
    if champion and stage:
        raise PodiumError(f"{model}: both a champion and a stage are named; give one of them")
    if stage:
        there = [number for number, version in versions.items() if version.stage.lower() == stage.lower()]
        if len(there) != 1:
            stages = ", ".join(sorted({version.stage for version in versions.values() if version.stage}))
            found = ", ".join(map(version_name, sorted(there))) or f"none; stages: {stages or 'none'}"
            raise NotFound(
                f"{model}: not one version is in the stage {stage}: {found}. Name it by its number"
            )
        return there[0]
    if not champion:
        return live.get(Alias.CHAMPION)
    text = champion.removeprefix("v")
    number = int(text) if text.isdecimal() else live.get(champion)
    if number not in versions:
        aliases = ", ".join(f"{alias} (v{of})" for alias, of in sorted(live.items())) or "none"
        raise NotFound(f"{model}: '{champion}' is neither a version nor an alias; aliases: {aliases}")
    return number


def _refuse_own_aliases(model: str, live: Mapping[str, int], recorded: Mapping[Alias, int]) -> None:
    for alias in _OWN:
        if alias in live and recorded.get(alias) != live[alias]:
            raise CannotAdopt(
                f"{model}: the alias {alias} is at {version_name(live[alias])}, and Podium sets that alias "
                "itself, by its own runs. Give it another name in MLflow first; all other aliases stay"
            )


def _entered(services: Services, model: str) -> set[int]:
    kinds = [*ENTERED, EventKind.OUTSIDE_MOVE_ACCEPTED]
    return {
        int(event.version or 0)
        for event in services.ledger.history(model, kinds=kinds)
        if "manifest" in event.details
    }


def _lacks_example(services: Services, model: str, number: int) -> bool:
    events: Sequence[Event] = services.ledger.present(model, number)
    registered = history.registration(events, number)
    made_here = registered is not None and registered.event is EventKind.REGISTERED
    return not made_here and history.example_of(events, number) is None
