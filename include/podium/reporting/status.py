"""Where each model stands now: aliases from the registry, open requests from the ledger."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from podium.errors import NotFound, PodiumError
from podium.ledger import history
from podium.ledger.events import ENTERED, Event, EventKind
from podium.ledger.history import Present
from podium.ledger.present import FEW_MOVES
from podium.lifecycle.approval import readable_requests
from podium.lifecycle.approval_policy import Act, Request, removal_name
from podium.lifecycle.custody_rules import retired_problem
from podium.lifecycle.ramped import Ramp, open_ramp
from podium.model_file.loading import load_specs
from podium.model_file.profiles import Profile
from podium.names import Alias, in_utc, version_name
from podium.registry.labels import Labels
from podium.services import Services

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Waiting:
    """A candidate, a rollback to a version, or a removal of old versions: it waits for a person."""

    request: Request

    @property
    def _name(self) -> str:
        match self.request.act:
            case Act.PROMOTION:
                return version_name(self.request.version)
            case Act.ROLLBACK:
                return f"back to {version_name(self.request.version)}"
            case Act.REMOVAL:
                return removal_name(self.request.removes)

    def short(self) -> str:
        """Say so in a table, in UTC, of which the year is not in doubt."""
        return f"{self._name} until {self.request.expires_at.astimezone(UTC):%m-%d %H:%M}"

    def describe(self) -> str:
        """Say what waits and how long."""
        return f"{self._name} waits for approval until {in_utc(self.request.expires_at)}"

    def as_json(self) -> dict[str, Any]:
        """Return it with plain JSON values."""
        return {
            "version": self.request.version,
            "run": self.request.run,
            "expires_at": self.request.expires_at.isoformat(),
            "rolls_back": self.request.act is Act.ROLLBACK,
            "removes": self.request.removes,
        }


@dataclass(frozen=True)
class ModelStatus:
    """One model's aliases, newest version and open approval requests.

    Attributes:
        profiles: The newest version of each profile, by the alias that it bears.
        recorded_champion: What the ledger says; where ``champion`` is another one, the model is frozen.
        retired: Since when and why the model was ended; "" if it goes on.
        damaged: Which files a deletion changed; "" if none.
        unsettled: Why no version has been promoted since a watch window ended; "" if nobody need settle it.
        ramp: The ramp of an approved version, or None.
    """

    model: str
    champion: int | None
    recorded_champion: int | None
    candidate: int | None
    previous_champion: int | None
    profiles: Mapping[str, int]
    newest_version: int | None
    waiting: tuple[Waiting, ...]
    retired: str = ""
    damaged: str = ""
    unsettled: str = ""
    ramp: Ramp | None = None

    @property
    def is_frozen(self) -> bool:
        """Whether the live champion is another one than the recorded one."""
        return self.champion != self.recorded_champion

    def needs(self) -> list[str]:
        """Say what waits for people, a line each."""
        frozen = (
            f"frozen: champion moved outside Podium, the ledger says {version_name(self.recorded_champion)}; "
            "settle_champion settles it"
        )
        lines = [frozen] if self.is_frozen else []
        stopped = str(self.ramp) if self.ramp is not None and self.ramp.stopped else ""
        lines += [said for said in (self.damaged, self.unsettled, self.retired, stopped) if said]
        return [*lines, *(item.describe() for item in self.waiting)]

    def as_json(self) -> dict[str, Any]:
        """Return the status with plain JSON values."""
        return {
            "model": self.model,
            "champion": self.champion,
            "recorded_champion": self.recorded_champion,
            "candidate": self.candidate,
            "previous_champion": self.previous_champion,
            "profiles": dict(self.profiles),
            "newest_version": self.newest_version,
            "retired": self.retired,
            "damaged": self.damaged,
            "unsettled": self.unsettled,
            "ramp": None if self.ramp is None else _ramp_json(self.ramp),
            "waiting": [item.as_json() for item in self.waiting],
        }


def model_statuses(services: Services) -> list[ModelStatus]:
    """Return the status of every model that has a model file or a version, in order of names.

    Raises:
        Outage: The registry or the ledger did not answer.
    """
    labels, nothing = services.all_labels(), Labels({}, {})
    return [
        _status(model, labels.get(model, nothing).aliases, events)
        for model, events in _presents(services).items()
    ]


def recorded_statuses(services: Services) -> list[ModelStatus]:
    """Return what the ledger alone says of every model, with its aliases where they must be.

    Raises:
        Outage: The ledger did not answer.
    """
    return [
        _status(model, {str(alias): version for alias, version in history.aliases(events).items()}, events)
        for model, events in _presents(services).items()
    ]


def _presents(services: Services) -> dict[str, Present]:
    return services.ledger.presents(_known_models(services), moves=FEW_MOVES)


def known_model(services: Services, model: str) -> str:
    """Return the name if there is such a model.

    Raises:
        NotFound: There is none; names those that there are.
    """
    known = _known_models(services)
    if model not in known:
        raise NotFound(f"no model '{model}'; available: {', '.join(known) or 'none'}")
    return model


def _known_models(services: Services) -> list[str]:
    return sorted({*load_specs(services.settings.models_dir)[0], *services.ledger.models()})


def _status(model: str, live: Mapping[str, int], events: Present) -> ModelStatus:
    damaged, froze = history.damage(events), history.watch_freeze(events)
    return ModelStatus(
        model=model,
        champion=live.get(Alias.CHAMPION),
        recorded_champion=history.champion(events),
        candidate=live.get(Alias.CANDIDATE),
        previous_champion=live.get(Alias.PREVIOUS_CHAMPION),
        profiles={profile.value: live[profile] for profile in Profile if profile in live},
        newest_version=_newest_version(events),
        waiting=tuple(_waiting(readable_requests(events))),
        retired=retired_problem(events),
        damaged="" if damaged is None else f"nothing moves: {damaged.reason}",
        unsettled="" if froze is None else _unsettled(froze),
        ramp=_ramp(events),
    )


def _unsettled(froze: Event) -> str:
    return (
        f"no version has been promoted since its watch window ended on {in_utc(froze.at)}, {froze.reason}; "
        "settle_champion settles it"
    )


def _ramp(events: Present) -> Ramp | None:
    """Return the ramp; one whose record cannot be read hides nothing else."""
    try:
        return open_ramp(events)
    except PodiumError as error:
        log.error("%s", error)
        return None


def _ramp_json(ramp: Ramp) -> dict[str, Any]:
    where = {"version": ramp.window.new, "share": ramp.share, "stopped": ramp.stopped}
    return {**where, "sentence": str(ramp)}


def _newest_version(events: Iterable[Event]) -> int | None:
    # Of what is adopted, the champion goes on record first, whatever its number is.
    kinds = (*ENTERED, EventKind.CHAMPION_ADOPTED)
    return max((int(event.version or 0) for event in events if event.event in kinds), default=None)


def _waiting(requests: Iterable[Request]) -> Iterable[Waiting]:
    now = datetime.now(UTC)
    return (Waiting(request) for request in requests if request.expires_at > now)
