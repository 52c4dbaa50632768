"""The memory of all uploads of a relay: bounded, and taken only by bytes that have come.

It is for the event loop alone, so nothing here is locked. When there is none left, bytes are not read until another
upload gives some back, in the order in which they came. The last of it is for one at a time: many uploads that each
have a piece of a part would wait for each other for ever, and so one of them gets its part together.

An upload that fills a part slowly would keep all others waiting too: after a moment one has to leave. That is one of a
user who holds more than an equal share, and of those the slowest; what it has sent is kept, and its client can go on.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter, deque
from typing import Protocol

from chalicelib.oci.errors import Unavailable

_PATIENCE_SECONDS = 1.0
"""How long the first in the queue waits for memory, while nobody gives any back, before another upload has to leave,"""
_LONG_SECONDS = 5.0
"""and how long while others do."""
_RESERVE = 16 << 20
"""Bytes for one upload at a time: more than the smallest part."""
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
    """So many bytes, shared by holders; `reserve` of them are for one at a time."""

    def __init__(self, size: int, reserve: int = _RESERVE) -> None:
        self._size = size
        self._free = size
        self._reserve = min(reserve, size // 2)
        self._first: Holder | None = None
        """Which the reserve is for, until it gives back, or takes nothing for a moment."""
        self._first_granted = -math.inf
        self._given = -math.inf
        """When memory was given back last, on the event loop's clock."""
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
        if size:
            self._given = asyncio.get_running_loop().time()
        if holder is self._first:
            self._first = None
        self._free += size
        holder.held -= size
        self._admit()

    def leave(self, holder: Holder) -> None:
        """Give back all that a holder still has."""
        self._holders.discard(holder)
        self.give(holder, holder.held)

    def _admit(self) -> None:
        """Let those at the head of the queue have what they wait for, and the one that the last of it is for."""
        while self._waiting and self._free >= self._waiting[0][2] + self._reserve:
            self._grant(self._waiting.popleft())
        if not self._waiting:
            return
        now = asyncio.get_running_loop().time()
        if self._first is None or now - self._first_granted >= _PATIENCE_SECONDS:
            self._first = self._next_first()
        turn = next((turn for turn in self._waiting if turn[1] is self._first), None)
        if turn is not None and self._free >= turn[2]:
            self._first_granted = now
            self._waiting.remove(turn)
            self._grant(turn)

    def _next_first(self) -> Holder:
        """Whom the reserve is for next: of the user who holds least the upload that holds most."""
        held = self._held_by_users()
        return max((turn[1] for turn in self._waiting), key=lambda each: (-held[each.user], each.held))

    def _held_by_users(self) -> Counter[str]:
        held: Counter[str] = Counter()
        for holder in self._holders:
            held[holder.user] += holder.held
        return held

    def _grant(self, turn: Turn) -> None:
        future, holder, size = turn
        self._free -= size
        holder.held += size
        future.set_result(None)

    async def _granted(self, turn: Turn) -> None:
        clock = asyncio.get_running_loop().time
        began = clock()
        while not turn[0].done():
            await asyncio.wait([turn[0]], timeout=_PATIENCE_SECONDS)
            if turn[0].done():
                return
            if clock() - began >= _WAIT_SECONDS:
                raise Unavailable("the upload relay is busy", retry_after=5)
            self._admit()
            if turn[0].done():
                return
            is_stuck = clock() - self._given >= _PATIENCE_SECONDS
            if self._waiting[0] is turn and (is_stuck or clock() - began >= _LONG_SECONDS):
                self._dismiss_one(turn[1])

    def _dismiss_one(self, waiting: Holder) -> None:
        """Have an upload leave that is in the way: never one of a user who has no more than an equal share."""
        held = self._held_by_users()
        share = self._size / max(1, len(held))
        others = (each for each in self._holders if each is not waiting and each.held and held[each.user] >= share)
        for slowest in sorted(others, key=lambda each: each.bytes_a_second()):
            if slowest.dismiss():
                return
