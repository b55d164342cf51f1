"""Make items in a thread of their own, one ahead of whoever takes them."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")
_STOPPED_SEEN_SECONDS = 0.1


def ahead(items: Generator[T]) -> Generator[T]:
    """Make items in a thread of their own, one ahead of who takes them; what it raises is raised here.

    Close it, so that the thread ends with whoever stops taking.
    """
    maker = _Maker(items)
    maker.start()
    try:
        yield from maker.taken()
    finally:
        maker.stop()


class _Maker(threading.Thread, Generic[T]):
    def __init__(self, items: Generator[T]) -> None:
        super().__init__(daemon=True)
        self._items = items
        self._made: queue.Queue[T | BaseException] = queue.Queue(maxsize=1)
        self._stopped = threading.Event()

    def run(self) -> None:
        try:
            for item in self._items:
                if not self._hand_over(item):
                    break
        except BaseException as error:  # noqa: BLE001 - raised again by whoever takes
            self._hand_over(error)
        else:
            self._hand_over(StopIteration())
        finally:
            self._items.close()

    def taken(self) -> Iterator[T]:
        while True:
            item = self._made.get()
            if isinstance(item, StopIteration):
                return
            if isinstance(item, BaseException):
                raise item
            yield item

    def stop(self) -> None:
        self._stopped.set()
        self.join()

    def _hand_over(self, item: T | BaseException) -> bool:
        while not self._stopped.is_set():
            try:
                self._made.put(item, timeout=_STOPPED_SEEN_SECONDS)
            except queue.Full:
                continue
            return True
        return False
