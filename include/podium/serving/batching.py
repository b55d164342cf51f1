"""Join the requests that are in flight into one prediction: while one is computed, the next ones gather.

Nobody waits for company: a request that finds the model idle is answered at once. Between two predictions the
event loop takes its turn, so that the clients who were just answered ask again in the same batch. Without it
they would form two groups that take turns, and each prediction would answer half as many.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from podium.errors import RequestRefused, TooBusy
from podium.serving import instruments
from podium.serving.columns import named
from podium.serving.loaded_version import LoadedVersion
from podium.serving.requests import Rows

MAX_JOINED_ROWS = 1024
MAX_WAITING_ROWS = 100_000
# Of the event loop between two predictions: it sends the answers, receives what is asked next, and reads it.
TURN_ROUNDS = 3


@dataclass(frozen=True)
class _Waiting:
    version: LoadedVersion
    rows: Rows
    answer: asyncio.Future[Any]


class Batcher:
    """Answers the requests to one model, one prediction at a time, in a thread of its own."""

    def __init__(self, model: str) -> None:
        self._model = model
        self._waiting: deque[_Waiting] = deque()
        self._waiting_rows = 0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"predict-{model}")
        self._running: asyncio.Task[None] | None = None

    async def answer(self, version: LoadedVersion, rows: Rows) -> Any:
        """Return what a version answers to the rows of one request, all by this version.

        Raises:
            RequestRefused: The model cannot answer these rows.
            TooBusy: Too many rows wait already.
        """
        if self._waiting_rows + rows.count > MAX_WAITING_ROWS:
            raise TooBusy(f"{self._waiting_rows:,} rows are waiting for an answer already; try again later")
        waiting = _Waiting(version, rows, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        self._waiting_rows += rows.count
        if self._running is None:
            self._running = asyncio.create_task(self._work())
        return await waiting.answer

    def close(self) -> None:
        """End the thread; requests that wait are turned away."""
        self._thread.shutdown(wait=False)
        while self._waiting:
            _tell(self._take().answer, TooBusy("the server is shutting down"))

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._waiting:
                batch = self._next()
                instruments.JOINED.labels(self._model).observe(len(batch))
                answers = await loop.run_in_executor(
                    self._thread, answers_of, batch[0].version, [waiting.rows for waiting in batch]
                )
                for waiting, answer in zip(batch, answers, strict=True):
                    _tell(waiting.answer, answer)
                for _ in range(TURN_ROUNDS):
                    await asyncio.sleep(0)
        finally:
            self._running = None

    def _next(self) -> list[_Waiting]:
        """Take the first request, and those behind it that can be answered with it."""
        batch = [self._take()]
        first, rows = batch[0], batch[0].rows.count
        while self._waiting and _fit(first, self._waiting[0]):
            rows += self._waiting[0].rows.count
            if rows > MAX_JOINED_ROWS:
                break
            batch.append(self._take())
        return batch

    def _take(self) -> _Waiting:
        waiting = self._waiting.popleft()
        self._waiting_rows -= waiting.rows.count
        return waiting


def _fit(first: _Waiting, other: _Waiting) -> bool:
    return (
        first.version is other.version
        and first.version.joins
        and not first.rows.params
        and not other.rows.params
        and layout(first.rows) == layout(other.rows)
    )


def layout(rows: Rows) -> Any:
    """Tell tables of different columns or types apart.

    Clients may leave out columns that are not required, and flags with gaps are no longer true or false.
    """
    if isinstance(rows.values, pd.DataFrame):
        return (*rows.values.columns, *rows.with_gaps)
    return type(rows.values)


def answers_of(version: LoadedVersion, requests: Sequence[Rows]) -> list[Any]:
    """Answer each request, or return the exception that explains why not; one bad request spoils no other."""
    if len(requests) > 1:
        joined = _joined(version, requests)
        if joined is not None:
            return joined
    return [_answer(version, rows) for rows in requests]


def _joined(version: LoadedVersion, requests: Sequence[Rows]) -> list[Any] | None:
    """Return the answers of one prediction, or None if it fails: then each is asked alone."""
    values = [rows.values for rows in requests]
    together = (
        pd.concat(values, ignore_index=True)
        if isinstance(values[0], pd.DataFrame)
        else np.asfortranarray(np.concatenate(values))
    )
    ends = np.cumsum([rows.count for rows in requests])
    answer = _answer(version, Rows(int(ends[-1]), together))
    if not isinstance(answer, np.ndarray) or len(answer) != ends[-1]:
        return None
    return np.split(answer, ends[:-1])


def _answer(version: LoadedVersion, rows: Rows) -> Any:
    try:
        return version.answer(rows)
    except Exception as error:  # noqa: BLE001 - whatever a model raises is this request's answer
        missing = rows.missing_values()
        hint = f"; missing or infinite values in {named('column', missing)}" if missing else ""
        first_line = (str(error).strip().splitlines() or [""])[0][:300]
        return RequestRefused(
            f"{version.model} v{version.number} cannot answer these rows: "
            f"{type(error).__name__}: {first_line}{hint}"
        )


def _tell(future: asyncio.Future[Any], answer: Any) -> None:
    if future.done():  # The client went away.
        return
    if isinstance(answer, Exception):
        future.set_exception(answer)
    else:
        future.set_result(answer)
