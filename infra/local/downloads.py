"""Presigned downloads, for clients of other machines: the gateway passes them on to the local cloud's S3.

The cloud itself listens on this machine only, since it does whatever it is asked without credentials. What may pass is
a GET or a HEAD of an object by a URL of the very form that chalicelib/storage/blobstore.py signs, for of such a one
MiniStack verifies the signature and its time.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import parse_qsl

import urllib3

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_OBJECT = re.compile(rb"/[a-z0-9-]+/(blobs|manifests)/[A-Za-z0-9_-]+")
_SIGNED = {f"X-Amz-{name}" for name in ("Algorithm", "Credential", "Date", "Expires", "SignedHeaders", "Signature")}
_ALGORITHM = ("X-Amz-Algorithm", "AWS4-HMAC-SHA256")
"""With any other, MiniStack does not look at the signature."""
_MEDIA_TYPE = "response-content-type"
_CHUNK = 1 << 18
_DOWNLOADS = 32
_ASKED = (b"host", b"range", b"if-range", b"if-match", b"if-none-match", b"if-modified-since", b"accept")
"""Request headers that are passed on; the Host is part of what was signed."""
_NOT_TOLD = ("connection", "keep-alive", "transfer-encoding", "date", "server")


class Downloads:
    """An ASGI app, mounted under `/<bucket>/`."""

    def __init__(self, endpoint: str) -> None:
        self._s3 = urllib3.connection_from_url(endpoint, maxsize=_DOWNLOADS, retries=False)
        self._threads = ThreadPoolExecutor(_DOWNLOADS, thread_name_prefix="download")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not _may_pass(scope):
            await send({"type": "http.response.start", "status": 403, "headers": [(b"content-length", b"0")]})
            await send({"type": "http.response.body"})
            return
        loop = asyncio.get_running_loop()
        answer = await loop.run_in_executor(self._threads, self._ask, scope)
        client_left = asyncio.create_task(_left(receive))
        try:
            headers = [
                (name.lower().encode("latin-1"), value.encode("latin-1"))
                for name, value in answer.headers.items()
                if name.lower() not in _NOT_TOLD
            ]
            await send({"type": "http.response.start", "status": answer.status, "headers": headers})
            while not client_left.done() and (chunk := await loop.run_in_executor(self._threads, answer.read, _CHUNK)):
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body"})
        finally:
            client_left.cancel()
            answer.close()

    def _ask(self, scope: Scope) -> urllib3.BaseHTTPResponse:
        headers = {name.decode(): value.decode("latin-1") for name, value in scope["headers"] if name in _ASKED}
        target = f"{scope['raw_path'].decode('latin-1')}?{scope['query_string'].decode('latin-1')}"
        return self._s3.urlopen(
            scope["method"], target, headers=headers, preload_content=False, decode_content=False, redirect=False
        )


def _may_pass(scope: Scope) -> bool:
    fields = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
    names = sorted(name for name, _ in fields if name != _MEDIA_TYPE)
    return (
        scope["method"] in ("GET", "HEAD")
        and _OBJECT.fullmatch(scope["raw_path"]) is not None
        and names == sorted(_SIGNED)
        and len(fields) <= len(_SIGNED) + 1
        and _ALGORITHM in fields
    )


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
