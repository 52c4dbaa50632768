"""A small, bounded, thread-safe cache whose entries live for seconds: what a warm function may remember."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

Clock = Callable[[], float]
"""Seconds. The wall clock by default: Lambda freezes a function between requests, and a monotonic clock with it."""


class TimedCache(Generic[K, V]):
    """At most `size` entries; the oldest goes first. Callers must treat values as immutable."""

    def __init__(self, size: int, clock: Clock = time.time) -> None:
        self._size = size
        self._clock = clock
        self._entries: dict[K, tuple[float, V]] = {}
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
            while len(self._entries) > self._size:
                del self._entries[next(iter(self._entries))]
        return value

    def drop(self, key: K) -> None:
        with self._lock:
            self._entries.pop(key, None)

    def clear(self) -> None:
        with self._lock:
            self._entries.clear()
