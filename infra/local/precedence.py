"""Clients go first in the local cloud: an ASGI middleware that lets background functions have a small share of it.

DynamoDB and S3 serve a garbage collection without anybody else's noticing. MiniStack is one process that does one thing
at a time, so what the functions of jobs ask of it would hold up every pull and push. They are told from the gateway by
their key: MiniStack gives a Lambda the account's number for one. While clients are about, functions use up a credit of
the cloud's time, which refills at a fraction of the clock's pace; while none is, they have all of it. The credit lets
short work (a webhook, a counter) through at once; only what goes on and on is slowed. The function that clients wait
for, told by the name in its User-Agent, goes as they do.

The decision and its limits are in docs/decisions/local-precedence.md.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]

ABOUT_SECONDS = 0.02
"""After the last call of a client: a push makes its calls closer together than that."""
SHARE = 0.008
"""Of the cloud's time, what functions have while clients are about: few of their requests meet a call of a function."""
CREDIT_SECONDS = 0.1
"""Of the cloud's time, what functions may use at once before that."""
LONGEST_SECONDS = 1.0
"""Of a wait, that for its turn among other functions included: their clients give up after 5 seconds
(chalicelib/storage/aws_json.py), and a call that was given up still takes its turn."""

_POLL_SECONDS = 0.002
"""How often a function looks whether the one before it has been served."""

_FUNCTIONS = "/2015-03-31/functions/"
"""Where functions are invoked, as the Lambda API has it."""
_FUNCTION = re.compile(rb"Credential=[0-9]{12}/")
_AWAITED = b"FillBlobs"
"""In the name of a function that clients wait for."""


class Precedence:
    """MiniStack's app, behind which functions stand back for clients."""

    def __init__(self, cloud: AsgiApp) -> None:
        self._cloud = cloud
        self._clients = 0
        """Calls of clients that are under way."""
        self._functions = 0
        """Calls of functions that are: beside clients one at a time, unless one takes long."""
        self._last_client = float("-inf")
        self._credit = CREDIT_SECONDS
        self._credited = time.monotonic()
        self._turn = asyncio.Lock()
        self._served = asyncio.Event()
        """Set when the last client's call has ended."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._cloud(scope, receive, send)
        elif _may_wait(scope):
            await self._serve_function(scope, receive, send)
        elif scope.get("path", "").startswith(_FUNCTIONS):
            await self._cloud(scope, receive, send)  # it lasts as long as the function, which must not wait for it
        else:
            self._clients += 1
            try:
                await self._cloud(scope, receive, send)
            finally:
                self._clients -= 1
                self._last_client = time.monotonic()
                if self._clients == 0:
                    self._served.set()

    async def _serve_function(self, scope: Scope, receive: Receive, send: Send) -> None:
        until = time.monotonic() + LONGEST_SECONDS
        async with self._turn:  # in the order of their coming
            while (wait := min(self._missing_seconds(), until - time.monotonic())) > 0:
                await asyncio.sleep(min(wait, ABOUT_SECONDS))
            is_beside = self._clients_are_about()
            if is_beside:
                await self._for_a_gap()
            self._functions += 1
        started = time.monotonic()
        try:
            await self._cloud(scope, receive, send)
        finally:
            self._functions -= 1
            ended = time.monotonic()
            if is_beside:
                self._credit -= ended - started
                # Others could not have come meanwhile. Not `ended`: a caller that is never alone would make itself a
                # client.
                self._last_client = min(ended, self._last_client + ended - started)

    async def _for_a_gap(self) -> None:
        """Wait for the end of a client's call: the next one is farthest off then."""
        self._served.clear()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._served.wait(), ABOUT_SECONDS)

    def _missing_seconds(self) -> float:
        """How long a function has to wait, if clients stay about."""
        now = time.monotonic()
        if self._clients_are_about():
            self._credit = min(CREDIT_SECONDS, self._credit + SHARE * (now - self._credited))
        else:
            self._credit = CREDIT_SECONDS
        self._credited = now
        owed = max(0.0, -self._credit / SHARE)
        return max(owed, _POLL_SECONDS) if self._functions and self._clients_are_about() else owed

    def _clients_are_about(self) -> bool:
        return self._clients > 0 or time.monotonic() - self._last_client < ABOUT_SECONDS


def _may_wait(scope: Scope) -> bool:
    """Whether a function calls for which no client waits."""
    headers = dict(scope["headers"])
    return bool(_FUNCTION.search(headers.get(b"authorization", b""))) and _AWAITED not in headers.get(
        b"user-agent", b""
    )
