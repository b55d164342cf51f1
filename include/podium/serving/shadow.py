"""The shadow: a version that gets requests too, after their answers are on their way, and answers nobody."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from time import monotonic
from typing import Any, Literal

from podium.errors import RequestRefused
from podium.serving import instruments, requests
from podium.serving.batching import answers_of, layout
from podium.serving.bounded_queue import BoundedQueue
from podium.serving.loaded_version import LoadedVersion
from podium.serving.process import survived
from podium.serving.requests import Body, Rows

MAX_WAITING, MAX_WAITING_BYTES = 1000, 64 * 2**20
# The shadow computes so much of the time; then it rests.
SHARE_OF_TIME = 0.2
_JOINED_AT_ONCE = 64
_STOP_SECONDS = 5.0


@dataclass(frozen=True)
class Answered:
    """A request that was answered.

    Attributes:
        request_id: Its id.
        at: When it was answered.
        version: The version that answered it.
        rows: Its rows, as that version takes them.
        answer: What it answered; of a request that it failed, the exception.
        body: Its body: another version may take it as other rows.
    """

    request_id: str
    at: datetime
    version: LoadedVersion
    rows: Rows = field(repr=False)
    answer: Any = field(repr=False)
    body: Body = field(repr=False)


# What came of asking the shadow: its rows could not be read, it failed, it answered, or there was no time.
Outcome = Literal["refused", "failed", "scored", "dropped"]
# Gets the outcome, and what the shadow answered; None if it did not.
Compare = Callable[[Answered, LoadedVersion, Outcome, Any | None], None]


class Shadow:
    """Asks the shadow in a thread of its own, part of the time; requests that it has no time for are dropped.

    Args:
        model: The model.
        shadow: Returns the shadow; None while there is none.
        compare: Called with each request after the shadow was asked, or was not.
    """

    def __init__(self, model: str, shadow: Callable[[], LoadedVersion | None], compare: Compare) -> None:
        self._model = model
        self._shadow = shadow
        self._compare = compare
        self._queue = BoundedQueue[tuple[Answered, LoadedVersion]](MAX_WAITING, MAX_WAITING_BYTES)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"shadow-{model}", daemon=True)

    def start(self) -> None:
        """Begin to ask."""
        self._thread.start()

    def stop(self) -> None:
        """Ask what waits, for a while, and end."""
        self._queue.close()
        self._stopped.set()
        self._thread.join(_STOP_SECONDS)

    def mirror(self, answered: Answered) -> bool:
        """Ask the shadow later; false where there is none but the version that answered."""
        version = self._shadow()
        if version is None or version.number == answered.version.number:
            return False
        if not self._queue.offer((answered, version), len(answered.body.content)):
            self._told(answered, version, "dropped")
        return True

    def _run(self) -> None:
        while self._queue.wait():
            begun = monotonic()
            for version, group in groupby(self._queue.take(_JOINED_AT_ONCE), lambda mirrored: mirrored[1]):
                with survived(f"{self._model}: asking a version beside"):
                    self._ask(version, [answered for answered, _ in group])
            # It shares the processor with the version that serves. What gathers meanwhile is asked together.
            self._stopped.wait((monotonic() - begun) * (1 / SHARE_OF_TIME - 1))

    def _ask(self, version: LoadedVersion, mirrored: Sequence[Answered]) -> None:
        readable = []
        for answered in mirrored:
            try:
                readable.append((answered, rows_for(version, answered)))
            except Exception:  # noqa: BLE001 - whatever reading for the shadow raises is the shadow's answer
                self._told(answered, version, "refused")
        for _, group in groupby(readable, lambda read: _joined_by(version, read[1])):
            together = list(group)
            found = answers_of(version, [rows for _, rows in together])
            for (answered, _), answer in zip(together, found, strict=True):
                if answer is None or isinstance(answer, RequestRefused):
                    self._told(answered, version, "failed")
                else:
                    self._told(answered, version, "scored", answer)

    def _told(self, answered: Answered, version: LoadedVersion, outcome: Outcome, answer: Any = None) -> None:
        instruments.SHADOWED.labels(self._model, outcome).inc(answered.rows.count)
        self._compare(answered, version, outcome, answer)


def rows_for(version: LoadedVersion, answered: Answered) -> Rows:
    """Return the rows of a request as a version takes them."""
    if version.shape == answered.version.shape:
        return answered.rows
    return requests.read(answered.body, version.shape)


def _joined_by(version: LoadedVersion, rows: Rows) -> Any:
    return layout(rows) if version.joins and not rows.params else id(rows)
