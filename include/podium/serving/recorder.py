"""Store what versions answered beside each other, in a thread: no request waits for the database."""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from time import monotonic
from typing import Any

import numpy as np

from podium.errors import CannotBeWritten, Outage, PodiumError
from podium.ledger import history
from podium.ledger.live_answers import LiveAnswer, LiveCount, LiveStore, VersionOnTrial
from podium.lifecycle import canary
from podium.services import Services
from podium.serving import instruments
from podium.serving.answers import dumps, jsonable
from podium.serving.bounded_queue import BoundedQueue
from podium.serving.loaded_version import LoadedVersion
from podium.serving.process import survived

log = logging.getLogger(__name__)

# Requests gather so long before they are written together.
WRITE_SECONDS = 0.5
# How often rows are counted for the canary gate.
COUNT_SECONDS = 60.0
MAX_WAITING, MAX_WAITING_ROWS = 20_000, 200_000
_WRITTEN_AT_ONCE = 1000
_STOP_SECONDS = 10.0

Said = tuple[LoadedVersion, Any]


@dataclass(frozen=True)
class Compared:
    """One request and what was answered to it.

    Attributes:
        request_id: Its id.
        at: When it was answered.
        rows: How many rows it has.
        trial: The version that serves and the one beside it.
        champion: What the version that serves answered; None if it was not asked.
        candidate: The same of the other one.
    """

    request_id: str
    at: datetime
    rows: int
    trial: VersionOnTrial
    champion: Said | None = field(repr=False)
    candidate: Said | None = field(repr=False)


@dataclass
class _Uncounted:
    rows: int = 0
    since: datetime = field(default_factory=lambda: datetime.now(UTC))
    key: str = field(default_factory=lambda: uuid.uuid4().hex)


class Recorder:
    """Writes the compared requests of one model; while the database is away they wait, or are lost.

    Args:
        services: The ledger, in whose database they are kept.
        model: The model.
    """

    def __init__(self, services: Services, model: str) -> None:
        self._services = services
        self._store = LiveStore(services.ledger)
        self._model = model
        self._queue = BoundedQueue[Compared](MAX_WAITING, MAX_WAITING_ROWS)
        self._unwritten: list[LiveAnswer] = []
        self._uncounted: dict[VersionOnTrial, _Uncounted] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"record-{model}", daemon=True)
        self._problem = ""

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def stop(self) -> None:
        """Write what waits, count it, and end; what cannot be written now is lost."""
        self._queue.close()
        self._stop.set()
        self._thread.join(_STOP_SECONDS)

    def keep(self, compared: Compared) -> None:
        """Store a request soon; at once lost, and counted as that, where too many wait already."""
        if not self._queue.offer(compared, compared.rows):
            self._tell("lost", compared.rows)

    def _run(self) -> None:
        counted_at = monotonic()
        while not self._stop.wait(WRITE_SECONDS):
            with survived(f"{self._model}: storing answers"):
                self._write_all()
                if monotonic() - counted_at >= COUNT_SECONDS:
                    self._count()
                    counted_at = monotonic()
        self._write_all()
        self._count()
        self._tell("lost", sum(answer.rows for answer in self._unwritten))

    def _write_all(self) -> None:
        """Write what waits; after an outage the same again at the next time."""
        while self._unwritten or (taken := self._queue.take(_WRITTEN_AT_ONCE)):
            self._unwritten = self._unwritten or self._as_stored(taken)
            if not self._unwritten:
                continue
            try:
                new = self._store.write(self._unwritten)
            except Outage as error:
                self._say(str(error))
                return
            except PodiumError as error:
                self._say(str(error))
                self._tell("lost", sum(answer.rows for answer in self._unwritten))
            else:
                self._say("")
                self._note(new)
            self._unwritten = []

    def _as_stored(self, compared: Sequence[Compared]) -> list[LiveAnswer]:
        stored = []
        for one in compared:
            try:
                stored.append(_live_answer(self._model, one))
            except (CannotBeWritten, ValueError) as error:
                self._say(f"answers are not stored: {error}")
                self._tell("unreadable", one.rows)
        return stored

    def _note(self, new: Sequence[LiveAnswer]) -> None:
        rows = sum(answer.rows for answer in new)
        self._tell("stored", rows)
        self._tell("repeated", sum(answer.rows for answer in self._unwritten) - rows)
        for answer in new:
            if answer.paired:
                self._uncounted.setdefault(answer.trial, _Uncounted()).rows += answer.rows

    def _count(self) -> None:
        """Count the pairs that were stored for the canary gate, as long as it asks for more.

        Pairs from before the version was the candidate, or beside another champion, do not count.
        """
        if not self._uncounted:
            return
        try:
            candidates = [trial.candidate for trial in self._uncounted]
            events = self._services.ledger.present(self._model, *candidates)
            for trial, uncounted in list(self._uncounted.items()):
                since = history.candidate_since(events, trial.candidate)
                if since is None or since.at > uncounted.since or trial.champion != history.champion(events):
                    del self._uncounted[trial]
                elif canary.wants_rows(self._services, events, trial, since):
                    self._store.add_count(
                        LiveCount(
                            model=self._model,
                            key=uncounted.key,
                            nominated=since.seq,
                            champion=trial.champion,
                            candidate=trial.candidate,
                            rows=uncounted.rows,
                        )
                    )
                    del self._uncounted[trial]
        except PodiumError as error:
            self._say(f"its scored rows do not count for the canary period yet: {error}")

    def _tell(self, outcome: str, rows: int) -> None:
        instruments.ROWS_TO_STORE.labels(self._model, outcome).inc(rows)

    def _say(self, problem: str) -> None:
        if problem and problem != self._problem:
            log.warning("%s: %s. Requests are still answered.", self._model, problem)
        self._problem = problem


def _live_answer(model: str, compared: Compared) -> LiveAnswer:
    """Return a request as it is stored.

    Raises:
        CannotBeWritten: An answer is nothing that JSON can hold.
        ValueError: An answer is not one value per row.
    """
    return LiveAnswer(
        model=model,
        request_id=compared.request_id,
        at=compared.at,
        rows=compared.rows,
        champion=compared.trial.champion,
        candidate=compared.trial.candidate,
        champion_answers=_json(compared.champion, compared.rows),
        candidate_answers=_json(compared.candidate, compared.rows),
    )


def _json(said: Said | None, rows: int) -> str | None:
    if said is None:
        return None
    version, answer = said
    if isinstance(answer, np.ndarray) and answer.ndim == 2 and answer.shape[1] == 1:
        answer = answer[:, 0]
    values = jsonable(answer)
    if not isinstance(values, list | np.ndarray) or len(values) != rows:
        raise ValueError(f"v{version.number} does not answer with one value per row")
    content = {"predictions": values}
    return dumps(version, content | {"classes": version.classes} if version.classes else content).decode()
