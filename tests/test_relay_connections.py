"""The relay's connections: one on which no request comes is closed, however its client keeps it alive."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from chalicelib.v2.relay import protocol
from tests.v2.upload_paths import RelayPath, served_relay, start

pytestmark = pytest.mark.usefixtures("cloud")

HEAD = b"GET /healthz HTTP/1.1\r\nHost: relay\r\n"


@pytest.fixture
def relay(cloud: object, monkeypatch: pytest.MonkeyPatch) -> Iterator[RelayPath]:
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.3)
    with served_relay() as path:
        yield path


@contextmanager
def dripping(connection: socket.socket, data: bytes) -> Iterator[None]:
    """A client that sends `data` again and again."""
    done = threading.Event()

    def drip() -> None:
        with suppress(OSError):
            while not done.wait(0.02):
                connection.sendall(data)

    thread = threading.Thread(target=drip)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def received(connection: socket.socket) -> bytes:
    """All that comes until the connection ends."""
    connection.settimeout(20)
    found = b""
    with suppress(ConnectionResetError):
        while data := connection.recv(65536):
            found += data
    return found


@pytest.mark.parametrize(
    ("sent", "drips"),
    [(b"", b""), (b"", b"\r\n"), (b"\r\n", b""), (b"", b"a"), (HEAD, b""), (HEAD, b"a"), (HEAD + b"X-Y: z", b"a")],
)
def test_a_connection_without_a_request_is_closed(relay: RelayPath, sent: bytes, drips: bytes) -> None:
    with socket.create_connection(("127.0.0.1", relay.port)) as connection:
        connection.sendall(sent)
        with dripping(connection, drips):
            assert b" 200 " not in received(connection)


@pytest.mark.parametrize("drips", [b"\r\n", b"GET"])
def test_a_connection_is_closed_too_when_a_request_was_answered_on_it(relay: RelayPath, drips: bytes) -> None:
    with socket.create_connection(("127.0.0.1", relay.port)) as connection:
        connection.sendall(HEAD + b"\r\n")
        assert b"200 OK" in connection.recv(65536)
        with dripping(connection, drips):
            received(connection)


def test_what_comes_of_a_body_that_is_answered_already_keeps_no_connection(relay: RelayPath) -> None:
    with socket.create_connection(("127.0.0.1", relay.port)) as connection:
        connection.sendall(HEAD + b"Content-Length: 1000000000\r\n\r\n")
        assert b"200 OK" in connection.recv(65536)
        with dripping(connection, b"x"):
            received(connection)


@pytest.mark.parametrize("head", [b"GET /" + b"x" * (1 << 20), HEAD + b"A: b\r\n" * (1 << 18), HEAD + b"A" * (1 << 20)])
def test_a_head_without_end_is_refused(relay: RelayPath, head: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 60)
    with socket.create_connection(("127.0.0.1", relay.port)) as connection:
        began = time.monotonic()
        with suppress(OSError):
            connection.sendall(head)
        assert received(connection).partition(b"\r\n")[0] in (b"", b"HTTP/1.1 400 Bad Request")
        assert time.monotonic() - began < 30


def test_a_slow_body_and_a_pause_between_requests_are_none_of_it(relay: RelayPath, repository: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", relay.port, timeout=20)
    location = start(relay, repository)

    def slowly() -> Iterator[bytes]:
        for _ in range(4):
            time.sleep(0.15)
            yield b"x"

    for length in (4, 8):
        connection.request("PATCH", location, slowly(), {"Content-Length": "4"})
        answer = connection.getresponse()
        answer.read()
        assert (answer.status, answer.headers["Range"]) == (202, f"0-{length - 1}")
        time.sleep(0.2)
        kept = connection.sock
    assert connection.sock is kept
    connection.close()
