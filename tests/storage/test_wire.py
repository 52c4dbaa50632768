"""The HTTP of short calls, against a server that misbehaves in the ways that servers do."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator, Sequence

import pytest

from chalicelib.storage.wire import Connections

OK = b"HTTP/1.1 200 OK\r\nServer: x\r\nContent-Length: 2\r\n\r\nok"


@contextlib.contextmanager
def server(*connections: Sequence[bytes]) -> Iterator[tuple[Connections, list[bytes]]]:
    """Answer the requests of each connection in turn, then close it. Yields the client and the requests received."""
    requests: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            for answers in connections:
                accepted, _ = listener.accept()
                with accepted:
                    for answer in answers:
                        requests.append(accepted.recv(1 << 16))
                        for piece in (answer[:9], answer[9:]):  # never in one piece
                            accepted.sendall(piece)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield Connections(f"http://127.0.0.1:{listener.getsockname()[1]}", 1, 0.3), requests
        thread.join(5)


def test_a_connection_is_used_again() -> None:
    with server([OK, OK]) as (client, requests):
        assert [client.post({"x": "y"}, b"body"), client.post({}, b"")] == [(200, b"ok")] * 2
    assert requests == [
        b"POST / HTTP/1.1\r\nx: y\r\ncontent-length: 4\r\n\r\nbody",
        b"POST / HTTP/1.1\r\ncontent-length: 0\r\n\r\n",
    ]


def test_a_connection_that_was_closed_meanwhile_is_replaced() -> None:
    with server([OK], [OK]) as (client, _):
        assert [client.post({}, b"1"), client.post({}, b"2")] == [(200, b"ok")] * 2


def test_a_connection_that_the_server_will_close_is_not_kept() -> None:
    closing = OK.replace(b"Server: x", b"Connection: Close")
    with server([closing], [OK]) as (client, _):
        assert [client.post({}, b"1"), client.post({}, b"2")] == [(200, b"ok")] * 2


def test_an_error_is_an_answer() -> None:
    with server([b"HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n"]) as (client, _):
        assert client.post({}, b"") == (500, b"")


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        b"not HTTP at all\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 12_000,
    ],
)
def test_a_broken_answer_is_a_fault(answer: bytes) -> None:
    with server([answer]) as (client, _), pytest.raises(OSError, match=r".+"):
        client.post({}, b"")


def test_a_server_that_does_not_answer_is_not_waited_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client = Connections(f"http://127.0.0.1:{silent.getsockname()[1]}", 1, 0.2)
        with pytest.raises(TimeoutError):
            client.post({}, b"")


def test_nobody_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(OSError, match="refused"):
        Connections(f"http://127.0.0.1:{port}", 1, 1).post({}, b"")
