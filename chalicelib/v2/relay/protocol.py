"""uvicorn's HTTP protocol, with bounds on a connection on which no request is being answered.

uvicorn limits the pause between two requests (`timeout_keep_alive`) alone, and that only until a byte comes: a client
that sends no head, or one without end, would hold a connection and memory for ever. How slowly a body may come is the
app's.

Run with `uvicorn --http chalicelib.v2.relay.protocol:BoundedHeads`.
"""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_SECONDS = 30.0
"""From the connection's start, or the first byte after an answer, until the next request's head is there."""
HEAD_BYTES = 64 * 1024
"""Of a head that is not complete; h11 has the same bound, and clients send a few kilobytes."""


class BoundedHeads(HttpToolsProtocol):
    """Closes a connection whose request's head takes too long, and answers 400 to one that is too large."""

    _timer: asyncio.TimerHandle | None = None
    _is_in_body = False
    _head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_watching()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop_watching()
            return
        self._watch()
        # What still comes of a body that is answered already is dropped, however much it is.
        self._head_bytes = 0 if self._is_in_body else self._head_bytes + len(data)
        if self._head_bytes > HEAD_BYTES:
            self.send_400_response("The head of the request is too large.")

    def on_headers_complete(self) -> None:
        self._is_in_body = True
        self._head_bytes = 0
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._is_in_body = False
        super().on_message_complete()

    def _watch(self) -> None:
        if self._timer is None:
            self._timer = self.loop.call_later(HEAD_SECONDS, self.transport.close)

    def _stop_watching(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
