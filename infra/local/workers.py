"""Threads that run a blocking function for an event loop.

Why not `loop.run_in_executor`: its two chained futures, lock and semaphore take half as much CPU as the request that
they carry. Here the loop alone keeps count, and the threads share one queue.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Workers(Generic[T]):
    """Calls `function` in up to `limit` threads, as many as there were calls at once; more wait for their turn."""

    def __init__(self, function: Callable[..., T], limit: int) -> None:
        self._function, self._limit = function, limit
        self._threads = self._calls = 0
        self._queue: SimpleQueue[tuple[asyncio.Future[T], tuple[Any, ...]]] = SimpleQueue()

    async def call(self, *arguments: Any) -> T:
        """What `function` returns or raises. Cancelling does not stop a call that has begun."""
        loop = asyncio.get_running_loop()
        result: asyncio.Future[T] = loop.create_future()
        self._calls += 1
        if self._threads < min(self._calls, self._limit):
            self._threads += 1
            # A daemon: what a function was about when the process ends, a client asks for again.
            threading.Thread(target=self._run, args=(loop,), daemon=True).start()
        self._queue.put((result, arguments))
        return await result

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        while True:
            result, arguments = self._queue.get()
            try:
                settle: Callable[[], None] = partial(result.set_result, self._function(*arguments))
            except BaseException as error:
                settle = partial(result.set_exception, error)
            try:
                loop.call_soon_threadsafe(self._end, result, settle)
            except RuntimeError:  # the loop has been closed, nobody waits
                return

    def _end(self, result: asyncio.Future[T], settle: Callable[[], None]) -> None:
        self._calls -= 1
        if not result.done():
            settle()
