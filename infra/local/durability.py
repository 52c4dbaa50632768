"""Makes the local cloud's DynamoDB and Secrets Manager durable: an ASGI middleware around MiniStack's app.

MiniStack saves its state when it stops cleanly, and loses what was written since when it is killed. So one write is let
through at a time, and what it has made of the items it touched (a put says so, an update is read back) goes to the
journal before the answer leaves. After a crash the stack is deployed again and the images are written in their order:
every item is then as it was when its last write was acknowledged. A clean stop saves everything, and empties the
journal after that. The decision and its limits are in docs/decisions/local-durability.md.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from functools import partial
from typing import Any, NoReturn

from infra.local import effects
from infra.local.journal import Journal
from infra.local.snapshots import Snapshots

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]

RECOVER_PATH = "/_berth/recover"
log = logging.getLogger("berth.durability")


class DurableCloud:
    """MiniStack's app with its writes journalled. `POST /_berth/recover` writes back what the journal holds."""

    def __init__(self, cloud: AsgiApp, journal: Journal, snapshots: Snapshots) -> None:
        self._cloud = cloud
        self._journal = journal
        self._snapshots = snapshots
        self._writing = asyncio.Lock()
        self._unwritten: asyncio.Event | None = None
        """Set once the write that is under way is on disk; None when none is under way."""
        self._effects = effects.Effects()
        self._recovered = False
        self.failure: str | None = None
        """Why MiniStack did not start."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(scope, receive, send)
            return
        target = _target(scope)
        if target in effects.WRITES:
            await self._write(scope, target, receive, send)
        elif target in effects.UNKNOWN:
            await _answer(send, 400, {"__type": "ValidationException", "message": f"{target} is not journalled"})
        elif target:
            await self._read(scope, receive, send)
        elif scope.get("path") == RECOVER_PATH:
            await self._recover(scope, send)
        else:
            await self._cloud(scope, receive, send)

    async def _live(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass start and stop on; empty the journal when MiniStack has really saved all that it holds.

        What MiniStack cannot load it would replace by nothing at its stop, so a start with errors is a failed start.
        """
        before: dict[str, tuple[int, int]] = {}
        faults = _Faults()
        logging.getLogger().addHandler(faults)

        async def receive_noting_stop() -> Message:
            message = await receive()
            if message["type"] == "lifespan.shutdown":
                before.update(self._snapshots.versions())
            return message

        async def send_noting_result(message: Message) -> None:
            if message["type"] == "lifespan.startup.complete":
                faults.started = True
                if faults.reasons:
                    self.failure = "; ".join(faults.reasons)
                    message = {"type": "lifespan.startup.failed"}
            elif message["type"] == "lifespan.shutdown.complete" and self._recovered:
                if self._snapshots.keep(before):
                    self._journal.clear()
                else:
                    log.error("MiniStack did not save its state: the journal is kept")
            await send(message)

        try:
            await self._cloud(scope, receive_noting_stop, send_noting_result)
        except Exception as error:
            self.failure = str(error) if len(str(error)) < 200 else type(error).__name__
            raise

    async def _read(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a read through; what it saw may be a write that is not on disk yet, so its answer waits for that."""

        async def send_when_written(message: Message) -> None:
            if self._unwritten is not None:
                await self._unwritten.wait()
            await send(message)

        await self._cloud(scope, receive, send_when_written)

    async def _write(self, scope: Scope, target: str, receive: Receive, send: Send) -> None:
        body = await _body(receive)
        if body is None:
            return
        async with self._writing:
            self._unwritten = asyncio.Event()
            try:
                answer = await self._request(scope, body)
                if answer[0]["status"] == 200:
                    await self._record(scope, target, json.loads(body))
            finally:
                self._unwritten.set()
                self._unwritten = None
        for message in answer:
            await send(message)

    async def _record(self, scope: Scope, target: str, request: dict[str, Any]) -> None:
        try:
            self._journal.append(await self._effects.of(partial(self._call, scope), target, request))
        except Exception as error:
            _abandon(f"a write could not be journalled: {error!r}")

    async def _recover(self, scope: Scope, send: Send) -> None:
        """Write back every image; the stack must be deployed. Answers {"images": how many}.

        Secrets that the deployment has generated are journalled too: after a crash it would generate others.
        """
        call = partial(self._call, scope)
        async with self._writing:
            images = self._journal.images()
            try:
                await effects.write_back(call, images)
                self._journal.append(await effects.all_secrets(call))
                self._journal.compact()
            except (RuntimeError, OSError) as error:
                await _answer(send, 500, {"message": str(error)})
                return
            self._recovered = True
        await _answer(send, 200, {"images": len(images)})

    async def _call(self, scope: Scope, target: str, request: dict[str, Any]) -> dict[str, Any]:
        """Call MiniStack as the client of `scope` would, so that it finds the same account and region."""
        headers = [(name, value) for name, value in scope["headers"] if name in (b"host", b"authorization")]
        headers += [(b"x-amz-target", target.encode()), (b"content-type", b"application/x-amz-json-1.1")]
        inner = {**scope, "method": "POST", "path": "/", "raw_path": b"/", "query_string": b"", "headers": headers}
        start, *rest = await self._request(inner, json.dumps(request).encode())
        body = b"".join(message.get("body", b"") for message in rest)
        if start["status"] != 200:
            raise RuntimeError(f"{target} failed: {body[:300].decode(errors='replace')}")
        answer: dict[str, Any] = json.loads(body)
        return answer

    async def _request(self, scope: Scope, body: bytes) -> list[Message]:
        """Call MiniStack's app, and keep its answer."""
        messages: list[Message] = []
        pending = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> Message:
            return pending.pop() if pending else {"type": "http.disconnect"}

        async def collect(message: Message) -> None:
            messages.append(message)

        await self._cloud(scope, receive, collect)
        return messages


class _Faults(logging.Handler):
    """Hears of the failures that MiniStack only logs: state that it cannot load, objects that it cannot write."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.reasons: list[str] = []
        self.started = False

    def emit(self, record: logging.LogRecord) -> None:
        if not self.started and record.levelno >= logging.ERROR:
            self.reasons.append(record.getMessage())
        elif record.getMessage().startswith("Failed to persist S3"):
            _abandon(record.getMessage())


def _target(scope: Scope) -> str:
    """The operation of a request in one of AWS's JSON protocols, empty for any other."""
    if scope.get("method") != "POST":
        return ""
    return next((value.decode("latin-1") for name, value in scope["headers"] if name == b"x-amz-target"), "")


def _abandon(reason: str) -> NoReturn:
    """End the process: it holds a write that is not on disk, and must not acknowledge or show it."""
    with suppress(OSError):  # the disk that is full may be the log's too
        print(reason, file=sys.stderr, flush=True)
    os._exit(1)


async def _body(receive: Receive) -> bytes | None:
    """The request's body; None when the client went away before it was complete."""
    chunks = []
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        chunks.append(message.get("body", b""))
        more = message.get("more_body", False)
    return b"".join(chunks)


async def _answer(send: Send, status: int, body: dict[str, Any]) -> None:
    headers = [(b"content-type", b"application/x-amz-json-1.0")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(body).encode()})
