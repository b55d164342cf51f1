"""Where each model stands now: aliases from the registry, open requests from the ledger."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from podium.errors import NotFound
from podium.ledger import history
from podium.lifecycle.approval import open_requests
from podium.lifecycle.approval_policy import Request
from podium.model_file.loading import load_specs
from podium.model_file.profiles import Profile
from podium.names import Alias, Tag, in_utc, version_name
from podium.registry.client import Version
from podium.services import Services


@dataclass(frozen=True)
class Waiting:
    """A candidate that waits for a person."""

    version: int
    run: str
    expires_at: datetime

    def describe(self) -> str:
        """Say what waits and how long."""
        return f"{version_name(self.version)} waits for approval until {in_utc(self.expires_at)}"


@dataclass(frozen=True)
class ModelStatus:
    """One model's aliases, versions (newest first) and open approval requests.

    Attributes:
        profiles: The newest version of each profile, by the alias that it bears.
        recorded_champion: What the ledger says; where ``champion`` is another one, the model is frozen.
    """

    model: str
    champion: int | None
    recorded_champion: int | None
    candidate: int | None
    previous_champion: int | None
    profiles: Mapping[str, int]
    versions: tuple[Version, ...]
    waiting: tuple[Waiting, ...]

    def needs(self) -> list[str]:
        """Say what waits for people, a line each."""
        frozen = (
            f"frozen: champion moved outside Podium, the ledger says {version_name(self.recorded_champion)}; "
            "settle_champion settles it"
        )
        lines = [] if self.champion == self.recorded_champion else [frozen]
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
            "versions": [_version_as_json(version) for version in self.versions],
            "waiting": [{**asdict(item), "expires_at": item.expires_at.isoformat()} for item in self.waiting],
        }


def model_statuses(services: Services) -> list[ModelStatus]:
    """Return the status of every model that has a model file or a version, in order of names.

    Raises:
        Outage: The registry or the ledger did not answer.
    """
    return [_status(services, model) for model in _known_models(services)]


def known_model(services: Services, model: str) -> str:
    """Return the name if there is such a model.

    Raises:
        NotFound: There is none; names those that there are.
    """
    known = _known_models(services)
    if model not in known:
        raise NotFound(f"no model '{model}'; there are: {', '.join(known) or 'none'}")
    return model


def _known_models(services: Services) -> list[str]:
    return sorted({*load_specs(services.settings.models_dir)[0], *services.ledger.models()})


def _status(services: Services, model: str) -> ModelStatus:
    aliases = services.registry.aliases(model)
    versions = tuple(services.registry.versions(model))
    events = services.ledger.history(model)
    return ModelStatus(
        model=model,
        champion=aliases.get(Alias.CHAMPION),
        recorded_champion=history.champion(events),
        candidate=aliases.get(Alias.CANDIDATE),
        previous_champion=aliases.get(Alias.PREVIOUS_CHAMPION),
        profiles={profile.value: aliases[profile] for profile in Profile if profile in aliases},
        versions=versions,
        waiting=tuple(_waiting(open_requests(events))),
    )


def _waiting(requests: Iterable[Request]) -> Iterable[Waiting]:
    now = datetime.now(UTC)
    return (
        Waiting(request.version, request.run, request.expires_at)
        for request in requests
        if request.expires_at > now
    )


def _version_as_json(version: Version) -> dict[str, Any]:
    return {
        "version": version.number,
        "lifecycle_stage": version.tags.get(Tag.LIFECYCLE_STAGE),
        "validation_status": version.tags.get(Tag.VALIDATION_STATUS),
        "approval_status": version.tags.get(Tag.APPROVAL_STATUS),
        "as_of": version.tags.get(Tag.AS_OF),
        "profile": version.tags.get(Tag.PROFILE),
        "run_id": version.run_id,
        "created_at": version.created_at.isoformat(),
    }
