"""Say to the ledger's database what this process serves, in a thread: no answer waits for it."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Sequence
from time import monotonic

from podium.errors import PodiumError
from podium.ledger.servers import Served, tell
from podium.ledger.store import Ledger
from podium.names import Alias
from podium.serving.follower import Follower
from podium.serving.process import survived

log = logging.getLogger(__name__)

# Said again after this long, and at once when another version serves.
TELL_SECONDS = 60.0
LOOK_SECONDS = 1.0
_STOP_SECONDS = 5.0


class Presence:
    """Tells which version serves each model that follows the champion.

    Args:
        ledger: In whose database it is told.
        server: The name of the server, of which this is one process.
        followers: What this process serves; one that is to follow no champion is left out.
    """

    def __init__(self, ledger: Ledger, server: str, followers: Sequence[Follower]) -> None:
        self._ledger = ledger
        self._server = server
        self._followers = [each for each in followers if each.target.alias == Alias.CHAMPION]
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="presence", daemon=True)
        self._problem = ""

    def start(self) -> None:
        """Begin to tell."""
        if self._followers:
            self._thread.start()

    def stop(self) -> None:
        """Say that this process serves no more, and wait for that a little."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(_STOP_SECONDS)

    def served(self) -> list[Served]:
        """Return what serves now."""
        return [
            Served(each.target.model, None if each.current is None else each.current.number, each.problem)
            for each in self._followers
        ]

    def _run(self) -> None:
        told, at = None, 0.0
        while not self._stop.wait(LOOK_SECONDS):
            with survived("The report of what is served"):
                served = self.served()
                # A problem may be told in other words at each look.
                known = [(of.model, of.version, bool(of.problem)) for of in served]
                if known != told or monotonic() - at >= TELL_SECONDS:
                    self._tell(served)
                    told, at = known, monotonic()
        self._tell([])

    def _tell(self, served: Sequence[Served]) -> None:
        problem = ""
        try:
            tell(self._ledger, self._server, os.getpid(), served)
        except PodiumError as error:
            problem = str(error)
        if problem and problem != self._problem:
            log.warning("The server could not report its versions to the page Models: %s", problem)
        self._problem = problem
