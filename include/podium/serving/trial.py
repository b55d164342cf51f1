"""Two versions beside each other on live requests: the shadow answers nobody, the canary some clients."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from podium.ledger.live_answers import VersionOnTrial
from podium.names import Alias
from podium.services import Services
from podium.serving.batching import Batcher
from podium.serving.follower import Follower
from podium.serving.loaded_version import LoadedVersion, ServedTarget
from podium.serving.recorder import Compared, Recorder, Said
from podium.serving.settings import ServingSettings
from podium.serving.shadow import Answered, Outcome, Shadow

_VERSION = re.compile(r"v([1-9]\d*)")


def share_of(*names: str) -> float:
    """Return a number from 0 to 1 (exclusive), always the same for the same names, even over all names."""
    digest = hashlib.sha256("\0".join(names).encode()).digest()
    # 53 bits, which a float holds: the largest would be rounded to 1.
    return (int.from_bytes(digest[:8]) >> 11) / 2.0**53


def in_canary(model: str, client: str, percent: float) -> bool:
    """Whether the candidate answers a client; whom it answers it also answers at any greater percentage."""
    return share_of(model, client) * 100 < percent


class LiveTrial:
    """The shadow and the canary of one model.

    Args:
        services: The registry and the ledger.
        settings: The server's settings.
        model: The model.
        waits: Says why no version is to be loaded beside the one that serves; "" if one may be.

    Attributes:
        batcher: Asks the candidate for the canary's clients; those of the version that serves wait for no
            slow candidate.
    """

    def __init__(
        self, services: Services, settings: ServingSettings, model: str, waits: Callable[[], str]
    ) -> None:
        follower = partial(_follower, services, settings, model, waits)
        self.batcher = Batcher(model)
        self._model = model
        self._settings = settings
        self._stop = threading.Event()
        self._shadowed = follower(settings.shadow) if settings.shadow else None
        self._canary: Follower | None = None
        if settings.canary:
            shared = self._shadowed if settings.shadow == Alias.CANDIDATE else None
            self._canary = shared or follower(Alias.CANDIDATE)
        shadowed = self._shadowed
        self._shadow = Shadow(model, lambda: shadowed.current, self._compare) if shadowed else None
        self._recorder = Recorder(services, model)

    def start(self, folder: Path) -> None:
        """Begin to follow, to ask the shadow and to store; copies of models are kept in the folder."""
        for follower in {self._shadowed, self._canary}:
            if follower is not None:
                follower.start(self._settings.poll_seconds, self._stop, folder)
        if self._shadow is not None:
            self._shadow.start()
        self._recorder.start()

    def stop(self) -> None:
        """Follow no more; finish and store what is under way."""
        self._stop.set()
        self.batcher.close()
        if self._shadow is not None:
            self._shadow.stop()
        self._recorder.stop()

    def chosen(self, serving: LoadedVersion, client: str) -> LoadedVersion:
        """Return the version that answers a client: the one that serves, or the candidate."""
        candidate = self._candidate_beside(serving)
        if candidate is None or not in_canary(self._model, client, self._settings.canary):
            return serving
        return candidate

    def answered(self, answered: Answered, serving: LoadedVersion) -> None:
        """Mirror and store a request that was answered; returns at once.

        Args:
            answered: The request.
            serving: The version that served when it came, whichever answered it.
        """
        if answered.version is not serving:
            trial = VersionOnTrial(serving.number, answered.version.number)
            self._keep(answered, trial, None, (answered.version, answered.answer))
        elif not self._mirrored(answered):
            self._keep_unpaired(answered)

    def as_json(self) -> dict[str, Any]:
        """Say which versions are beside the one that serves, and what is wrong with them."""
        said: dict[str, Any] = {}
        if self._shadowed is not None:
            said["shadow"] = {**_state(self._shadowed), "share": self._settings.shadow_share}
        if self._canary is not None:
            said["canary"] = {**_state(self._canary), "percent": self._settings.canary}
        return said

    def _candidate_beside(self, serving: LoadedVersion) -> LoadedVersion | None:
        candidate = None if self._canary is None else self._canary.current
        return None if candidate is None or candidate.number == serving.number else candidate

    def _mirrored(self, answered: Answered) -> bool:
        if self._shadow is None:
            return False
        share = share_of("shadow", self._model, answered.request_id)
        return share < self._settings.shadow_share and self._shadow.mirror(answered)

    def _compare(self, answered: Answered, shadow: LoadedVersion, _: Outcome, answer: Any | None) -> None:
        """Store a pair, or where the shadow gave no answer what the canary wants to know."""
        if answer is None:
            self._keep_unpaired(answered)
            return
        trial = VersionOnTrial(answered.version.number, shadow.number)
        self._keep(answered, trial, (answered.version, answered.answer), (shadow, answer))

    def _keep_unpaired(self, answered: Answered) -> None:
        """Store what the version that serves answered, while the candidate answers other clients."""
        candidate = self._candidate_beside(answered.version)
        if candidate is not None:
            trial = VersionOnTrial(answered.version.number, candidate.number)
            self._keep(answered, trial, (answered.version, answered.answer), None)

    def _keep(
        self, answered: Answered, trial: VersionOnTrial, champion: Said | None, candidate: Said | None
    ) -> None:
        self._recorder.keep(
            Compared(answered.request_id, answered.at, answered.rows.count, trial, champion, candidate)
        )


def _follower(
    services: Services, settings: ServingSettings, model: str, waits: Callable[[], str], followed: str
) -> Follower:
    version = _VERSION.fullmatch(followed)
    target = ServedTarget(model, None, int(version[1])) if version else ServedTarget(model, followed)
    return Follower(services, target, settings.max_rows, keeps_last=False, waits=waits)


def _state(follower: Follower) -> dict[str, Any]:
    version = follower.current
    return {
        "follows": str(follower.target),
        "version": None if version is None else version.number,
        "problem": follower.problem or None,
    }
