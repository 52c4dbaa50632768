"""Calls of AWS's JSON services beside a scripted peer: what is tried again, what is not, what the client is told."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from chalicelib.http import to_response
from chalicelib.oci.errors import Unavailable
from chalicelib.storage import aws_json, reads
from chalicelib.storage.aws_json import DYNAMODB, RefusedError
from chalicelib.storage.reads import Key

KEY = Key("table", "a", "b")
FOUND = (200, {"Item": {"pk": {"S": "a"}, "sk": {"S": "b"}}})
CUT = (0, {})
"""The peer closes the connection instead of answering."""

Answer = tuple[int, dict[str, Any]]


def fault(status: int, kind: str) -> Answer:
    return status, {"__type": f"com.amazonaws.dynamodb.v20120810#{kind}"}


class Peer(ThreadingHTTPServer):
    """Answers each request with the next of `answers`, the last one for ever."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: list[Answer] = []
        self.asked = 0


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Peer

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        answers = self.server.answers
        status, body = answers[min(self.server.asked, len(answers) - 1)]
        self.server.asked += 1
        if not status:
            self.close_connection = True
            return
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 -- the base class's name
        pass


@pytest.fixture
def peer(monkeypatch: pytest.MonkeyPatch) -> Iterator[Peer]:
    server = Peer()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setattr(aws_json, "RETRY_SECONDS", 1.0)
    caches = (aws_json._connections, aws_json._endpoint)
    for cache in caches:
        cache.cache_clear()
    yield server
    for cache in caches:
        cache.cache_clear()
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    "trouble",
    [
        fault(400, "ProvisionedThroughputExceededException"),
        fault(400, "ThrottlingException"),
        fault(500, "InternalServerError"),
        (503, {}),
        CUT,
    ],
    ids=["throughput", "throttling", "internal", "503", "cut"],
)
def test_a_passing_trouble_is_tried_again(peer: Peer, trouble: Answer) -> None:
    peer.answers = [trouble, trouble, FOUND]
    assert reads.get_item(KEY) == {"pk": "a", "sk": "b"}
    assert peer.asked >= 3


def test_trouble_that_lasts_is_a_503_with_retry_after(peer: Peer) -> None:
    peer.answers = [fault(400, "ThrottlingException")]
    with pytest.raises(Unavailable) as caught:
        reads.get_item(KEY)
    response = to_response(caught.value)
    assert (response.status, response.headers["Retry-After"]) == (503, "1")
    assert peer.asked > 3


def test_a_refusal_is_not_tried_again(peer: Peer) -> None:
    peer.answers = [fault(400, "AccessDeniedException")]
    with pytest.raises(RefusedError, match="AccessDeniedException"):
        aws_json.call(DYNAMODB, "GetItem", {"TableName": "table"})
    assert peer.asked == 1


def test_keys_that_a_batch_left_out_are_asked_for_again(peer: Peer) -> None:
    raw = {"pk": {"S": "a"}, "sk": {"S": "b"}}
    left = {"table": {"Keys": [raw], "ConsistentRead": True}}
    peer.answers = [
        (200, {"Responses": {}, "UnprocessedKeys": left}),
        (200, {"Responses": {"table": [raw]}, "UnprocessedKeys": {}}),
    ]
    assert reads.get_items([KEY]) == {KEY: {"pk": "a", "sk": "b"}}
    assert peer.asked == 2
