"""The memory of all uploads of a relay: bounded, and taken only by bytes that have come.

It is for the event loop alone, so nothing here is locked. When there is none left, bytes are not read until another
upload gives some back. An upload that fills a part slowly would keep all others waiting then: after a moment the
slowest one is told to leave. What it has sent is kept, and its client can go on.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Protocol

from chalicelib.registry.errors import Unavailable

_PATIENCE_SECONDS = 1.0
"""How long an upload waits for memory before another has to leave for it."""
_WAIT_SECONDS = 60.0


class Holder(Protocol):
    """An upload that holds memory."""

    held: int
    """Bytes that it has taken and not given back."""

    def bytes_a_second(self) -> float:
        """How fast bytes have come lately."""
        ...

    def dismiss(self) -> bool:
        """Make it give back what it holds, soon. False when it cannot be made to: its bytes are on their way."""
        ...


class Memory:
    """So many bytes, shared by holders."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._free = size
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._holders: set[Holder] = set()

    @property
    def is_short(self) -> bool:
        """Whether uploads had better send smaller parts."""
        return self._free < self._size // 2 or bool(self._waiting)

    async def take(self, holder: Holder, size: int) -> None:
        """Wait until there are `size` bytes. Raises Unavailable when that takes too long."""
        self._holders.add(holder)
        deadline = asyncio.get_running_loop().time() + _WAIT_SECONDS
        while self._free < size:
            if asyncio.get_running_loop().time() >= deadline:
                raise Unavailable("the upload relay is busy", retry_after=5)
            await self._wait()
        self._free -= size
        holder.held += size
        self._wake_next()

    def give(self, holder: Holder, size: int) -> None:
        self._free += size
        holder.held -= size
        self._wake_next()

    def leave(self, holder: Holder) -> None:
        """Give back all that a holder still has."""
        self._holders.discard(holder)
        self.give(holder, holder.held)

    def _wake_next(self) -> None:
        if self._free and self._waiting and not self._waiting[0].done():
            self._waiting[0].set_result(None)

    async def _wait(self) -> None:
        future = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                await future
        except TimeoutError:
            for slowest in sorted(self._holders, key=lambda each: each.bytes_a_second()):
                if slowest.held and slowest.dismiss():
                    break
        finally:
            if future in self._waiting:
                self._waiting.remove(future)
