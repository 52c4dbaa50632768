"""The memory of all uploads of a relay: bounded, and taken only by bytes that have come.

It is for the event loop alone, so nothing here is locked. When there is none left, bytes are not read until another
upload gives some back, in the order in which they came. An upload that fills a part slowly would keep all others
waiting then: after a moment one has to leave. That is one of a user who holds more than an equal share, and of those
the slowest; what it has sent is kept, and its client can go on.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from typing import Protocol

from chalicelib.registry.errors import Unavailable

_PATIENCE_SECONDS = 1.0
"""How long the first in the queue waits for memory before another upload has to leave for it."""
_WAIT_SECONDS = 60.0


class Holder(Protocol):
    """An upload that holds memory."""

    user: str
    held: int
    """Bytes that it has taken and not given back."""

    def bytes_a_second(self) -> float:
        """How fast bytes have come lately."""
        ...

    def dismiss(self) -> bool:
        """Make it give back what it holds, soon. False when it cannot be made to: its bytes are on their way."""
        ...


Turn = tuple[asyncio.Future[None], Holder, int]


class Memory:
    """So many bytes, shared by holders."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._free = size
        self._waiting: deque[Turn] = deque()
        self._holders: set[Holder] = set()

    @property
    def is_short(self) -> bool:
        """Whether uploads had better send smaller parts."""
        return self._free < self._size // 2 or bool(self._waiting)

    async def take(self, holder: Holder, size: int) -> None:
        """Wait until there are `size` bytes. Raises Unavailable when that takes too long."""
        self._holders.add(holder)
        turn: Turn = (asyncio.get_running_loop().create_future(), holder, size)
        self._waiting.append(turn)
        self._admit()
        try:
            await self._granted(turn)
        except BaseException:
            if turn in self._waiting:
                self._waiting.remove(turn)
            else:
                self.give(holder, size)
            raise

    def give(self, holder: Holder, size: int) -> None:
        self._free += size
        holder.held -= size
        self._admit()

    def leave(self, holder: Holder) -> None:
        """Give back all that a holder still has."""
        self._holders.discard(holder)
        self.give(holder, holder.held)

    def _admit(self) -> None:
        """Let those at the head of the queue have what they wait for."""
        while self._waiting and self._free >= self._waiting[0][2]:
            future, holder, size = self._waiting.popleft()
            self._free -= size
            holder.held += size
            future.set_result(None)

    async def _granted(self, turn: Turn) -> None:
        deadline = asyncio.get_running_loop().time() + _WAIT_SECONDS
        while not turn[0].done():
            await asyncio.wait([turn[0]], timeout=_PATIENCE_SECONDS)
            if turn[0].done():
                return
            if asyncio.get_running_loop().time() >= deadline:
                raise Unavailable("the upload relay is busy", retry_after=5)
            if self._waiting[0] is turn:
                self._dismiss_one(turn[1])

    def _dismiss_one(self, waiting: Holder) -> None:
        """Have an upload leave that is in the way: never one of a user who has no more than an equal share."""
        held: Counter[str] = Counter()
        for holder in self._holders:
            held[holder.user] += holder.held
        share = self._size / max(1, len(held))
        others = (each for each in self._holders if each is not waiting and each.held and held[each.user] >= share)
        for slowest in sorted(others, key=lambda each: each.bytes_a_second()):
            if slowest.dismiss():
                return
