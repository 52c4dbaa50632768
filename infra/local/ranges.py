"""Requests for several ranges of an object, as S3 answers them.

S3 has no answers of several parts: it sends the whole object (GetObject, "Range"). MiniStack sends the first range as
if it were all that was asked for, which clients that ask for several, such as podman, take for a broken answer.
"""

from __future__ import annotations

from infra.local.precedence import AsgiApp, Receive, Scope, Send


class SingleRanges:
    """An ASGI app in front of `app`, which is asked for one range or for the whole."""

    def __init__(self, app: AsgiApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            headers = [each for each in scope["headers"] if not (each[0] == b"range" and b"," in each[1])]
            scope = {**scope, "headers": headers} if len(headers) < len(scope["headers"]) else scope
        await self._app(scope, receive, send)
