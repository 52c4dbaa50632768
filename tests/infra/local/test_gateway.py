"""The local gateway over real HTTP: API Gateway's events, routes and limits."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import urllib3
import uvicorn
from hypothesis import given
from hypothesis import strategies as st

from infra.local import gateway
from infra.local.gateway import BODY_LIMIT, HEADER_LIMIT, PAYLOAD_LIMIT, Gateway, Router

ROUTES = [
    ("GET", "/v2"),
    *((method, "/v2/{proxy+}") for method in ("GET", "HEAD", "PUT", "POST")),
    ("POST", "/api/echo"),
]


def function(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """A Lambda function that answers with its event, or as the query `do` tells it to."""
    ask = (event["queryStringParameters"] or {}).get("do", "")
    answer: dict[str, Any] = {"statusCode": 200, "headers": {}, "multiValueHeaders": {}, "body": json.dumps(event)}
    if ask == "fail":
        raise RuntimeError("boom")
    if ask == "sleep":
        time.sleep(1.5)
    elif ask == "large":
        answer["body"] = "x" * (PAYLOAD_LIMIT + 1)
    elif ask == "binary":
        answer |= {"body": base64.b64encode(b"\xff\x00").decode(), "isBase64Encoded": True}
    elif ask == "split":
        answer["headers"] = {"Location": "/v2/\r\nSet-Cookie: a=b"}
    elif ask == "many":
        answer["multiValueHeaders"] = {"Link": ["<a>", "<b>"]}
    elif ask == "empty":
        answer |= {"statusCode": 204, "body": ""}
    return answer


async def mounted(scope: Any, _receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": scope["raw_path"]})


class Server:
    """The gateway under uvicorn, as infra/local/serve.py runs it, in a thread."""

    def __init__(self) -> None:
        config = uvicorn.Config(
            Gateway(function, ROUTES, {"/relay/": mounted}), "127.0.0.1", 0, http="httptools", log_level="error"
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run)
        self._thread.start()
        while not self._server.started:
            time.sleep(0.01)
        self.port = self._server.servers[0].sockets[0].getsockname()[1]
        self._pool = urllib3.HTTPConnectionPool("127.0.0.1", self.port, maxsize=40, retries=False, timeout=20)

    def ask(self, method: str, target: str, body: Any = None, **headers: str) -> urllib3.BaseHTTPResponse:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        return self._pool.urlopen(method, target, body=body, headers=given, redirect=False)

    def event(self, method: str, target: str, body: Any = None, **headers: str) -> Any:
        return self.ask(method, target, body, **headers).json()

    def raw(self, request: bytes) -> bytes:
        """Send bytes as they are on a connection of their own; everything that comes back."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as connection:
            connection.sendall(request)
            return b"".join(iter(lambda: connection.recv(65536), b""))

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(20)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.stop()


def test_the_event_is_payload_format_1(server: Server) -> None:
    event = server.event("GET", "/v2/library/app/tags/list?n=1&last=a&last=b&empty=", Accept="a/b")
    assert event["version"] == "1.0"
    assert event["resource"] == "/v2/{proxy+}"
    assert event["path"] == "/v2/library/app/tags/list"
    assert event["pathParameters"] == {"proxy": "library/app/tags/list"}
    assert event["queryStringParameters"] == {"n": "1", "last": "b", "empty": ""}
    assert event["multiValueQueryStringParameters"] == {"n": ["1"], "last": ["a", "b"], "empty": [""]}
    assert event["headers"]["accept"] == "a/b"
    assert event["headers"]["host"] == f"127.0.0.1:{server.port}"
    assert event["requestContext"]["identity"]["sourceIp"] == "127.0.0.1"
    assert event["body"] is None


def test_repeated_headers_arrive_as_lists_with_the_last_one_single(server: Server) -> None:
    said = server.raw(b"GET /v2/x HTTP/1.1\r\nHost: x\r\nAccept: one\r\nAccept: two\r\nConnection: close\r\n\r\n")
    event = json.loads(said.partition(b"\r\n\r\n")[2])
    assert event["multiValueHeaders"]["accept"] == ["one", "two"]
    assert event["headers"]["accept"] == "two"
    assert "connection" not in event["headers"]


@pytest.mark.parametrize("path", ["/v2/library%2Fapp/tags/list", "/v2//x", "/v2/a/../b", "/v2/%2e%2e/b", "/v2/a%00b"])
def test_paths_arrive_as_they_were_sent(server: Server, path: str) -> None:
    said = server.raw(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    assert json.loads(said.partition(b"\r\n\r\n")[2])["path"] == path


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/"), ("GET", "/nothing"), ("DELETE", "/v2/x"), ("GET", "//v2/x"), ("GET", "/api/echo")],
)
def test_what_has_no_route_is_not_found(server: Server, method: str, path: str) -> None:
    said = server.raw(f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    assert said.startswith(b"HTTP/1.1 404 ")
    assert said.endswith(b'{"message":"Not Found"}')


def test_mounts_keep_their_prefix(server: Server) -> None:
    assert server.ask("PUT", "/relay/v2/x?y").data == b"/relay/v2/x"


def test_a_head_has_the_length_of_the_gets_body_and_none(server: Server) -> None:
    expected = len(server.ask("GET", "/v2/x").data) + 1  # the event names the method
    said = server.raw(b"HEAD /v2/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    head, _, body = said.partition(b"\r\n\r\n")
    assert body == b""
    length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
    assert abs(length - expected) < 200
    assert length > 500


def test_binary_answers_and_repeated_answer_headers(server: Server) -> None:
    assert server.ask("GET", "/v2/x?do=binary").data == b"\xff\x00"
    assert server.ask("GET", "/v2/x?do=many").headers.getlist("Link") == ["<a>", "<b>"]
    empty = server.ask("GET", "/v2/x?do=empty")
    assert (empty.status, empty.headers.get("Content-Length")) == (204, None)


@pytest.mark.parametrize("media_type", ["application/json", "application/octet-stream"])
def test_bodies_are_text_or_base64(server: Server, media_type: str) -> None:
    event = server.event("PUT", "/v2/x", b'{"a": 1}', Content_Type=media_type)
    body = base64.b64decode(event["body"]) if event["isBase64Encoded"] else event["body"].encode()
    assert body == b'{"a": 1}'
    assert event["isBase64Encoded"] is (media_type != "application/json")


def test_chunked_bodies_are_put_together(server: Server) -> None:
    event = server.event("PUT", "/v2/x", iter([b"abc", b"def"]))
    assert base64.b64decode(event["body"]) == b"abcdef"
    assert event["headers"]["content-length"] == "6"
    assert "transfer-encoding" not in event["headers"]


def test_a_client_that_expects_100_gets_it_before_it_sends(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(
            b"PUT /v2/x HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\nConnection: close\r\n\r\n"
        )
        assert connection.recv(1000).startswith(b"HTTP/1.1 100 ")
        connection.sendall(b"abc")
        assert connection.recv(1000).startswith(b"HTTP/1.1 200 ")


def test_a_body_that_breaks_off_is_no_request(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    called = threading.Event()
    monkeypatch.setattr("tests.infra.local.test_gateway.time.sleep", lambda _seconds: called.set())
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(b"PUT /v2/x?do=sleep HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc")
    assert not called.wait(0.3)


@pytest.mark.parametrize(
    ("path", "size", "status"),
    [
        ("/v2/x", 4_000_000, 200),
        ("/v2/x", 4_800_000, 413),  # under API Gateway's limit, over Lambda's once it is base64
        ("/v2/x", BODY_LIMIT + 1, 413),
        ("/api/echo", BODY_LIMIT + 1, 413),
    ],
)
def test_bodies_over_the_limits_are_refused(server: Server, path: str, size: int, status: int) -> None:
    sent = server.ask("POST", path, bytes(size))
    assert sent.status == status
    chunked = server.ask("POST", path, iter([bytes(1 << 20)] * (size >> 20) + [bytes(size % (1 << 20))]))
    assert chunked.status == status
    if status == 413 and path.startswith("/v2/"):
        (error,) = sent.json()["errors"]
        assert error["code"] == "SIZE_INVALID"
        assert "relay" in error["message"]
    elif status == 413:
        assert sent.json() == {"message": "Request Entity Too Large"}


def test_text_is_not_encoded_and_has_more_room(server: Server) -> None:
    assert server.ask("POST", "/v2/x", b"x" * 6_200_000, Content_Type="text/plain").status == 200
    assert server.ask("POST", "/v2/x", b"x" * PAYLOAD_LIMIT, Content_Type="text/plain").status == 413


@pytest.mark.parametrize("header", [{"X-Long": "x" * HEADER_LIMIT}, {f"X-{n}": "x" * 1000 for n in range(11)}])
def test_too_many_header_bytes_are_refused(server: Server, header: dict[str, str]) -> None:
    assert server.ask("GET", "/v2/x", **header).status == 431


def test_the_request_line_counts_too(server: Server) -> None:
    assert server.ask("GET", f"/v2/{'x' * HEADER_LIMIT}").status == 431
    assert server.ask("GET", f"/v2/{'x' * (HEADER_LIMIT - 500)}").status == 200


@pytest.mark.parametrize("ask", ["fail", "large", "split"])
def test_what_a_function_gets_wrong_is_an_internal_error(server: Server, ask: str) -> None:
    answer = server.ask("GET", f"/v2/x?do={ask}")
    assert answer.status == 500
    assert answer.json() == {"message": "Internal Server Error"}
    assert "Set-Cookie" not in answer.headers


def test_a_function_that_takes_too_long_is_unavailable(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway, "TIMEOUT_SECONDS", 0.2)
    answer = server.ask("GET", "/v2/x?do=sleep")
    assert (answer.status, answer.json()) == (503, {"message": "Service Unavailable"})


def test_requests_are_answered_side_by_side(server: Server) -> None:
    began = time.monotonic()
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda n: server.event("GET", f"/v2/{n}?do=sleep"), range(8)))
    assert [answer["path"] for answer in answers] == [f"/v2/{n}" for n in range(8)]
    assert time.monotonic() - began < 10  # in turns it would be 12


SEGMENT = st.text("abc{}+", max_size=4)


@given(st.lists(SEGMENT, max_size=5))
def test_the_router_answers_any_path(segments: list[str]) -> None:
    router = Router([("GET", "/a/{b}"), ("GET", "/a/b"), ("GET", "/a/{b}/c"), ("GET", "/c/{proxy+}")])
    path = "/" + "/".join(segments)
    match = router.find("GET", path)
    if match is not None:
        filled = match.resource.replace("{proxy+}", "{proxy}").format(**match.parameters)
        assert filled == path


def test_exact_routes_come_before_variables_and_these_before_greedy_ones() -> None:
    router = Router([("GET", "/p/{proxy+}"), ("GET", "/p/{name}"), ("GET", "/p/x"), ("POST", "/p/{name}")])
    assert router.find("GET", "/p/x").resource == "/p/x"  # type: ignore[union-attr]
    assert router.find("GET", "/p/y").resource == "/p/{name}"  # type: ignore[union-attr]
    assert router.find("GET", "/p/y/z").parameters == {"proxy": "y/z"}  # type: ignore[union-attr]
    assert router.find("GET", "/p/").parameters == {"proxy": ""}  # type: ignore[union-attr]
    assert router.find("POST", "/p/x").resource == "/p/{name}"  # type: ignore[union-attr]
    assert router.find("POST", "/p/") is None
    assert router.find("GET", "/p/{proxy+}").parameters == {"name": "{proxy+}"}  # type: ignore[union-attr]


def test_lifespan_ends() -> None:
    messages = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])
    sent: list[str] = []

    async def receive() -> Any:
        return next(messages)

    async def send(message: Any) -> None:
        sent.append(message["type"])

    asyncio.run(Gateway(function, ROUTES)({"type": "lifespan"}, receive, send))
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
