"""One model of a server: what it follows, and how its requests are answered."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from podium.errors import NotLoaded, RequestRefused, TooBusy
from podium.names import Alias, version_name
from podium.services import Services
from podium.serving import instruments
from podium.serving.batching import Batcher
from podium.serving.counting import Counting
from podium.serving.follower import Follower
from podium.serving.http import Bodies
from podium.serving.loaded_version import LoadedVersion, ServedTarget
from podium.serving.requests import Body, Rows
from podium.serving.settings import ServingSettings
from podium.serving.shadow import Answered
from podium.serving.trial import LiveTrial
from podium.serving.watch import Watch


class ServedModel:
    """A model with the version that serves.

    Args:
        services: The registry and the ledger.
        settings: The server's settings.
        model: The registered model.
        bodies: Parses the requests' bodies, for all models of the server.
    """

    def __init__(self, services: Services, settings: ServingSettings, model: str, bodies: Bodies) -> None:
        alias = settings.alias if settings.version is None else None
        self.name = model
        target = ServedTarget(model, alias, settings.version)
        self.follower = Follower(services, target, settings.max_rows, beside=self._in_memory)
        # Whoever follows another alias, or none, serves no promotion.
        watches = alias == Alias.CHAMPION
        self.watch = Watch(services, settings, model, self.follower) if watches else None
        on_trial = settings.shadow or settings.canary
        self.trial = LiveTrial(services, settings, model, self._trial_waits) if on_trial else None
        self._counting = Counting(services, model, self.follower)
        self._bodies = bodies
        self._batcher = Batcher(model)
        self._poll_seconds = settings.poll_seconds
        self._stop = threading.Event()

    def start(self, folder: Path) -> None:
        """Begin to follow; copies of models are kept in the folder."""
        self.follower.start(self._poll_seconds, self._stop, folder)
        self._counting.start()
        if self.watch is not None:
            self.watch.start(folder)
        if self.trial is not None:
            self.trial.start(folder)

    def stop(self) -> None:
        """Follow no more."""
        self._stop.set()
        self._batcher.close()
        self._counting.stop()
        if self.watch is not None:
            self.watch.stop()
        if self.trial is not None:
            self.trial.stop()

    def version(self) -> LoadedVersion:
        """Return the version that answers a request that comes now.

        Raises:
            NotLoaded: There is none; says why.
        """
        if self.follower.current is None:
            raise NotLoaded(self.follower.problem)
        return self.follower.current

    async def answer(self, body: Body, request_id: str, client: str, serving: LoadedVersion) -> Answered:
        """Answer a request, wholly by one version.

        Args:
            body: Its body.
            request_id: Its id.
            client: What tells its client from others; the same version answers it each time.
            serving: The version that serves now. It answers, but to the clients of a canary or a ramp the
                candidate does if it can.

        Raises:
            RequestRefused: The rows cannot be read, or the version cannot answer them.
            TooBusy: Too many rows wait already.
        """
        version, batcher = self._chosen(serving, client)
        rows = None
        try:
            rows = await self._bodies.parse(body, version.shape)
            answered = await self._answer_by(version, batcher, rows, body, request_id)
        except (RequestRefused, TooBusy):
            if version is serving:
                raise
            its_rows = await self._bodies.parse(body, serving.shape)
            answered = await self._answer_by(serving, self._batcher, its_rows, body, request_id)
            instruments.FALLBACKS.labels(self.name).inc()
            if rows is None and self.watch is not None:
                self.watch.unread(version, answered)
            return answered
        # What is on its ramp is counted by the watch.
        if self.trial is not None and (version is serving or batcher is self.trial.batcher):
            self.trial.answered(answered, serving)
        return answered

    def _chosen(self, serving: LoadedVersion, client: str) -> tuple[LoadedVersion, Batcher]:
        """Return the version that answers a client, with what asks it; a trial waits while a ramp is open."""
        for beside in (self.watch, self.trial):
            if beside is not None and (version := beside.chosen(serving, client)) is not serving:
                return version, beside.batcher
        return serving, self._batcher

    def _in_memory(self) -> LoadedVersion | None:
        return None if self.watch is None else self.watch.in_memory()

    def _mirror(self, answered: Answered) -> None:
        if self.watch is not None:
            self.watch.mirror(answered)

    def _trial_waits(self) -> str:
        return "" if self.watch is None else self.watch.has_the_memory()

    async def _answer_by(
        self, version: LoadedVersion, batcher: Batcher, rows: Rows, body: Body, request_id: str
    ) -> Answered:
        try:
            answer = await batcher.answer(version, rows)
        except RequestRefused as failure:
            # The rows could be read: it is the model that failed. A busy server is no failure of the model.
            self._mirror(Answered(request_id, datetime.now(UTC), version, rows, failure, body))
            raise
        answered = Answered(request_id, datetime.now(UTC), version, rows, answer, body)
        self._counting.answered(answered)
        self._mirror(answered)
        return answered

    def as_json(self) -> dict[str, Any]:
        """Say what serves, since when, and what is wrong if it is not what should."""
        follower, version = self.follower, self.follower.current
        return {
            "model": self.name,
            "follows": follower.target.alias or version_name(follower.target.version),
            "version": None if version is None else version.number,
            "digest": None if version is None else version.digest,
            "since": None if version is None else version.loaded_at,
            "previous": None if follower.previous is None else follower.previous.number,
            "registry_asked_at": follower.answered_at,
            "problem": follower.problem or None,
            **({} if self.watch is None else self.watch.as_json()),
            **({} if self.trial is None else self.trial.as_json()),
        }
