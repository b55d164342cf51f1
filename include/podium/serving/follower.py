"""Follow an alias: load what it points to, beside what serves, and swap when the new version is proved."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic

from podium.errors import Outage, PodiumError
from podium.ledger import history
from podium.ledger.events import Event
from podium.lifecycle.custody_rules import retired_problem
from podium.names import Alias, Tag, version_name
from podium.services import Services
from podium.serving import instruments
from podium.serving.loaded_version import LoadedVersion, ServedTarget, check_may_serve, load_version
from podium.serving.process import spare_collections

log = logging.getLogger(__name__)

# A version that was refused is tried again after this long, in case that what was wrong was mended.
RETRY_REFUSED_SECONDS = 60.0


@dataclass(frozen=True)
class _Refused:
    number: int
    at: float


class Follower:
    """Holds the version that serves, and the one before; one thread follows, any may read.

    Args:
        services: The registry and the ledger.
        target: What to follow.
        max_rows: Rows that one request may hold.
        keeps_last: Serve on when the alias points nowhere any more, and keep the version before.
        waits: Says why nothing is to be loaded now; "" if it may be.
        beside: Returns a version that something else holds in memory.

    Attributes:
        target: What it follows.
        current: The version that serves; None until the first was loaded.
        previous: The one before, kept in memory: going back to it is one pointer.
        problem: Why the version that should serve does not; "" if it does.
        answered_at: When the registry last answered.
        looked: Set once it has looked for the first time, whatever it found.
    """

    def __init__(  # noqa: PLR0913 - what to follow, and what is beside it
        self,
        services: Services,
        target: ServedTarget,
        max_rows: int,
        *,
        keeps_last: bool = True,
        waits: Callable[[], str] = lambda: "",
        beside: Callable[[], LoadedVersion | None] = lambda: None,
    ) -> None:
        self.target = target
        self.current: LoadedVersion | None = None
        self.previous: LoadedVersion | None = None
        self.problem = f"{target} is not loaded yet"
        self.answered_at: datetime | None = None
        self.looked = threading.Event()
        self._services = services
        self._max_rows = max_rows
        self._keeps_last = keeps_last
        self._waits = waits
        self._beside = beside
        self._labels = (target.model, target.alias or version_name(target.version))
        self._refused: _Refused | None = None
        self._folder: Path | None = None
        self._says_retired = False

    def start(self, every_seconds: float, stop: threading.Event, folder: Path) -> None:
        """Follow until told to stop, in a thread of its own; copies of models are kept in the folder."""
        self._folder = folder
        arguments = (every_seconds, stop)
        threading.Thread(target=self._run, args=arguments, name=f"follow-{self.target}", daemon=True).start()

    def _run(self, every_seconds: float, stop: threading.Event) -> None:
        while not stop.is_set():
            self.follow_once()
            self.looked.set()
            stop.wait(every_seconds)

    def follow_once(self) -> None:
        """Ask where the alias points to now, and serve that; on any problem what serves goes on serving."""
        if reason := self._waits():
            self._make_room(reason)
            return
        try:
            number = self._wanted()
            self.answered_at = datetime.now(UTC)
            instruments.ANSWERED_AT.labels(*self._labels).set(self.answered_at.timestamp())
            if number is None:
                self._nothing_wanted()
            elif self.current is not None and number == self.current.number:
                self._say(self._ended())
            else:
                events = self._services.ledger.present(self.target.model, number)
                check_may_serve(events, number, self.target)
                if not self._refused_lately(number):
                    former = history.champions(events)
                    self._serve(number, self._services.ledger.present(self.target.model, number, *former))
        except Outage as error:
            self._say(str(error))
        except PodiumError as error:
            if str(error) != self.problem:
                instruments.REFUSALS.labels(*self._labels).inc()
            self._say(str(error))
        except Exception as error:
            # Whatever it is: a thread that ended would serve the old version for ever.
            log.exception("%s could not be followed", self.target)
            self._say(f"{self.target} could not be followed: {type(error).__name__}: {error}")

    def _make_room(self, reason: str) -> None:
        """Hold nothing in memory, for a reason that is no problem of the version."""
        if reason != self.problem:
            log.info("%s waits: %s.", self.target, reason)
        self.current, self.problem = None, reason
        instruments.VERSION.labels(*self._labels).set(0)

    def _wanted(self) -> int | None:
        if self.target.alias is None:
            return self.target.version
        labels = self._services.registry.labels(self.target.model)
        self._says_retired = bool(labels.tags.get(Tag.RETIRED))
        return labels.aliases.get(self.target.alias)

    def _ended(self) -> str:
        """Say that the model was ended, if the ledger does too; what serves goes on serving."""
        if not self._says_retired:
            return ""
        return retired_problem(self._services.ledger.present(self.target.model))

    def _nothing_wanted(self) -> None:
        missing = f"{self.target.model} has no {self.target.alias}; the server serves it as soon as it exists"
        if not self._keeps_last:
            self.current = None
            instruments.VERSION.labels(*self._labels).set(0)
            # Most of the time there is no candidate, and that is as it should be.
            missing = "" if self.target.alias == Alias.CANDIDATE else missing
        self._say(missing)

    def _refused_lately(self, number: int) -> bool:
        refused = self._refused
        return (
            refused is not None
            and refused.number == number
            and monotonic() - refused.at < RETRY_REFUSED_SECONDS
        )

    def _serve(self, number: int, events: Sequence[Event]) -> None:
        """Load a version, or take the one before from memory, and swap.

        Raises:
            Outage: A part did not answer; asked again at the next look.
            PodiumError: The version is refused.
        """
        begun = monotonic()
        try:
            loaded = self._in_memory(number) or self._load(number, events)
        except Outage:
            raise
        except PodiumError:
            self._refused = _Refused(number, monotonic())
            raise
        # Before the first version answers, so that no request waits for it.
        spare_collections()
        before, self.current = self.current, loaded
        self.previous = before if self._keeps_last else None
        self._refused = None
        self._say("")
        instruments.SWAPS.labels(*self._labels).inc()
        instruments.VERSION.labels(*self._labels).set(number)
        log.info(
            "%s: serves %s (%s) instead of %s, after %.1f s.",
            self.target,
            version_name(number),
            loaded.digest[:12],
            _name(before),
            monotonic() - begun,
        )

    def _load(self, number: int, events: Sequence[Event]) -> LoadedVersion:
        """Load a version from the store."""
        return load_version(self._services, events, self.target.model, number, self._max_rows, self._folder)

    def _in_memory(self, number: int) -> LoadedVersion | None:
        """Return a version that is loaded already."""
        held = (self.previous, self._beside())
        return next((one for one in held if one is not None and one.number == number), None)

    def _say(self, problem: str) -> None:
        """Keep the problem, and log it when it is another one than before."""
        if problem and problem != self.problem:
            log.warning("%s. Still serving: %s.", problem, _name(self.current))
        self.problem = problem
        instruments.EXPECTED_VERSION.labels(*self._labels).set(not problem)


def _name(loaded: LoadedVersion | None) -> str:
    return version_name(None if loaded is None else loaded.number)
