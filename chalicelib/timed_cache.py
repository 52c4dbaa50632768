"""A small, bounded, thread-safe cache whose entries live for seconds: what a warm function may remember."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

_SWEEP = 16
"""Puts at least between two looks for what has expired."""

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

Clock = Callable[[], float]
"""Seconds. The wall clock by default: Lambda freezes a function between requests, and a monotonic clock with it."""


class TimedCache(Generic[K, V]):
    """At most `size` entries; the oldest goes first, and what has expired by and by. Values must not be changed."""

    def __init__(self, size: int, clock: Clock = time.time) -> None:
        self._size = size
        self._clock = clock
        self._entries: dict[K, tuple[float, V]] = {}
        self._puts_to_sweep = _SWEEP
        self._lock = threading.Lock()

    def get(self, key: K) -> tuple[V] | None:
        """The value in a 1-tuple, so that a cached None differs from nothing cached."""
        entry = self._entries.get(key)
        if entry is None or entry[0] < self._clock():
            return None
        return (entry[1],)

    def put(self, key: K, value: V, seconds: float) -> V:
        """Keep `value` for `seconds`, and return it."""
        with self._lock:
            self._entries.pop(key, None)
            self._entries[key] = (self._clock() + seconds, value)
            self._puts_to_sweep -= 1
            if self._puts_to_sweep <= 0:
                self._sweep()
            while len(self._entries) > self._size:
                del self._entries[next(iter(self._entries))]
        return value

    def _sweep(self) -> None:
        """Drop what has expired. After as many puts as it left entries: it costs a put a look at two or so."""
        present = self._clock()
        self._entries = {key: entry for key, entry in self._entries.items() if entry[0] >= present}
        self._puts_to_sweep = max(_SWEEP, len(self._entries))

    def drop(self, key: K) -> None:
        with self._lock:
            self._entries.pop(key, None)

    def clear(self) -> None:
        with self._lock:
            self._entries.clear()
