"""Count what is asked and answered, on the bins of the version: no row is kept, and no answer waits.

A request is put into a bounded queue. A thread counts it there, with a small share of the time, and writes a
row per minute to the ledger's database. What there is no time or no room for is counted as lost.
"""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import groupby
from time import monotonic, thread_time
from typing import Any

import numpy as np
import pandas as pd

from podium.errors import Outage, PodiumError
from podium.ledger.served_counts import Minute, OnBins, tell_counted
from podium.lifecycle.recorded_reference import reference_on_record
from podium.metrics.bins import Bins, Counts, count
from podium.metrics.labels import spelling
from podium.metrics.predictions import ANSWER
from podium.metrics.reference_file import bins_digest
from podium.services import Services
from podium.serving.bounded_queue import BoundedQueue
from podium.serving.follower import Follower
from podium.serving.loaded_version import LoadedVersion
from podium.serving.process import survived
from podium.serving.shadow import Answered

log = logging.getLogger(__name__)

COUNT_SECONDS = 0.25
# How often the ledger is asked whether a version has other bins.
LOOK_SECONDS = 60.0
# Of a processor, at most: requests come first.
SHARE_OF_TIME = 0.02
MAX_WAITING, MAX_WAITING_ROWS = 20_000, 200_000
# So long a thread may count at once, and so many requests.
_AT_ONCE_SECONDS = 0.01
_FEWEST_AT_ONCE, _MOST_AT_ONCE = 50, 5000
# Minutes that wait while the database is away.
_MOST_UNWRITTEN = 60
_MINUTE = timedelta(minutes=1)
_STOP_SECONDS = 5.0


@dataclass(frozen=True)
class _Counted:
    """A version whose requests are counted.

    Attributes:
        of: The version and its bins.
        bins: By column.
    """

    of: OnBins
    bins: Mapping[str, Bins]


@dataclass
class _Tally:
    """What was counted in one minute.

    Attributes:
        rows: How many rows.
        counts: By column.
    """

    rows: int = 0
    counts: dict[str, Counts] = field(default_factory=dict)

    def add(self, bins: Mapping[str, Bins], columns: Mapping[str, Any], rows: int) -> None:
        """Count some rows; a column that they lack is missing in all of them."""
        counts = {
            name: count(binned, pd.Series(columns[name] if name in columns else np.full(rows, np.nan)))
            for name, binned in bins.items()
        }
        self.counts = {name: self.counts.get(name, 0) + counted for name, counted in counts.items()}
        self.rows += rows


class Counting:
    """Counts the requests to one model, in a thread.

    Args:
        services: The ledger.
        model: The model.
        serving: Knows the version that serves; requests that another one answers are not counted.
    """

    def __init__(self, services: Services, model: str, serving: Follower) -> None:
        self._services = services
        self._model = model
        self._serving = serving
        self._queue = BoundedQueue[Answered](MAX_WAITING, MAX_WAITING_ROWS)
        self._process = uuid.uuid4().hex
        self._counted: dict[int, _Counted] = {}
        self._looked: tuple[int, float] | None = None
        self._tallies: dict[tuple[OnBins, datetime], _Tally] = {}
        self._unwritten: list[Minute] = []
        self._lost, self._losing = 0, threading.Lock()
        self._at_once = _FEWEST_AT_ONCE
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"count-{model}", daemon=True)
        self._problem = ""

    def start(self) -> None:
        """Begin to count."""
        self._thread.start()

    def stop(self) -> None:
        """Count and write what waits, and end."""
        self._queue.close()
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(_STOP_SECONDS)

    def answered(self, answered: Answered) -> None:
        """Count a request later; returns at once."""
        if answered.version.number not in self._counted:
            return
        if not self._queue.offer(answered, answered.rows.count):
            self._lose(answered.rows.count)

    def _run(self) -> None:
        while not self._stop.is_set():
            spent = 0.0
            with survived(f"{self._model}: counting"):
                self._look()
                begun = thread_time()
                waiting = self._count()
                spent = thread_time() - begun
                if not waiting:
                    self._end_minutes(datetime.now(UTC))
                self._write()
            self._stop.wait(max(COUNT_SECONDS, spent * (1 / SHARE_OF_TIME - 1)))
        while self._count():
            pass
        self._end_minutes(datetime.max.replace(tzinfo=UTC))
        self._write()

    def _look(self) -> None:
        """Find out on which bins the version that serves is counted: as on record, else as in its files."""
        version, looked = self._serving.current, self._looked
        if version is None:
            return
        if looked is not None and looked[0] == version.number and monotonic() - looked[1] < LOOK_SECONDS:
            return
        self._looked = (version.number, monotonic())
        try:
            recorded = reference_on_record(self._services.ledger, self._model, version.number)
        except PodiumError as error:
            self._say(f"on which bins to count is not known for sure: {error}")
            if version.number in self._counted:
                return
            recorded = None
        found = version.bins if recorded is None else recorded[1].bins
        of = OnBins(self._model, version.number, bins_digest(found or {}))
        self._counted = {version.number: _Counted(of, found)} if found else {}

    def _count(self) -> bool:
        """Count some of what waits, and say whether there may be more."""
        begun = thread_time()
        taken = self._queue.take(self._at_once)
        for (version, _, _), group in groupby(taken, _alike):
            counted, requests = self._counted.get(version.number), list(group)
            if counted is not None:
                self._add(version, counted, requests)
        more = len(taken) == self._at_once
        if more:
            factor = _AT_ONCE_SECONDS / max(thread_time() - begun, 1e-6)
            self._at_once = int(np.clip(self._at_once * factor, _FEWEST_AT_ONCE, _MOST_AT_ONCE))
        return more

    def _add(self, version: LoadedVersion, counted: _Counted, requests: Sequence[Answered]) -> None:
        minute = requests[0].at.replace(second=0, microsecond=0)
        rows = sum(request.rows.count for request in requests)
        try:
            columns = _columns(version, counted.bins, requests)
            self._tallies.setdefault((counted.of, minute), _Tally()).add(counted.bins, columns, rows)
        except Exception as error:  # noqa: BLE001 - whatever it raises, the rows are lost to the counts alone
            self._say(f"{rows} rows are not counted: {error}")
            self._lose(rows)

    def _end_minutes(self, now: datetime) -> None:
        """Make rows of the minutes that are over: nothing is counted in them any more."""
        for of, minute in list(self._tallies):
            if minute + _MINUTE > now:
                continue
            tally = self._tallies.pop((of, minute))
            with self._losing:
                lost, self._lost = self._lost, 0
            self._unwritten.append(
                Minute(of, self._process, minute, rows=tally.rows, lost=lost, counts=tally.counts)
            )
        while len(self._unwritten) > _MOST_UNWRITTEN:
            self._lose(self._unwritten.pop(0).rows)

    def _write(self) -> None:
        """Write the minutes that are over; while the database is away they wait."""
        while self._unwritten:
            try:
                tell_counted(self._services.ledger, self._unwritten[0])
            except Outage as error:
                self._say(f"what was counted waits to be written: {error}")
                return
            except PodiumError as error:
                self._say(f"what was counted is lost: {error}")
                self._lose(self._unwritten[0].rows)
            else:
                self._say("")
            del self._unwritten[0]

    def _lose(self, rows: int) -> None:
        with self._losing:
            self._lost += rows

    def _say(self, problem: str) -> None:
        if problem and problem != self._problem:
            log.warning("%s: %s. Requests are still answered.", self._model, problem)
        self._problem = problem


def _alike(answered: Answered) -> tuple[LoadedVersion, int, type]:
    """Return what requests that follow each other share if they are counted together."""
    return answered.version, answered.at.minute, type(answered.rows.values)


def _columns(
    version: LoadedVersion, bins: Mapping[str, Bins], requests: Sequence[Answered]
) -> dict[str, Any]:
    """Return the columns of some requests and of their answers."""
    values, columns = [request.rows.values for request in requests], dict[str, Any]()
    if isinstance(values[0], pd.DataFrame):
        table = pd.concat(values, ignore_index=True) if len(values) > 1 else values[0]
        columns = {str(name): table[name] for name in table}
    elif requests[0].rows.names:
        columns = dict(zip(requests[0].rows.names, np.concatenate(values).T, strict=True))
    answers = np.concatenate(
        [np.asarray(one.answer, dtype=np.float64).reshape(one.rows.count, -1) for one in requests]
    )
    if not version.classes:
        return columns | {ANSWER: answers[:, 0]}
    labels = [name.removeprefix(f"{ANSWER} ") for name in bins if name not in columns]
    spelled = spelling(labels)
    places = {spelled(name): place for place, name in enumerate(version.classes)}
    by_label = {
        f"{ANSWER} {label}": answers[:, places[label]] if label in places else np.zeros(len(answers))
        for label in labels
    }
    return columns | by_label
