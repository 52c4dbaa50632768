"""A request's body as it comes over ASGI: gathered by the event loop, as fast as a client has to send it.

A client that sends nothing, or next to nothing, holds no thread and no memory but that of its bytes, and is answered
408 after a while.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Coroutine, MutableMapping
from typing import Any

from chalicelib.oci.errors import RangeInvalid, RegistryError, UploadTooSlow
from chalicelib.v2.relay.memory import Memory

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]

WINDOW_SECONDS = 60.0
LEAST_BYTES = 60 * 1024
"""What has to come in each window: a kilobyte a second, which the slowest of lines carries."""

_FADE_SECONDS = 10.0
_STEP = 1 << 20
"""Memory is taken in steps of so many bytes,"""
_UNCOUNTED = 64 * 1024
"""beyond these of each buffer, which the HTTP server holds of each connection too."""


class Body:
    """The bytes of one request; it belongs to the task that makes it.

    `ended`: all that comes has been read. `error`: why that was not all, if it was not.
    """

    def __init__(self, receive: Receive, memory: Memory, user: str) -> None:
        self.user = user
        self.held = 0
        self.ended = False
        self.error: RegistryError | None = None
        self.is_left = False
        """Whether the client went away in the middle."""
        self._receive = receive
        self._memory = memory
        self._surplus = memoryview(b"")
        """What came and belongs to the next buffer."""
        self._task = asyncio.current_task()
        self._is_reading = False
        self._is_waiting = False
        """For bytes or for memory: what a later request may interrupt."""
        self._is_last = False
        self._taken = 0
        """Memory that the buffer which is being filled has taken."""
        self._window_began = self._faded = time.monotonic()
        self._window_bytes = 0
        self._recent = 0.0

    async def fill(self, buffer: bytearray, size: int, least: int) -> None:
        """Add bytes to `buffer` until it has `size`, or at least `least` while memory is short, or the body ends.

        Raises Unavailable. When another request takes over, or the client is too slow, the body ends with `error`.
        """
        self._begin_window()
        while not self.ended and len(buffer) < (least if self._memory.is_short else size):
            if not self._surplus:
                await self._interruptible(self._read())
            taken = self._surplus[: size - len(buffer)]
            await self._interruptible(self._reserve(len(buffer) + len(taken)))
            if self.error is not None:
                break
            buffer += taken
            self._surplus = self._surplus[len(taken) :]
            if self._is_last and not self._surplus:
                self.ended = True

    def hand_over(self) -> int:
        """Begin another buffer. Returns the memory of the one before: to be given back when that is stored."""
        taken, self._taken = self._taken, 0
        return taken

    def give(self, taken: int) -> None:
        self._memory.give(self, taken)

    def close(self) -> None:
        self._memory.leave(self)
        self._task = None

    def bytes_a_second(self) -> float:
        """How fast bytes have come, with those of the last seconds counting most."""
        self._fade()
        return self._recent / _FADE_SECONDS

    def dismiss(self) -> bool:
        return self._is_reading and self._interrupt(
            UploadTooSlow("others wait for the memory of this upload: go on with it later")
        )

    def overtake(self) -> None:
        """End this body in favour of a later request for the same upload: its client has come back.

        At once, or when it is to go on after what its task is doing now. One that has come whole ends as it would.
        """
        error = RangeInvalid("another request has taken over this upload")
        if not self._interrupt(error) and not self.ended and self.error is None:
            self.error = error

    def _interrupt(self, error: RegistryError) -> bool:
        """End the wait for bytes or memory with `error`. False when there is none."""
        if self._task is None or not self._is_waiting or self.error is not None:
            return False
        self.error = error
        self._task.cancel()
        return True

    async def _interruptible(self, wait: Coroutine[Any, Any, None]) -> None:
        """Await, unless the body has been ended by another request, or is meanwhile."""
        if self.error is not None:
            wait.close()
            self._end()
            return
        self._is_waiting = True
        try:
            await wait
        except asyncio.CancelledError:
            if self.error is None or self._task is None:
                raise
            self._task.uncancel()
            self._end()
        finally:
            self._is_waiting = False

    async def _read(self) -> None:
        """Wait for the next bytes."""
        self._is_reading = True
        try:
            message = await self._next_message()
        finally:
            self._is_reading = False
        if message is None:
            self.error = UploadTooSlow(f"fewer than {LEAST_BYTES} bytes came in {WINDOW_SECONDS:.0f} seconds")
            self._end()
        elif message["type"] == "http.disconnect":
            self.is_left = True
            self._end()
        else:
            self._surplus = memoryview(message.get("body", b""))
            self._window_bytes += len(self._surplus)
            self._fade()
            self._recent += len(self._surplus)
            self._is_last = not message.get("more_body", False)

    async def _next_message(self) -> Message | None:
        """The next message, None when too few bytes come."""
        while True:
            left = self._window_began + WINDOW_SECONDS - time.monotonic()
            if left <= 0 and self._window_bytes < LEAST_BYTES:
                return None
            if left <= 0:
                self._begin_window()
                continue
            try:
                async with asyncio.timeout(left):
                    return await self._receive()
            except TimeoutError:
                continue

    def _fade(self) -> None:
        now = time.monotonic()
        self._recent *= math.exp((self._faded - now) / _FADE_SECONDS)
        self._faded = now

    def _end(self) -> None:
        self._is_last = self.ended = True

    def _begin_window(self) -> None:
        self._window_began, self._window_bytes = time.monotonic(), 0

    async def _reserve(self, size: int) -> None:
        """Have memory for a buffer of `size` bytes beside those that are on their way to the store."""
        while self._taken < size - _UNCOUNTED:
            await self._memory.take(self, _STEP)
            self._taken += _STEP
            self._begin_window()  # that memory was short is not its client's slowness
