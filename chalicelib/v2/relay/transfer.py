"""A body on its way from a client to the store: parts are sent while the next one comes."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from chalicelib.http import Response
from chalicelib.oci.errors import RangeInvalid, SizeInvalid, Unavailable
from chalicelib.storage.conditions import is_transient
from chalicelib.v2.relay.body import Body
from chalicelib.v2.uploads import Receiving

T = TypeVar("T")

_SENDING = 2
"""Parts of one upload that are on their way to S3 while the next one comes."""


class Transfer:
    """Receives one body. Calls that block run in `calls`, and parts are sent by `senders`."""

    def __init__(
        self, receiving: Receiving, body: Body, calls: ThreadPoolExecutor, senders: ThreadPoolExecutor
    ) -> None:
        self._receiving = receiving
        self._body = body
        self._calls = calls
        self._senders = senders
        self._sending: deque[asyncio.Future[None]] = deque()
        self._came = 0

    async def run(self) -> Response:
        """Receive the body, and end the request.

        What comes of a body that breaks off, or is too slow, is recorded before SizeInvalid or UploadTooSlow is raised.
        """
        try:
            index, buffer = await self._receive()
            if self._body.is_left or self._body.error is not None:
                await self._break_off(index, buffer)
            if self._receiving.length not in (None, self._came):
                raise SizeInvalid(f"the body ended after {self._came} bytes")
            return await self._call(self._receiving.end, index, buffer if self._came else None)
        except Exception as error:
            await asyncio.gather(*self._sending, return_exceptions=True)
            if isinstance(error, Unavailable) or is_transient(error):
                await self._call(self._receiving.writer.keep)
            raise

    async def _receive(self) -> tuple[int, bytearray]:
        """Send all buffers but the last one: its index, and the buffer, once the others are stored."""
        writer, index = self._receiving.writer, 0
        buffer = bytearray(await self._call(self._receiving.head)) if writer.head_size else bytearray()
        while True:
            before = len(buffer)
            size = writer.buffer_size(index)
            await self._body.fill(buffer, size, writer.least_size(index))
            self._came += len(buffer) - before
            self._require_no_more()
            if self._receiving.length is None and self._came:
                await self._call(self._receiving.require_room, self._came)
            if self._body.ended:
                break
            await self._send(index, buffer)
            index, buffer = index + 1, bytearray()
        while self._sending:
            await self._sending.popleft()
        return index, buffer

    def _require_no_more(self) -> None:
        length = self._receiving.length
        if length is not None and self._came > length:
            raise SizeInvalid(f"more than {length} bytes arrived")

    async def _break_off(self, index: int, buffer: bytearray) -> None:
        """Record what came, unless another request goes on with the upload. Raises what the client is answered."""
        error = self._body.error or SizeInvalid(f"the body ended after {self._came} bytes")
        if self._came and not isinstance(error, RangeInvalid):
            await self._call(self._receiving.writer.append, index, buffer)
        raise error

    async def _send(self, index: int, buffer: bytearray) -> None:
        """Send off a buffer; returns when no more than `_SENDING` are under way."""
        taken = self._body.hand_over()
        loop = asyncio.get_running_loop()
        sent = loop.run_in_executor(self._senders, self._receiving.writer.send, index, buffer)
        sent.add_done_callback(lambda _: self._body.give(taken))
        self._sending.append(sent)
        while len(self._sending) > _SENDING:
            await self._sending.popleft()

    async def _call(self, call: Callable[..., T], *arguments: Any) -> T:
        result: Awaitable[T] = asyncio.get_running_loop().run_in_executor(self._calls, call, *arguments)
        return await result
