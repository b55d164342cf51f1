"""While a watch window is open, the champion before scores a share of each partition too, and it is counted.

Whatever the version before does, the scores of the new one are written as ever.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from podium.errors import PodiumError
from podium.ledger.watch_counts import Counts, tell_watched
from podium.lifecycle.watched import KINDS, WatchWindow, open_window
from podium.memory import assert_fits
from podium.model_file.spec import ModelSpec
from podium.names import version_name
from podium.scoring.pinned_version import Pinned, loaded
from podium.scoring.scorer import Scorer
from podium.services import Services
from podium.sources.read import Chunk
from podium.versions import manifest_of

log = logging.getLogger(__name__)

# Of each chunk both score every twentieth row, and so many at most: row by row, where a version raises.
SHARE, AT_MOST = 0.05, 200


class Beside:
    """The two versions of a window, asked for the same rows of one partition.

    Args:
        new: The version that scores.
        old: The champion before.
    """

    def __init__(self, new: Scorer, old: Scorer) -> None:
        self.counts = Counts()
        self.problem = ""
        self._new, self._old = new, old

    def compare(self, chunk: Chunk, where: str) -> None:
        """Count which of the two fails on a share of the rows; raises nothing."""
        sample = _sample(chunk)
        try:
            by_new, by_old = _failed(self._new, sample, where), _failed(self._old, sample, where)
        except Exception as error:  # noqa: BLE001 - whatever they raise beside, the run is for the scores
            self.problem = f"rows of {where} cannot be compared: {error}"
            return
        both = by_new.readable & by_old.readable
        new, old = by_new.failed & both, by_old.failed & both
        self.counts = self.counts.plus(
            Counts(
                requests=len(both),
                rows=len(both),
                new_failed=len(new - old),
                old_failed=len(old - new),
                both_failed=len(new & old),
            )
        )


@contextmanager
def beside(
    services: Services, spec: ModelSpec, pinned: Pinned, scorer: Scorer, partition: str
) -> Iterator[Beside | None]:
    """Hold the champion before beside the version that scores, if a window is open; tell what was counted.

    Args:
        services: The registry and the ledger.
        spec: The model file.
        pinned: The version that scores.
        scorer: The same, loaded.
        partition: The partition: scored again, its rows count once.

    Yields:
        What compares; None where no window of this version is open, or the version before cannot be loaded.
    """
    window = _window(services, pinned)
    if window is None:
        yield None
        return
    process = f"batch-{hashlib.sha256(partition.encode()).hexdigest()[:32]}"
    with ExitStack() as held:
        try:
            other = held.enter_context(loaded(services, spec, _pinned(services, window)))
        except Exception as error:  # noqa: BLE001 - a version that does not load stops no other's scores
            _tell(services, window, process, Counts(), f"{pinned.model} {version_name(window.old)}: {error}")
            yield None
            return
        both = Beside(scorer, other)
        try:
            yield both
        finally:
            _tell(services, window, process, both.counts, "" if both.counts.rows else both.problem)


def _window(services: Services, pinned: Pinned) -> WatchWindow | None:
    try:
        window = open_window(services.ledger.newest([pinned.model], KINDS)[pinned.model])
    except PodiumError as error:
        log.warning("Whether a watch window is open is not known: %s. Scoring continues.", error)
        return None
    return window if window is not None and window.new == pinned.version else None


def _pinned(services: Services, window: WatchWindow) -> Pinned:
    events = services.ledger.present(window.model, window.old)
    manifest = manifest_of(events, window.model, window.old)
    assert_fits(f"{window.model} {version_name(window.old)}", sum(file.size for file in manifest.files))
    return Pinned(window.model, window.old, manifest.digest(), version_name(window.old))


def _tell(services: Services, window: WatchWindow, process: str, counts: Counts, problem: str) -> None:
    if problem:
        log.warning("%s. The partition is not compared; scoring continues.", problem)
    try:
        tell_watched(services.ledger, window.model, window.promotion, process, counts, problem)
    except PodiumError as error:
        log.warning("What was counted for the watch window is not written: %s", error)


class _Asked(NamedTuple):
    """Which rows of a sample a version can read, and which of these it fails."""

    readable: set[int]
    failed: set[int]


def _failed(scorer: Scorer, chunk: Chunk, where: str) -> _Asked:
    readied = scorer.ready(chunk, where)
    scored = scorer.score(readied)
    readable = set(range(len(chunk.numbers))) - readied.reasons.keys()
    return _Asked(readable, readable & scored.reasons.keys())


def _sample(chunk: Chunk) -> Chunk:
    """Return rows from all over a chunk, always the same ones."""
    count = len(chunk.numbers)
    wanted = min(AT_MOST, count, max(1, round(count * SHARE)))
    places: npt.NDArray[np.int64] = np.linspace(0, count, wanted, endpoint=False, dtype=np.int64)
    return Chunk(chunk.rows.take(pa.array(places)), chunk.numbers[places])
