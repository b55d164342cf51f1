"""Two versions beside each other, as the ledger says: both are asked the same, and it is counted.

After a promotion the champion before stays beside the new one. On its ramp an approved version is beside the
champion, and answers a share of the clients.

Which window or ramp is open the ledger says, to servers as to all. A server only counts: its counts are
those of its process since it began, and are written again and again as they are, so that nothing is counted
twice.
"""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from time import monotonic, perf_counter
from typing import Any

import numpy as np
import pandas as pd

from podium.errors import PodiumError
from podium.ledger.events import Event
from podium.ledger.live_answers import VersionOnTrial
from podium.ledger.watch_counts import Counts, tell_watched
from podium.lifecycle.ramped import RAMP_KINDS, Ramp, open_ramp
from podium.lifecycle.watched import KINDS, WatchWindow, open_window
from podium.memory import assert_fits
from podium.names import in_utc, version_name
from podium.services import Services
from podium.serving import instruments
from podium.serving.answers import jsonable
from podium.serving.batching import Batcher
from podium.serving.follower import Follower
from podium.serving.loaded_version import LoadedVersion, ServedTarget
from podium.serving.process import survived
from podium.serving.recorder import Compared, Recorder
from podium.serving.requests import Rows
from podium.serving.settings import ServingSettings
from podium.serving.shadow import Answered, Outcome, Shadow, rows_for
from podium.serving.trial import in_canary
from podium.versions import manifest_of

log = logging.getLogger(__name__)

# Where no window is open, the ledger is asked so rarely, and at once when another version serves.
LOOK_SECONDS = 30.0
# Nobody may be there to close a window: then servers do, so long after its time.
_GRACE = timedelta(hours=1)
_STOP_SECONDS = 5.0
# What messages and metrics call it: in a watch window the previous champion, on a ramp the approved version.
BESIDE = "version_beside"


class Watch:
    """The watch window or the ramp of one model, as one process of a server sees it.

    Args:
        services: The registry and the ledger.
        settings: The server's settings.
        model: The model.
        serving: Follows the champion; what it keeps in memory is not loaded again.

    Attributes:
        window: The window that is open, or that of the ramp; None where there is neither.
        ramp: The ramp, while no window of a promotion is open; None where there is none.
        batcher: Asks the version on its ramp; the champion's clients wait for no slow version.
    """

    def __init__(self, services: Services, settings: ServingSettings, model: str, serving: Follower) -> None:
        self.window: WatchWindow | None = None
        self.ramp: Ramp | None = None
        self.batcher = Batcher(model)
        self._services = services
        self._model = model
        self._poll_seconds = settings.poll_seconds
        self._serving = serving
        self._beside = _Beside(services, settings, model, self._wanted, serving)
        self._shadow = Shadow(model, self._other, self._compare)
        self._recorder = Recorder(services, model)
        self._process = uuid.uuid4().hex
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"watch-{model}", daemon=True)
        self._looked: tuple[int | None, float] | None = None
        self._counts = Counts()
        self._counting = threading.Lock()
        self._told: tuple[Counts, str] | None = None
        self._problem = ""

    def start(self, folder: Path) -> None:
        """Begin to look for windows; copies of models are kept in the folder."""
        self._beside.hold_in(folder)
        self._shadow.start()
        self._recorder.start()
        self._thread.start()

    def stop(self) -> None:
        """Ask and count what waits, and end."""
        self._stop.set()
        self.batcher.close()
        self._shadow.stop()
        self._recorder.stop()
        if self._thread.is_alive():
            self._thread.join(_STOP_SECONDS)

    @property
    def stores(self) -> bool:
        """Whether answers are stored, so that labels can come."""
        window = self.window
        return window is not None and window.terms.stores_answers

    def chosen(self, serving: LoadedVersion, client: str) -> LoadedVersion:
        """Return the version that answers a client: the champion, or for the ramp's share the one on it.

        A server that cannot read the ledger for long routes nobody: the share may be 0 by now.
        """
        ramp, beside, looked = self.ramp, self._beside.current, self._looked
        if ramp is None or beside is None or looked is None:
            return serving
        if (serving.number, beside.number) != (ramp.window.old, ramp.window.new):
            return serving
        if monotonic() - looked[1] > _GRACE.total_seconds():
            return serving
        return beside if in_canary(self._model, client, ramp.share) else serving

    def unread(self, version: LoadedVersion, answered: Answered) -> None:
        """Count a request that the version on its ramp could not read, and the champion answered."""
        ramp = self.ramp
        if ramp is None or version.number != ramp.window.new or not is_answer(answered.answer):
            return
        with self._counting:
            if self.window == ramp.window:
                self._counts = self._counts.plus(Counts(1, answered.rows.count, new_failed=1))

    def in_memory(self) -> LoadedVersion | None:
        """Return the version beside: promoted, it serves at once."""
        return self._beside.current

    def mirror(self, answered: Answered) -> None:
        """Ask the other version the same, later; returns at once.

        It is the new version whose requests are compared, whoever else answers some.
        """
        window = self.window
        if window is not None and answered.version.number == window.new:
            self._shadow.mirror(answered)

    def has_the_memory(self) -> str:
        """Say why no candidate is loaded now; "" if one may be."""
        window, ramp = self.window, self.ramp
        if window is None:
            return ""
        what, closes = ("watch window", window.closes) if ramp is None else ("ramp", ramp.closes)
        return (
            f"the {what} of {version_name(window.new)} has the memory until {in_utc(closes)} at the latest; "
            "then the candidate is loaded"
        )

    def as_json(self) -> dict[str, Any]:
        """Say which versions are compared, and what is wrong; nothing where no window is open."""
        window, beside, ramp = self.window, self._beside.current, self.ramp
        if window is None:
            return {}
        return {
            "watch": {
                **({} if ramp is None else {"share": ramp.share, "stopped": ramp.stopped}),
                "promotion": window.promotion,
                "new": window.new,
                "old": window.old,
                "loaded": beside is not None and beside.number == self._sides(window)[1],
                "counts": self._counts._asdict(),
                "problem": self._beside.problem or self._problem or None,
            }
        }

    def _run(self) -> None:
        while not self._stop.is_set():
            with survived(f"{self._model}: the watch"):
                problem = self._look()
                self._beside.follow_once()
                unwritten = self._tell()
                self._say(problem or unwritten)
            self._stop.wait(self._poll_seconds)
        self._tell()

    def _look(self) -> str:
        """Ask which window is open; while the ledger is away the one that was goes on.

        Returns:
            What is wrong; "" if nothing is.
        """
        serves = None if self._serving.current is None else self._serving.current.number
        if self.window is None and self._looked is not None:
            before, at = self._looked
            if serves == before and monotonic() - at < LOOK_SECONDS:
                return ""
        try:
            kinds = list(dict.fromkeys((*KINDS, *RAMP_KINDS)))
            events = self._services.ledger.newest([self._model], kinds)[self._model]
            found, ramp = open_window(events), open_ramp(events)
            # By the clock that opened them: this machine's may be another.
            now = self._services.ledger.now()
            if found is not None and now > found.closes + _GRACE:
                found = None
            if found is not None or (ramp is not None and now > ramp.closes + _GRACE):
                ramp = None
        except PodiumError as error:
            return str(error)
        self._looked = (serves, monotonic())
        found = found if ramp is None else ramp.window
        if found != self.window:
            self._change(found)
        if ramp != self.ramp:
            self.ramp = ramp
            log.info("%s: %s.", self._model, "the ramp is over" if ramp is None else ramp)
        return ""

    def _change(self, found: WatchWindow | None) -> None:
        # Nobody is routed by a ramp whose counts begin, or have ended.
        self.ramp = None
        self._tell()
        with self._counting:
            self.window, self._counts, self._told = found, Counts(), None
        if found is None:
            log.info("%s: the watch window is closed.", self._model)
        else:
            new, old = version_name(found.new), version_name(found.old)
            log.info("%s: a watch window is open: %s is compared with %s.", self._model, new, old)

    def _wanted(self) -> int | None:
        """Return the version beside, as long as the other one serves here."""
        window, serves = self.window, self._serving.current
        if window is None or serves is None:
            return None
        champion, beside = self._sides(window)
        if serves.number == champion:
            return beside
        # The follower of the champion swaps soon, and takes it from memory.
        held = self._beside.current
        return champion if held is not None and held.number == champion else None

    def _other(self) -> LoadedVersion | None:
        """Return the version that is asked the same as the new one."""
        return self._beside.current if self.ramp is None else self._serving.current

    def _sides(self, window: WatchWindow) -> tuple[int, int]:
        """Return which of a window's versions is champion, and which is beside it: on a ramp the new one."""
        ramp = self.ramp
        on_ramp = ramp is not None and ramp.window == window
        return (window.old, window.new) if on_ramp else (window.new, window.old)

    def _tell(self) -> str:
        """Write the counts as they are; what cannot be written now is in those that are written later.

        Returns:
            What is wrong; "" if nothing is.
        """
        window, told = self.window, (self._counts, self._beside.problem)
        if window is None or self._serving.current is None or told == self._told:
            return ""
        try:
            tell_watched(self._services.ledger, self._model, window.promotion, self._process, *told)
        except PodiumError as error:
            return f"what was counted waits to be written: {error}"
        self._told = told
        return ""

    def _compare(self, answered: Answered, old: LoadedVersion, outcome: Outcome, answer: Any) -> None:
        """Count a request that both were asked; one that only one of them could read is no pair."""
        window = self.window
        if window is None or outcome in ("refused", "dropped"):
            return
        if (answered.version.number, old.number) != (window.new, window.old):
            return
        by_new, by_old = is_answer(answered.answer), outcome == "scored" and is_answer(answer)
        slower = None
        if by_new and by_old and window.terms.max_ratio is not None:
            slower = _is_slower(answered, old, window.terms.max_ratio, first_new=self._counts.timed % 2 == 0)
        counted = Counts(
            requests=1,
            rows=answered.rows.count,
            new_failed=int(by_old and not by_new),
            old_failed=int(by_new and not by_old),
            both_failed=int(not by_new and not by_old),
            timed=int(slower is not None),
            slower=int(bool(slower)),
        )
        with self._counting:
            if self.window is window:
                self._counts = self._counts.plus(counted)
        if by_new and by_old and window.terms.stores_answers:
            # The window begins by the ledger's clock; this machine's may be behind.
            at = max(answered.at, window.opened)
            trial = VersionOnTrial(window.new, window.old)
            both = (answered.version, answered.answer), (old, answer)
            self._recorder.keep(Compared(answered.request_id, at, answered.rows.count, trial, *both))

    def _say(self, problem: str) -> None:
        if problem and problem != self._problem:
            log.warning("%s: %s. Requests are still answered.", self._model, problem)
        self._problem = problem


class _Beside(Follower):
    """Holds the version that is beside the one that serves, as long as it is wanted."""

    def __init__(
        self,
        services: Services,
        settings: ServingSettings,
        model: str,
        wanted: Callable[[], int | None],
        serving: Follower,
    ) -> None:
        target = ServedTarget(model, BESIDE)
        super().__init__(services, target, settings.max_rows, keeps_last=False)
        self._now_wanted, self._serving = wanted, serving

    def hold_in(self, folder: Path) -> None:
        """Keep copies of models in a folder; whoever holds this calls ``follow_once``."""
        self._folder = folder

    def _wanted(self) -> int | None:
        return self._now_wanted()

    def _nothing_wanted(self) -> None:
        self.current = None
        instruments.VERSION.labels(*self._labels).set(0)
        self._say("")

    def _load(self, number: int, events: Sequence[Event]) -> LoadedVersion:
        manifest = manifest_of(events, self.target.model, number)
        name = f"{self.target.model} {version_name(number)}"
        assert_fits(name, sum(file.size for file in manifest.files))
        return super()._load(number, events)

    def _in_memory(self, number: int) -> LoadedVersion | None:
        before = self._serving.previous
        return before if before is not None and before.number == number else None


def is_answer(answer: Any) -> bool:
    """Whether a version answered: it did not raise, and each number is finite."""
    if isinstance(answer, Exception) or answer is None:
        return False
    values = jsonable(answer)
    found = np.asarray(values if not isinstance(values, list) else pd.DataFrame(values).to_numpy())
    if found.dtype.kind in "iub":
        return True
    if found.dtype.kind in "fc":
        return bool(np.isfinite(found).all())
    numbers = pd.to_numeric(pd.Series(found.ravel(), dtype=object), errors="coerce")
    texts = pd.Series(found.ravel(), dtype=object).map(lambda value: isinstance(value, str))
    return bool((np.isfinite(numbers.to_numpy(float)) | texts.to_numpy(bool)).all())


def _is_slower(answered: Answered, old: LoadedVersion, ratio: float, *, first_new: bool) -> bool | None:
    """Time both alone, one after the other here: None where one of them fails now."""
    asked = [(answered.version, answered.rows), (old, rows_for(old, answered))]
    try:
        seconds = {
            version.number: _seconds(version, rows) for version, rows in (asked if first_new else asked[::-1])
        }
    except Exception:  # noqa: BLE001 - whatever a model raises: it answered before, and is not timed on this
        return None
    return seconds[answered.version.number] > ratio * seconds[old.number]


def _seconds(version: LoadedVersion, rows: Rows) -> float:
    begun = perf_counter()
    version.answer(rows)
    return perf_counter() - begun
