"""HTTP/1.1 for short calls of AWS: one request, one answer of known length, on connections that are kept.

http.client, and urllib3 on it, sends headers and body apart and parses an answer's headers as e-mail: half of what a
read costs. AWS's JSON services need no more than this; every answer of theirs has a Content-Length.
"""

from __future__ import annotations

import re
import socket
import ssl
from collections import deque
from collections.abc import Mapping
from urllib.parse import urlsplit

_CHUNK = 1 << 16
_HEAD_LIMIT = 1 << 16
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]+)[ \t]*\r\n", re.IGNORECASE)
_CLOSE = re.compile(rb"\r\nconnection:[ \t]*close[ \t]*\r\n", re.IGNORECASE)


class Connections:
    """Connections to one origin, as many as there were requests at once. Threads may share them."""

    def __init__(self, origin: str, connect_seconds: float, read_seconds: float) -> None:
        parts = urlsplit(origin)
        self.host = parts.netloc
        self._name = parts.hostname or ""
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._connect_seconds, self._read_seconds = connect_seconds, read_seconds
        self._idle: deque[socket.socket] = deque()

    def post(self, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes]:
        """The status and the body of the answer to a POST to `/`. Raises OSError when there was none in time.

        A kept connection may have been closed meanwhile, so what fails on one is sent once more on a new one: only for
        requests that may be done twice.
        """
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        message = f"POST / HTTP/1.1\r\n{lines}content-length: {len(body)}\r\n\r\n".encode("latin-1") + body
        try:
            kept = self._idle.pop()
        except IndexError:
            return self._exchange(self._connect(), message)
        try:
            return self._exchange(kept, message)
        except TimeoutError:
            raise
        except OSError:
            return self._exchange(self._connect(), message)

    def _connect(self) -> socket.socket:
        connection = socket.create_connection((self._name, self._port), self._connect_seconds)
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls is not None:
                connection = self._tls.wrap_socket(connection, server_hostname=self._name)
            connection.settimeout(self._read_seconds)
        except BaseException:
            connection.close()
            raise
        return connection

    def _exchange(self, connection: socket.socket, message: bytes) -> tuple[int, bytes]:
        try:
            connection.sendall(message)
            status, body, is_kept = _receive(connection)
        except BaseException:
            connection.close()
            raise
        if is_kept:
            self._idle.append(connection)
        else:
            connection.close()
        return status, body


def _receive(connection: socket.socket) -> tuple[int, bytes, bool]:
    """An answer's status and body, and whether the connection can be used again. Raises OSError."""
    received = bytearray()
    while (end := received.find(b"\r\n\r\n")) < 0:
        if len(received) > _HEAD_LIMIT:
            raise ConnectionError("the headers have no end")
        received += _recv(connection)
    head = bytes(received[: end + 2])
    length = _LENGTH.search(head)
    if length is None or not head[9:12].isdigit():
        raise ConnectionError("not an answer of known length")
    size = end + 4 + int(length[1])
    while len(received) < size:
        received += _recv(connection)
    return int(head[9:12]), bytes(received[end + 4 : size]), len(received) == size and not _CLOSE.search(head)


def _recv(connection: socket.socket) -> bytes:
    data = connection.recv(_CHUNK)
    if not data:
        raise ConnectionError("the connection was closed")
    return data
