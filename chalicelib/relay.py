"""The upload relay: an ASGI app that streams request bodies of any size into S3 multipart uploads.

It serves the upload addresses alone, authorised by the `_state` that they carry, by the rules of
chalicelib/registry/upload_http.py. Each request is answered in a thread; the event loop only moves the bytes that
arrive into the buffer which that thread offers, a part's size each. While one buffer fills, two are hashed and sent. A
client that is faster than S3 finds its connection not being read, so memory stays flat.

Run it with `uvicorn chalicelib.relay:app`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from typing import Any, Self
from urllib.parse import parse_qsl

from chalicelib.observability import observed
from chalicelib.registry import names, upload_http
from chalicelib.registry.answers import answered
from chalicelib.registry.buffers import Buffers
from chalicelib.registry.errors import BlobUploadInvalid, SizeInvalid, Unavailable
from chalicelib.registry.http import Request, Response
from chalicelib.registry.upload_writer import Buffer, Writer
from chalicelib.storage.conditions import is_transient

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_BUFFERS = 8
"""Buffers of a part's size that all uploads share: what bounds the relay's memory."""
_SENDING = 2
"""Parts of one upload that are on their way to S3 while the next one fills."""
_SMALL = 1 << 20
"""Bodies up to this size get a buffer of their own size instead of a shared one."""
_UPLOADS = 64
"""Requests that are answered at the same time; others wait unread."""
_FIELDS = 100
_IDLE_SECONDS = 60.0
"""A client that sends nothing for so long is taken to be gone."""


class _Parts:
    """The buffers of one request: the one that fills, and those that are on their way to S3."""

    def __init__(self, writer: Writer, buffers: Buffers, senders: ThreadPoolExecutor) -> None:
        self._writer = writer
        self._buffers = buffers
        self._senders = senders
        self._filling: bytearray | None = None
        self._sending: deque[Future[None]] = deque()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        wait(self._sending)
        if self._filling is not None:
            self._buffers.give(self._filling)

    def take(self, size: int) -> bytearray:
        self._filling = self._buffers.take(size)
        return self._filling

    def send(self, index: int, buffer: bytearray) -> None:
        """Send off the full buffer; returns when no more than `_SENDING` are under way."""
        self._filling = None
        self._sending.append(self._senders.submit(self._send, index, buffer))
        while len(self._sending) > _SENDING:
            self._sending.popleft().result()

    def arrived(self) -> None:
        """Wait for every buffer that was sent off."""
        while self._sending:
            self._sending.popleft().result()

    def _send(self, index: int, buffer: bytearray) -> None:
        try:
            self._writer.send(index, buffer)
        finally:
            self._buffers.give(buffer)


class StreamedBody:
    """A request's body as it arrives over ASGI, read from a thread that is not the event loop's."""

    verifiable: int | None = None

    def __init__(self, receive: Receive, buffers: Buffers, senders: ThreadPoolExecutor) -> None:
        self._receive = receive
        self._buffers = buffers
        self._senders = senders
        self._loop = asyncio.get_running_loop()
        self._surplus = memoryview(b"")
        """What came and did not fit the last buffer."""
        self._ended = False
        self._cut_short = False

    @contextmanager
    def poured(self, writer: Writer, length: int | None) -> Iterator[tuple[int, Buffer | None]]:
        """See upload_http.Body. What came of a body that breaks off is recorded before SizeInvalid is raised."""
        if length == 0:
            yield 0, None
            return
        try:
            with _Parts(writer, self._buffers, self._senders) as parts:
                index, came, rest = self._pour(writer, parts, length)
                if self._cut_short and came:
                    writer.append(index, rest)
                if self._cut_short or length not in (None, came):
                    raise SizeInvalid(f"the body ended after {came} bytes")
                yield index, rest if came else None
        except Exception as error:
            if isinstance(error, Unavailable) or is_transient(error):
                writer.keep()
            raise

    def _pour(self, writer: Writer, parts: _Parts, length: int | None) -> tuple[int, int, Buffer]:
        """Send all buffers but the last: its index, the number of bytes that came in all, and its content."""
        index, came, start = 0, 0, writer.head_size
        while True:
            size = writer.buffer_size(index)
            if length is not None and start + length < _SMALL:
                buffer = bytearray(start + length + 1)  # the byte more shows that too many come
            else:
                buffer = parts.take(size)
            read = self._read_into(memoryview(buffer)[start:])
            came += read
            if start and read:
                buffer[:start] = writer.head()
            if len(buffer) < size or start + read < size or (self._ended and not self._surplus):
                parts.arrived()
                return index, came, memoryview(buffer)[: start + read]
            if length is not None and came > length:
                raise SizeInvalid(f"more than {length} bytes arrived")
            parts.send(index, buffer)
            index, start = index + 1, 0

    def _read_into(self, view: memoryview) -> int:
        """Fill `view` from the client. Returns how many bytes came: fewer only at the end."""
        return asyncio.run_coroutine_threadsafe(self._fill(view), self._loop).result()

    async def _fill(self, view: memoryview) -> int:
        filled = self._take(self._surplus, view)
        with suppress(TimeoutError):
            async with asyncio.timeout(_IDLE_SECONDS) as patience:
                while filled < len(view) and not self._ended:
                    message = await self._receive()
                    patience.reschedule(self._loop.time() + _IDLE_SECONDS)
                    self._cut_short = message["type"] == "http.disconnect"
                    self._ended = self._cut_short or not message.get("more_body", False)
                    filled += self._take(memoryview(message.get("body", b"")), view[filled:])
                return filled
        self._ended = self._cut_short = True
        return filled

    def _take(self, data: memoryview, view: memoryview) -> int:
        size = min(len(data), len(view))
        view[:size] = data[:size]
        self._surplus = data[size:]
        return size


class Relay:
    """The ASGI app. Mount it under any prefix: what precedes `/v2/` in a path is ignored."""

    def __init__(self) -> None:
        self._buffers = Buffers(_BUFFERS)
        self._answering = ThreadPoolExecutor(_UPLOADS, thread_name_prefix="upload")
        self._senders = ThreadPoolExecutor(_BUFFERS, thread_name_prefix="part")

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
        elif scope["type"] == "http":
            body = StreamedBody(receive, self._buffers, self._senders)
            loop = asyncio.get_running_loop()
            response = await loop.run_in_executor(self._answering, _answer, _to_request(scope), body)
            await _send(send, scope["method"], response)


app = Relay()


@observed
@answered
def _answer(request: Request, body: StreamedBody) -> Response:
    """Answer one request."""
    target = names.parse_path(request.path)
    if target.kind != "upload" or not upload_http.is_capability(request, target):
        raise BlobUploadInvalid("the upload relay serves the addresses of started uploads only")
    return upload_http.handle_upload(request, target, body)


def _to_request(scope: Message) -> Request:
    path: str = scope["raw_path"].decode("latin-1").partition("?")[0]
    return Request(
        method=scope["method"],
        path=path[max(path.find("/v2/"), 0) :],
        query=_query(scope["query_string"].decode("latin-1")),
        headers={name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]},
    )


def _query(text: str) -> dict[str, str]:
    """Each parameter's first value. A query of more fields than any client sends is none, and so authorises nothing."""
    if text.count("&") >= _FIELDS:
        return {}
    return dict(reversed(parse_qsl(text, keep_blank_values=True)))


async def _send(send: Send, method: str, response: Response) -> None:
    headers = {name.lower(): value for name, value in response.headers.items()}
    if response.status != 204:
        headers["content-length"] = str(len(response.body))
    encoded = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": response.status, "headers": encoded})
    await send({"type": "http.response.body", "body": b"" if method == "HEAD" else response.body})


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
