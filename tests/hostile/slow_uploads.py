"""Clients that begin to upload, and then send next to nothing."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress

_ANNOUNCED = 50_000_000


class SlowUpload:
    """A PATCH of many megabytes that sends `first`, and then a byte now and then."""

    def __init__(self, port: int, location: str, first: bytes) -> None:
        self._port = port
        head = f"PATCH {location} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {_ANNOUNCED}\r\n\r\n"
        self._beginning = head.encode() + first
        self._connect()

    def _connect(self) -> None:
        self._socket = socket.create_connection(("127.0.0.1", self._port), timeout=20)
        self._socket.sendall(self._beginning)

    def drip(self, *, again: bool) -> None:
        """Send a byte. When the server has ended the request, begin `again` or leave it."""
        try:
            self._socket.sendall(b"x")
        except OSError:
            if again:
                self.close()
                with suppress(OSError):
                    self._connect()

    def close(self) -> None:
        self._socket.close()


@contextmanager
def slow_uploads(
    port: int, locations: Sequence[str], first: bytes = b"x", every_seconds: float = 1.0, *, again: bool = False
) -> Iterator[None]:
    """A slow upload for each of `locations`, all at once; those that are ended begin `again`, if told so."""
    with ExitStack() as stack:
        clients = [SlowUpload(port, location, first) for location in locations]
        for client in clients:
            stack.callback(client.close)
        done = threading.Event()
        dripping = threading.Thread(target=_drip, args=(clients, done, every_seconds, again), daemon=True)
        dripping.start()
        try:
            yield
        finally:
            done.set()
            dripping.join()


def _drip(clients: Sequence[SlowUpload], done: threading.Event, every_seconds: float, again: bool) -> None:
    while not done.wait(every_seconds):
        for client in clients:
            client.drip(again=again)
