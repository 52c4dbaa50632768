"""Buffers of a part's size, used again and again: what bounds the memory of who moves blobs."""

from __future__ import annotations

import threading
from contextlib import suppress

from chalicelib.oci.errors import Unavailable

_WAIT_SECONDS = 60.0


class Buffers:
    """A bounded number of buffers, used again and again. One of an unusual size is made anew."""

    def __init__(self, count: int) -> None:
        self._free: list[bytearray] = []
        self._permits = threading.BoundedSemaphore(count)

    def take(self, size: int) -> bytearray:
        """A buffer of `size` bytes; waits for one to be given back. Raises Unavailable when that takes too long."""
        buffer = self.offer(size, _WAIT_SECONDS)
        if buffer is None:
            raise Unavailable("the upload relay is busy", retry_after=5)
        return buffer

    def offer(self, size: int, seconds: float) -> bytearray | None:
        """A buffer of `size` bytes, None when none is given back within `seconds`."""
        if not self._permits.acquire(timeout=seconds):
            return None
        with suppress(IndexError):
            buffer = self._free.pop()
            if len(buffer) == size:
                return buffer
        return bytearray(size)

    def give(self, buffer: bytearray) -> None:
        self._free.append(buffer)
        self._permits.release()
