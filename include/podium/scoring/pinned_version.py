"""Which version scores: an alias resolved once for a whole run, and the bytes that were registered."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache

from podium.errors import NotFound, Outage, PodiumError
from podium.ledger import history
from podium.ledger.events import ENTERED, Event
from podium.lifecycle.custody_rules import refuse_out_of_use, refuse_retired
from podium.lifecycle.profile_rules import refuse_alias, refuse_to_serve
from podium.model_file.spec import ModelSpec
from podium.model_file.user_code import import_object
from podium.names import Alias, in_utc, version_name
from podium.registry.example import example_problem
from podium.registry.model_files import load_model
from podium.scoring.scorer import Preparation, Scorer
from podium.services import Services
from podium.versions import manifest_of, verified


@dataclass(frozen=True)
class Pinned:
    """The one version that scores a whole run.

    Attributes:
        model: The registered model.
        version: 1, 2, ...
        digest: Of its manifest: exactly these bytes.
        asked: What was asked for: an alias, or the version itself.
    """

    model: str
    version: int
    digest: str
    asked: str

    @property
    def name(self) -> str:
        """``v3``, as messages show it."""
        return version_name(self.version)


def pin(services: Services, model: str, asked: str, *, allow_rolled_back: bool = False) -> Pinned:
    """Resolve an alias or a version once, for a whole run.

    Args:
        services: The registry and the ledger.
        model: The registered model.
        asked: ``champion``, ``candidate``, ``previous_champion``, or a version such as ``3``.
        allow_rolled_back: Allow a version that a rollback replaced.

    Raises:
        NotFound: The model has no such alias or version.
        BytesChanged: Podium did not register the version, so nobody knows its bytes.
        ProfileOnly: The version was made of toy data.
        Retired: The model was ended.
        OutOfUse: The version is in quarantine, or retention deleted it.
        PodiumError: The alias was moved outside Podium, or the version was rolled away from.
        Outage: A part did not answer, or a promotion is half-way.
    """
    number = _number(asked)
    events = services.ledger.present(model, number)
    if not events:
        known = ", ".join(services.ledger.models()) or "none"
        raise NotFound(f"no version of {model} was ever registered; available: {known}")
    if number is None:
        number = _aliased(services, model, asked)
        events = services.ledger.present(model, number)
    elif history.registration(events, number) is None:
        registered = services.ledger.history(model, kinds=ENTERED)
        there = [event.version for event in registered]
        raise NotFound(f"{model} has no {version_name(number)}; available: {_names(there)}")
    refuse_alias(asked)
    refuse_to_serve(events, number)
    refuse_retired(events)
    refuse_out_of_use(events, number)
    if not allow_rolled_back:
        refuse_rolled_away(events, model, number)
    return Pinned(model, number, manifest_of(events, model, number).digest(), asked)


def refuse_rolled_away(events: Iterable[Event], model: str, number: int) -> None:
    """Refuse a version that was rolled away from.

    Raises:
        PodiumError: It was; says when, by whom and why.
    """
    away = history.rolled_away(events, number)
    if away is not None:
        raise PodiumError(
            f"{model} {version_name(number)} was rolled back on {in_utc(away.at)} by {away.actor}: "
            f"{away.reason}. Allow it with --allow-rolled-back, or in the form of the Dag."
        )


def _number(asked: str) -> int | None:
    text = asked.removeprefix("v")
    return int(text) if text.isdecimal() else None


def _aliased(services: Services, model: str, asked: str) -> int:
    if asked not in tuple(Alias):
        raise NotFound(
            f"'{asked}' is neither an alias nor a version; allowed: {', '.join(Alias)}, or a number"
        )
    live, events = services.registry.aliases(model), services.ledger.present(model)
    recorded, found = history.aliases(events).get(Alias(asked)), live.get(asked)
    champion = live.get(Alias.CHAMPION)
    if history.stopped_move(events, champion) is not None:
        raise Outage(f"{model}: the champion is being moved right now; run it again when that is done")
    if recorded != found or history.outside_move(events) is not None:
        raise PodiumError(
            f"{model}: {asked} is {version_name(found)} in MLflow, and {version_name(recorded)} in the "
            "ledger: it was moved outside Podium, and nothing scores until that is settled (settle_champion; "
            "reconcile resets other aliases). Meanwhile, score with a version by its number."
        )
    if found is None:
        raise NotFound(f"{model} has no {asked}; aliases: {', '.join(sorted(live)) or 'none'}")
    return found


def _names(numbers: Iterable[int | None]) -> str:
    return ", ".join(version_name(number) for number in sorted({one for one in numbers if one})) or "none"


@contextmanager
def loaded(services: Services, spec: ModelSpec, pinned: Pinned) -> Iterator[Scorer]:
    """Hold the pinned version in memory, loaded from bytes that are those that were registered.

    Raises:
        BytesChanged: They are not, or the ledger's manifest is not the one that was pinned.
        PodiumError: It does not predict its example as when it was trained: nothing is written.
        Outage: A part did not answer.
    """
    events = services.ledger.present(pinned.model, pinned.version)
    if manifest_of(events, pinned.model, pinned.version).digest() != pinned.digest:
        raise PodiumError(
            f"{pinned.model} {pinned.name} has changed since this run pinned it; start a new run"
        )
    path = None if spec.scoring is None else spec.scoring.inputs
    with verified(services, events, pinned.model, pinned.version) as (folder, _):
        prepare = None if path is None else Preparation(path, import_object(path))
        model = load_model(folder)
        if problem := example_problem(model, history.example_of(events, pinned.version)):
            raise PodiumError(
                f"{pinned.model} {pinned.name} {problem}; nothing was scored. Name another version "
                "with --version (or in the form), or train again with the present libraries"
            )
        # Some models read their files late.
        yield Scorer(model, spec.labels, prepare, folder)


@contextmanager
def loaded_when_asked(services: Services, spec: ModelSpec, pinned: Pinned) -> Iterator[Callable[[], Scorer]]:
    """Give what loads the pinned version where it is first needed, and holds it until the end: ``loaded``."""
    with ExitStack() as held:
        yield cache(lambda: held.enter_context(loaded(services, spec, pinned)))
