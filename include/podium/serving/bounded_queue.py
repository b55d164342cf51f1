"""A queue to a thread that turns away what does not fit, so that nobody who puts something in ever waits."""

from __future__ import annotations

import threading
from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class BoundedQueue(Generic[T]):
    """Things with weights, first in, first out; any thread may put in, one takes out.

    Args:
        most: How many there may be.
        most_weight: What they may weigh together.
    """

    def __init__(self, most: int, most_weight: int) -> None:
        self._most, self._most_weight = most, most_weight
        self._waiting: deque[tuple[T, int]] = deque()
        self._weight = 0
        self._closed = False
        self._changed = threading.Condition()

    def offer(self, thing: T, weight: int) -> bool:
        """Put a thing in, at once; false if it does not fit, or the queue is closed."""
        with self._changed:
            full = len(self._waiting) >= self._most or self._weight + weight > self._most_weight
            if self._closed or full:
                return False
            self._waiting.append((thing, weight))
            self._weight += weight
            self._changed.notify()
            return True

    def wait(self) -> bool:
        """Wait until there is something; false if there is nothing and the queue is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            return bool(self._waiting)

    def take(self, most: int) -> list[T]:
        """Take out what there is, at most so many; does not wait."""
        with self._changed:
            taken = [self._waiting.popleft() for _ in range(min(most, len(self._waiting)))]
            self._weight -= sum(weight for _, weight in taken)
            return [thing for thing, _ in taken]

    def close(self) -> None:
        """Let nothing more in; what is there can still be taken out."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
