"""Clients that begin to upload, and then send next to nothing."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress

_ANNOUNCED = 50_000_000


@contextmanager
def slow_uploads(
    port: int, locations: Sequence[str], first: bytes = b"x", every_seconds: float = 1.0
) -> Iterator[None]:
    """A PATCH of many megabytes for each of `locations`, all at once; each sends `first`, then a byte now and then."""
    with ExitStack() as stack:
        clients = [stack.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in locations]
        for client, location in zip(clients, locations, strict=True):
            head = f"PATCH {location} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {_ANNOUNCED}\r\n\r\n"
            client.sendall(head.encode() + first)
        done = threading.Event()
        dripping = threading.Thread(target=_drip, args=(clients, done, every_seconds), daemon=True)
        dripping.start()
        try:
            yield
        finally:
            done.set()
            dripping.join()


def _drip(clients: Sequence[socket.socket], done: threading.Event, every_seconds: float) -> None:
    while not done.wait(every_seconds):
        for client in clients:
            with suppress(OSError):  # the server has ended this one
                client.sendall(b"x")
