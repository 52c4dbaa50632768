"""The upload relay: an ASGI app that streams request bodies of any size into S3 multipart uploads.

It serves the upload addresses alone, authorised by the `_state` that they carry, by the rules of
chalicelib/v2/uploads.py. The event loop gathers the bytes of all uploads as they come (body.py), in memory
that is bounded (memory.py); a thread hashes and sends a part once it is whole (transfer.py). So a client that is slow
holds no thread, and a client that is faster than S3 finds its connection not being read.

Run it with `uvicorn --http chalicelib.v2.relay.protocol:BoundedHeads chalicelib.v2.relay:app`.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any
from urllib.parse import parse_qsl

from chalicelib.http import Request, Response
from chalicelib.observability import observed_async
from chalicelib.oci import names
from chalicelib.oci.errors import BlobUploadInvalid
from chalicelib.oci.names import Target
from chalicelib.v2 import uploads
from chalicelib.v2.answers import translate_errors_async
from chalicelib.v2.relay.body import Body, Receive
from chalicelib.v2.relay.memory import Memory
from chalicelib.v2.relay.shares import Shares
from chalicelib.v2.relay.transfer import Transfer
from chalicelib.v2.uploads import Receiving

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]

HEALTH_PATH = "/healthz"

MEMORY = 256 << 20
"""Bytes of bodies that wait for their part to be whole or to be stored."""
_CALLS = 32
"""Calls of the stores at once, beside those that send parts. None of them waits for a client."""
_SENDERS = 8
_FIELDS = 100
_LINGER_SECONDS = 10.0


class Relay:
    """The ASGI app. Mount it under any prefix: what precedes `/v2/` in a path is ignored."""

    def __init__(self, memory: int = MEMORY) -> None:
        self._memory = Memory(memory)
        self._shares = Shares()
        self._calls = ThreadPoolExecutor(_CALLS, thread_name_prefix="upload")
        self._senders = ThreadPoolExecutor(_SENDERS, thread_name_prefix="part")

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
        elif scope["type"] == "http" and scope["path"] == HEALTH_PATH:
            await _send(send, scope["method"], Response(200, {"Content-Type": "text/plain"}, b"ok\n"))
        elif scope["type"] == "http":
            ending = _Ending(receive)
            response = await self._answer(_to_request(scope), ending)
            if scope["method"] in ("PATCH", "PUT") and not ending.is_over:
                await _send_and_close(send, response, ending)
            else:
                await _send(send, scope["method"], response)

    async def _answer(self, request: Request, receive: Receive) -> Response:
        return await _observed_answer(request, partial(self._respond, receive=receive))

    async def _respond(self, request: Request, receive: Receive) -> Response:
        loop = asyncio.get_running_loop()
        target = await loop.run_in_executor(self._calls, _authorized, request)
        if request.method not in ("PATCH", "PUT"):
            begun = await loop.run_in_executor(self._calls, uploads.begin, request, target)
            return begun if isinstance(begun, Response) else begun.end(0, None)
        body = Body(receive, self._memory, uploads.user_of(request))
        try:
            with self._shares.receiving(target, body):
                begun = await loop.run_in_executor(self._calls, uploads.begin, request, target)
                if isinstance(begun, Response):
                    return begun
                return await self._receive(begun, body)
        finally:
            body.close()

    async def _receive(self, receiving: Receiving, body: Body) -> Response:
        if receiving.length == 0:
            return await asyncio.get_running_loop().run_in_executor(self._calls, receiving.end, 0, None)
        return await Transfer(receiving, body, self._calls, self._senders).run()


app = Relay()


@observed_async
@translate_errors_async
async def _observed_answer(request: Request, respond: Callable[[Request], Awaitable[Response]]) -> Response:
    return await respond(request)


def _authorized(request: Request) -> Target:
    """The upload that a request is for. Raises BlobUploadInvalid or BlobUploadUnknown when its address is no grant."""
    target = names.parse_path(request.path)
    if target.kind != "upload" or not uploads.is_capability(request, target):
        raise BlobUploadInvalid("the upload relay serves the addresses of started uploads only")
    return target


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


class _Ending:
    """Receives for a request, and knows whether all of it has come."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self.is_over = False

    async def __call__(self) -> Message:
        message = await self._receive()
        self.is_over = self.is_over or not message.get("more_body", False)
        return message


async def _send_and_close(send: Send, response: Response, receive: _Ending) -> None:
    """Answer a request of whose body nobody reads the rest, and end its connection.

    For a while what still comes is dropped, for a client that is sending reads the answer only then. It must not go on
    for ever, nor be cut at once: the answer might be lost with the connection.
    """
    closing = Response(response.status, {**response.headers, "Connection": "close"}, response.body)
    await _send(send, "PATCH", closing, more=True)
    with suppress(TimeoutError):
        async with asyncio.timeout(_LINGER_SECONDS):
            while not receive.is_over:
                await receive()
    await send({"type": "http.response.body", "body": b""})


async def _send(send: Send, method: str, response: Response, *, more: bool = False) -> None:
    headers = {name.lower(): value for name, value in response.headers.items()}
    if response.status != 204:
        headers["content-length"] = str(len(response.body))
    encoded = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": response.status, "headers": encoded})
    await send({"type": "http.response.body", "body": b"" if method == "HEAD" else response.body, "more_body": more})


async def _lifespan(receive: Receive, send: Send) -> None:
    """Serve as the process's own app, that is: not mounted in the local gateway."""
    sys.setswitchinterval(0.0005)  # the event loop waits so long for each busy thread, not 5 ms: there are forty
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
